"""What is gathered for the report of a day that really ran: rules judged again, ages of sources, histories as known."""

from datetime import timedelta
from pathlib import Path

import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.forecast_sections import HISTORY_DAYS
from defiyield_assets.orchestration.report_inputs import OLDEST_HISTORY, SOURCES, read_report_inputs
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.installations import FIRST, Loop

ONLY = DayRange.of(FIRST)


def test_a_sound_day_holds_every_rule_and_all_its_sources_are_of_the_day(first_day: Loop) -> None:
    inputs = read_report_inputs(first_day.installation.warehouse, FIRST)
    assert len(inputs.checks) == 5
    assert [check.name for check in inputs.checks if check.violations] == []
    assert dict(inputs.newest_days) == dict.fromkeys([*SOURCES, OLDEST_HISTORY], FIRST)
    assert build_content(inputs).tone == "good"


def test_the_plans_pools_have_their_history_bands_and_closes(first_day: Loop) -> None:
    inputs = read_report_inputs(first_day.installation.warehouse, FIRST)
    allocations = inputs.allocations
    touched = [int(after) + int(before) > 0 for after, before in allocations[["amount", "amount_before"]].to_numpy()]
    pools = set(allocations.loc[touched, "pool_id"]) - {"IDLE"}
    assert set(inputs.pool_histories["pool_id"]) == pools
    assert min(inputs.pool_histories["date"]) >= FIRST - timedelta(days=HISTORY_DAYS - 1)
    assert max(inputs.pool_histories["date"]) == FIRST
    assert pools <= set(inputs.pool_forecasts["pool_id"])
    assert set(inputs.pool_forecasts["target"]) == {"apy"}
    assert not inputs.gas_fees_daily.duplicated(["date", "kind"]).any(), "one source counts a day"
    drawn = {chart.title for section in build_content(inputs).sections for chart in section.charts}
    assert any(title.startswith("Before and after the plan") for title in drawn)
    assert "Gas price, daily mean in gwei" in drawn


def test_a_balance_that_differs_from_the_chain_by_a_unit_is_told_and_no_more_is_called_sound(
    first_day: Loop, tmp_path: Path
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    rows = reads.read_days(installation.engine, schema.chain_balances, ONLY)
    known = reads.read_days(installation.engine, schema.daily_balances, ONLY)
    trusted = known.loc[known["is_trusted"].astype(bool) & (known["token_address"] != "native")].iloc[0]
    is_it = (rows["wallet"] == trusted["wallet"]) & (rows["token_address"] == trusted["token_address"])
    rows.loc[is_it, "balance"] = [int(value) + 1 for value in rows.loc[is_it, "balance"]]
    writes.replace_slice(installation.engine, schema.chain_balances, rows, ONLY)
    inputs = read_report_inputs(installation.warehouse, FIRST)
    (broken,) = (check for check in inputs.checks if check.violations)
    assert broken.name == "balances agree with the chain"
    assert "difference -1" in broken.violations[0]
    content = build_content(inputs)
    assert content.tone == "warn"
    assert any("balances agree with the chain (1)" in words for words in content.paragraphs)


def test_a_value_that_was_corrected_after_the_day_is_shown_as_it_was_known(first_day: Loop, tmp_path: Path) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    before = read_report_inputs(installation.warehouse, FIRST).pool_histories
    points = reads.pool_history_revisions(installation.engine, DayRange.of(FIRST).back(400))
    newest = points.sort_values("revision").drop_duplicates(["pool_id", "date"], keep="last")
    later = newest.assign(
        revision=newest["revision"] + 1,
        apy=newest["apy"] * 7 + 0.01,
        seen_at=pd.Timestamp(cutoff(FIRST) + timedelta(minutes=1)),
    )
    writes.upsert(installation.engine, schema.pool_histories, later.reset_index(drop=True))
    after = read_report_inputs(installation.warehouse, FIRST).pool_histories
    pd.testing.assert_frame_equal(before, after)
