"""What a run writes of gas beyond and within its days, and what an answer without the last hour becomes.

Not here: which source counts (domain/gas/test_sources.py), lost sources (test_degradation.py).
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from defiyield_assets.domain.gas.sources import ETH_FEE_HISTORY, ETHGASTRACKER
from defiyield_assets.domain.outcomes import DEGRADED
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import schema
from defiyield_assets.store.engine import write_transaction
from defiyield_assets_tests.installations import FIRST, SILENT, Installation, day_after, failing, meddle, rewriting

GAS = ["policy_snapshot", "gas_fees_hourly", "gas_fees_daily"]
TABLES = (schema.gas_fees_hourly, schema.gas_fees_daily)
NEXT = day_after(FIRST)
TRACKER = "www.ethgastracker.com"


@pytest.fixture
def fresh(tmp_path: Path) -> Installation:
    """A state that has only its tables."""
    installation = Installation(tmp_path)
    assert installation.run(FIRST, ["migrations"]).success
    return installation


def test_a_long_range_again_keeps_the_days_that_an_answer_no_longer_tells(fresh: Installation) -> None:
    assert fresh.run(FIRST, GAS).success
    long_ago = day_after(FIRST, -5)
    tags = {
        "dagster/asset_partition_range_start": long_ago.isoformat(),
        "dagster/asset_partition_range_end": day_after(FIRST, 4).isoformat(),
    }
    for _ in range(2):
        with dg.DagsterInstance.ephemeral() as instance:
            job = fresh.definitions.resolve_job_def("plan_the_day")
            keys = [dg.AssetKey(name) for name in GAS[1:]]
            job.execute_in_process(tags=tags, asset_selection=keys, instance=instance, run_config=SILENT)
    hours = fresh.rows(schema.gas_fees_hourly, long_ago)
    assert set(hours["source"]) == {ETHGASTRACKER, ETH_FEE_HISTORY}, "the node was added, nothing was lost"
    assert hours.groupby(["source", "kind"])["hour"].nunique().tolist() == [24] * 4


def test_a_later_answer_gives_no_second_source_to_a_day_that_has_one(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        meddle(patch, failing(TRACKER, 500, b"down"))
        assert fresh.run(FIRST, GAS).success
    before = [fresh.fingerprint(table, FIRST) for table in TABLES]
    assert fresh.run(NEXT, GAS).success
    assert [fresh.fingerprint(table, FIRST) for table in TABLES] == before
    assert set(fresh.rows(schema.gas_fees_daily, FIRST)["source"]) == {ETH_FEE_HISTORY}
    assert set(fresh.rows(schema.gas_fees_daily, day_after(FIRST, -1))["source"]) == {ETHGASTRACKER}


def without_last_hour(answer: Any) -> Any:
    """EthGasTracker before it has the last hour of the day."""
    answer["data"]["data"] = answer["data"]["data"][2:]
    return answer


def test_without_the_last_hour_the_node_stands_in_and_a_later_run_has_it(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        meddle(patch, rewriting("/api/gas/average", without_last_hour))
        assert fresh.run(FIRST, GAS).success
    assert set(fresh.rows(schema.gas_fees_hourly, FIRST)["source"]) == {ETH_FEE_HISTORY}
    assert fresh.run(FIRST, GAS).success
    told = fresh.rows(schema.gas_fees_hourly, FIRST)
    assert told[told["source"] == ETHGASTRACKER]["hour"].nunique() == 24


def test_without_the_last_hour_and_without_a_node_what_is_there_is_taken(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, rewriting("/api/gas/average", without_last_hour))
    monkeypatch.setattr(MarketResource, "has_key", lambda _market, vendor: vendor != "ethereum_node")
    assert fresh.run(FIRST, GAS).success
    before = fresh.fingerprint(schema.gas_fees_hourly, FIRST)
    assert fresh.rows(schema.gas_fees_hourly, FIRST)["hour"].nunique() == 23
    outcomes = fresh.rows(schema.asset_outcomes, FIRST).set_index("asset")
    assert outcomes.loc["gas_fees_hourly", "error_class"] == DEGRADED
    assert "fewer than 24 hours" in outcomes.loc["gas_fees_hourly", "reason"]
    with write_transaction(fresh.engine, "gas_fees_hourly") as connection:
        connection.execute(schema.gas_fees_hourly.delete())
    assert fresh.run(FIRST, GAS).success
    assert fresh.fingerprint(schema.gas_fees_hourly, FIRST) == before
