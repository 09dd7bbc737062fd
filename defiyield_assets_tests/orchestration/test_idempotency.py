"""Running a day again changes nothing: at once, after the next days, or after any derived table was lost.

Not here: days whose vendors fail in between (faults/), or what later data could do to a day (lookahead/).
"""

from pathlib import Path

import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.resources import undo_executions
from defiyield_assets.store import schema
from defiyield_assets.store.engine import write_transaction
from defiyield_assets.store.validation import day_column
from defiyield_assets_tests.installations import FIRST, UNCOMPARED, Installation, Loop, day_after

pytestmark = pytest.mark.slow

MIDDLE = day_after(FIRST, 2)
TOGETHER = {
    "daily_features": ("daily_features", "feature_state"),
    "icebox": ("icebox_events", "icebox"),
    "ledger_postings": ("ledger_postings", "trial_balance", "ledger_closings"),
    "lots": ("open_lots", "realised_gains"),
    "allocation": ("allocation_runs", "allocations", "allocation_steps", "allocation_limits"),
    "pool_forecasts": ("forecast_evaluations", "forecast_candidates", "pool_forecasts"),
    "gas_forecasts": ("gas_candidates", "gas_forecasts"),
    "forecast_scores": ("forecast_scores", "forecast_score_sums"),
}
DERIVED = [
    *("policy_snapshot", "token_registry", "gas_fees_daily", "daily_bars", "prefiltered_pools", "icebox"),
    *("corporate_actions", "daily_features", "feature_targets", "market_regimes"),
    *("history_revisions", "pool_quality", "pool_metrics", "pool_groups"),
    *("costly_candidates", "pool_forecasts", "gas_forecasts", "gas_hour_profiles"),
    *("forecast_scores", "forecast_scoreboard"),
    *("ledger_postings", "daily_balances", "unexplained_transactions"),
    *("pool_positions", "nav_daily", "yield_attribution", "lots"),
    *("allocation_snapshot", "eligible_pools", "allocation", "risk_gain_frontier", "plan_executions"),
    *("daily_report", "slack_notification"),
]
MAY_BE_EMPTY = (
    *("pool_aliases", "history_revisions", "unexplained_transactions", "realised_gains"),
    *("corporate_actions", "feature_targets"),
)
CONFIGURED = ["pool_aliases", "pool_contracts", "instruments"]
FETCHED = [
    *("account_transactions", "chain_balances", "gas_fees_hourly", "closes_defillama", "ohlcv_coinmarketcap"),
    *("pools", "pool_histories", "lending_histories", "macro_series", "migrations"),
    *("ohlcv_alpha_vantage", "market_events"),
    *("ohlcv_coingecko", "observations", "pendle_markets", "resolved_underlyings", "share_rates"),
]


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Tables that do not hold what they held; the archive of answers may grow by those to other questions."""
    return sorted(name for name in before if before[name] != after[name] and name != "raw_bodies")


def bodies(installation: Installation) -> dict[str, bytes]:
    """The archive by content."""
    rows = installation.rows(schema.raw_bodies)
    return dict(zip(rows["sha256"], rows["body"], strict=True))


def test_every_asset_is_derived_configured_or_fetched(first_day: Loop) -> None:
    graph = first_day.installation.definitions.resolve_asset_graph()
    keys = [key for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags]
    known = {name for asset in DERIVED for name in TOGETHER.get(asset, (asset,))} | {*CONFIGURED, *FETCHED}
    assert known == {key.to_user_string() for key in keys}


def test_the_same_day_again_changes_no_table(first_day: Loop, tmp_path: Path) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    before, archived = installation.fingerprints(), bodies(installation)
    assert installation.run(FIRST).success
    assert changed(before, installation.fingerprints()) == []
    assert bodies(installation).items() >= archived.items(), "the archive only grows"


def test_an_old_day_again_after_later_days_changes_no_table(closed_loop: Loop, tmp_path: Path) -> None:
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    before = installation.fingerprints()
    assert installation.run(FIRST).success
    assert installation.run(MIDDLE).success
    assert changed(before, installation.fingerprints()) == []


def test_the_first_day_is_not_touched_by_later_days(first_day: Loop, closed_loop: Loop) -> None:
    """But for the instruments that were split or paid a dividend since: their older bars are restated (market.md)."""
    first, later = first_day.installation, closed_loop.installation
    restated = later.restated_since(FIRST)
    assert restated, "in these days somebody pays"
    assert changed(first.fingerprints(FIRST, restated), later.fingerprints(FIRST, restated)) == []


def lose(installation: Installation, names: tuple[str, ...]) -> None:
    """Delete what the tables hold of the middle day, or all of it where they have no days."""
    for name in names:
        table = schema.metadata.tables[name]
        with write_transaction(installation.engine, name) as connection:
            rows = table.delete() if table.info["day"] is None else table.delete().where(day_column(table) == MIDDLE)
            assert connection.execute(rows).rowcount > 0 or name in MAY_BE_EMPTY, "nothing to lose"


@pytest.mark.nightly
def test_each_lost_table_alone_is_made_again_as_it_was(closed_loop: Loop, tmp_path: Path) -> None:
    """One asset after the other in one copy: a table that came back otherwise is named by its asset."""
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    before = installation.fingerprints()
    for asset in (*DERIVED, *CONFIGURED):
        names = TOGETHER.get(asset, (asset,))
        lose(installation, names)
        assert installation.run(MIDDLE, names).success, asset
        compared = [name for name in names if name not in UNCOMPARED]
        after = {name: installation.fingerprint(schema.metadata.tables[name]) for name in compared}
        assert after == {name: before[name] for name in compared}, asset
    assert changed(before, installation.fingerprints()) == []


def test_all_derived_tables_of_a_day_are_made_again_from_the_archive_of_facts(
    closed_loop: Loop, tmp_path: Path
) -> None:
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    before = installation.fingerprints()
    names = tuple(name for asset in DERIVED for name in TOGETHER.get(asset, (asset,)))
    lose(installation, names)
    assert installation.run(MIDDLE, names).success
    assert changed(before, installation.fingerprints()) == []


@pytest.mark.nightly
def test_a_reset_chain_runs_the_same_days_again(closed_loop: Loop, tmp_path: Path) -> None:
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    last = closed_loop.days[-1]
    before = installation.fingerprints()
    resources = installation.definitions.resources or {}
    assert undo_executions(installation.warehouse, resources["market"], day_after(last, -1)) == 2
    assert installation.rows(schema.nav_daily, last).empty
    for day in DayRange(day_after(last, -1), last):
        assert installation.run(day).success
    assert changed(before, installation.fingerprints()) == []
