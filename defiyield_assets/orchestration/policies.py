"""Retry and backfill policies: which layer tries again, and how ranges are cut into runs.

Lives here: policies by name. Not here: retries of one request (sources/transport.py) or of failed partitions
(sensors.py).
"""

import dagster as dg

from defiyield_assets.settings import load_settings

RETRY_INGESTION = dg.RetryPolicy(
    max_retries=2,
    delay=load_settings().retry_delay_seconds,
    backoff=dg.Backoff.EXPONENTIAL,
    jitter=dg.Jitter.PLUS_MINUS,
)
"""For assets that ask vendors: minutes, not seconds; permanent errors become Failure(allow_retries=False)."""

RETRY_SHARD = dg.RetryPolicy(max_retries=2, delay=1.0, jitter=dg.Jitter.PLUS_MINUS)
"""For a shard of pools: the database was busy or gone for a moment, and the other shards go on."""

ONE_RUN = dg.BackfillPolicy.single_run()
"""A range is one run: up to the metrics every rule works on ranges."""
CHUNKS_OF_30 = dg.BackfillPolicy.multi_run(30)
"""Forecasts: thirty days a run."""
DAY_BY_DAY = dg.BackfillPolicy.multi_run(1)
"""From the ledger on: one day a run."""
