"""Quality and metrics of pools in bundles and shards: same rows, same fingerprint, whoever does the work or dies of it.

Not here: executors on which shards run (cluster/), what the rows say (domain/pools).
"""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from benchmarks import scale_histories
from benchmarks.scale_histories import LAST
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration import pool_bundles, pool_shards
from defiyield_assets.orchestration.assets.pools import METRICS, QUALITY
from defiyield_assets.orchestration.pool_bundles import PoolWork, Span, bundle_of, in_bundles
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.domain.pools.test_panels import HOSTILE
from defiyield_assets_tests.installations import Installation

pytestmark = pytest.mark.slow

N_POOLS, N_DAYS = 60, 75
DAYS = DayRange(LAST - timedelta(days=2), LAST)
MADE = ("pool_quality", "pool_metrics")
SMALL_BUNDLE = 440
"""Points: dozens of bundles of a few pools each, some of them of none."""
IDS = scale_histories.pool_ids(N_POOLS)
IDS[: len(HOSTILE)] = HOSTILE

DYING = f"""
import os, sys
from pathlib import Path
from defiyield_assets.orchestration import pool_bundles, pool_shards
from defiyield_assets_tests.installations import Installation
from defiyield_assets_tests.orchestration.test_pool_shards import make
pool_bundles.BUNDLE_POINTS = {SMALL_BUNDLE}
whole, count = pool_shards.writes.replace_slice, [0]
def replace_slice(engine, table, *rest, **options):
    count[0] += table.name == "pool_metrics"
    if count[0] == 4:
        os._exit(9)
    return whole(engine, table, *rest, **options)
pool_shards.writes.replace_slice = replace_slice
make(Installation(Path(sys.argv[1])), 3)
"""
"""A process that dies when it is to write the fourth bundle."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A warehouse with histories of pools whose ids are strangers' text, and nothing made of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale_histories, "pool_ids", lambda n_pools: IDS[:n_pools])
        installation = scale_histories.prepare(tmp_path_factory.mktemp("filled"), None, N_POOLS)
        for frame in scale_histories.histories(N_POOLS, N_DAYS):
            writes.add_history(installation.engine, schema.pool_histories, frame)
    installation.run(LAST, ["prefiltered_pools"])
    installation.simulation  # noqa: B018 - its chain is copied with the warehouse
    yield installation
    installation.engine.dispose()


@pytest.fixture
def installation(filled: Installation, tmp_path: Path) -> Installation:
    """A copy of it for one test."""
    return filled.copy_to(tmp_path / "copy")


def make(installation: Installation, shards: int, *, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
    """Quality and metrics of DAYS in one run."""
    settings = installation.settings.model_copy(update={"pool_shards": shards})
    definitions = build_defs(settings, warehouse=installation.warehouse)
    first, last = str(DAYS.start), str(DAYS.end)
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("plan_the_day").execute_in_process(
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
            asset_selection=[dg.AssetKey(name) for name in MADE],
            instance=instance,
            raise_on_error=raise_on_error,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )


def told(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """The metadata of each materialised asset, once for all days of the run."""
    found: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        metadata = {name: getattr(value, "value", value) for name, value in made.metadata.items()}
        assert found.setdefault(made.asset_key.to_user_string(), metadata) == metadata
    return found


def fingerprints(installation: Installation) -> dict[str, str]:
    return {name: installation.fingerprint(schema.metadata.tables[name]) for name in MADE}


def outcomes(installation: Installation) -> list[tuple[str, str, str]]:
    rows = installation.rows(schema.asset_outcomes)
    return sorted(set(zip(rows["asset"], rows["status"], rows["error_class"], strict=True)))


@pytest.fixture(scope="module")
def undisturbed(
    filled: Installation, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, str], dict[str, Any]]:
    """What the plain assets make in small bundles: rows and metadata."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_bundles, "BUNDLE_POINTS", SMALL_BUNDLE)
        copy = filled.copy_to(tmp_path_factory.mktemp("plain") / "copy")
        result = make(copy, 1)
    assert {name: facts["dagster/row_count"] for name, facts in told(result).items()} == dict.fromkeys(MADE, 180)
    return fingerprints(copy), told(result)


def test_bundles_make_the_rows_that_one_read_makes(installation: Installation, undisturbed: Any) -> None:
    make(installation, 1)
    assert fingerprints(installation) == undisturbed[0]


@pytest.mark.parametrize("shards", [2, 5])
def test_shards_make_the_same_rows_metadata_and_outcomes(
    installation: Installation, undisturbed: Any, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_bundles, "BUNDLE_POINTS", SMALL_BUNDLE)
    result = make(installation, shards)
    assert fingerprints(installation) == undisturbed[0]
    assert told(result) == undisturbed[1]
    assert outcomes(installation) == []
    steps = [event.step_key for event in result.all_events if event.is_step_success]
    assert sum("pool_metrics_shard[" in (step or "") for step in steps) == shards


def test_a_small_day_is_one_shard_whatever_the_setting_says(installation: Installation, undisturbed: Any) -> None:
    steps = [event.step_key or "" for event in make(installation, 4).all_events if event.is_step_success]
    assert [step for step in steps if "shard[" in step and "metrics" in step] == ["pool_metrics.pool_metrics_shard[0]"]
    assert fingerprints(installation) == undisturbed[0]


def test_after_a_killed_shard_the_days_say_so_and_a_rerun_makes_them_whole(
    installation: Installation, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", DYING, str(installation.folder)]
    died = subprocess.run(command, check=False, capture_output=True, text=True)
    assert died.returncode == 9, died.stderr[-2000:]
    assert 0 < len(installation.rows(schema.pool_metrics)) < N_POOLS * len(DAYS)
    assert ("pool_metrics", "failed", pool_shards.SHARDS_UNDER_WAY) in outcomes(installation)
    monkeypatch.setattr(pool_bundles, "BUNDLE_POINTS", SMALL_BUNDLE)
    assert told(make(installation, 3)) == undisturbed[1]
    assert fingerprints(installation) == undisturbed[0]
    assert outcomes(installation) == []


def test_a_failed_shard_fails_the_asset_and_nothing_of_the_others(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_bundles, "BUNDLE_POINTS", SMALL_BUNDLE)
    whole = METRICS.rows

    def broken(work: PoolWork, bundle: pool_bundles.Bundle) -> pd.DataFrame:
        rows = whole(work, bundle)
        return rows.assign(observed_days=99) if HOSTILE[0] in bundle.pool_ids else rows

    monkeypatch.setattr("defiyield_assets.orchestration.assets.pools.METRICS", replace(METRICS, rows=broken))
    result = make(installation, 3, raise_on_error=False)
    assert not result.success
    assert ("pool_metrics", "failed", "SuspiciousDataError") in outcomes(installation)
    stored = set(installation.rows(schema.pool_metrics)["pool_id"])
    assert stored
    assert HOSTILE[0] not in stored


def test_rows_of_pools_that_are_no_longer_followed_go(
    installation: Installation, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_bundles, "BUNDLE_POINTS", SMALL_BUNDLE)
    make(installation, 2)
    stored = reads.read_days(installation.engine, schema.pool_metrics, DAYS)
    stray = stored.head(1).assign(pool_id="nobody's")
    before = stray.assign(date=DAYS.start - timedelta(days=1))
    writes.upsert(installation.engine, schema.pool_metrics, pd.concat([stray, before], ignore_index=True))
    make(installation, 2)
    left = installation.rows(schema.pool_metrics)
    assert left.loc[left["pool_id"] == "nobody's", "date"].tolist() == [before["date"].iloc[0]]


def test_a_shard_refuses_when_others_are_followed_than_were_named(installation: Installation) -> None:
    plan = {"bundles": 1, "fingerprint": "of something else", "numbers": [0]}
    with pytest.raises(SuspiciousDataError, match=r"pool_quality of 2025-06-01..2025-06-03: other pools are followed"):
        pool_shards._measured(QUALITY, installation.warehouse, DAYS, plan)
    assert installation.rows(schema.pool_quality).empty


def test_an_old_id_has_no_points_whether_its_pool_is_in_the_bundle_or_not(filled: Installation) -> None:
    old, today, other = IDS[-3:]
    span = Span(DAYS, {old: today}, {})
    alone, beside = (
        pool_bundles._revisions(filled.engine, span, ids, ("apy",)) for ids in ([old], [old, today, other])
    )
    assert alone.empty
    assert set(beside["pool_id"]) == {today, other}


def test_a_renamed_pool_without_points_takes_nothing_from_the_others(filled: Installation) -> None:
    span = Span(DAYS, {"gone": "never seen"}, {})
    with_it, without = (
        pool_bundles._revisions(filled.engine, span, ids, ("apy",)) for ids in ([IDS[-1], "never seen"], [IDS[-1]])
    )
    pd.testing.assert_frame_equal(with_it, without)
    assert len(without)


def test_a_pools_bundle_is_the_same_in_every_process_and_every_pool_has_one() -> None:
    assert [bundle_of(pool_id, 7) for pool_id in ("", "a", "ü", "\ud800", HOSTILE[0])] == [0, 4, 4, 1, 3]
    pairs = pd.DataFrame([(day, pool) for day in DAYS for pool in IDS], columns=["date", "pool_id"], dtype=object)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool_bundles, "BUNDLE_POINTS", SMALL_BUNDLE)
        bundles = in_bundles(pairs, DAYS)
    assert [bundle.number for bundle in bundles] == list(range(10))
    owners = [pool_id for bundle in bundles for pool_id in bundle.pool_ids]
    assert sorted(owners) == sorted(IDS)
    assert sum(len(bundle.tracked) for bundle in bundles) == len(pairs)
    assert np.all([bundle_of(pool_id, 10) == bundle.number for bundle in bundles for pool_id in bundle.pool_ids])
