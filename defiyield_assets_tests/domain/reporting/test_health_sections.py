"""What the report says of the data of the day, and what of it may turn the page yellow."""

from collections.abc import Callable
from typing import Any

import pytest

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import JudgedCheck, ReportInputs
from defiyield_assets.domain.reporting.layout import Content, Table
from defiyield_assets.domain.reporting.plan_text import build_plan_summary
from defiyield_assets_tests.domain.reporting.conftest import failure, frame

Days = Callable[..., ReportInputs]
RESTING = ("daily_bars", "icebox", "allocation")


def told(day_with: Days, *rows: dict[str, Any], **changes: Any) -> Content:
    return build_content(day_with(outcomes=frame("asset_outcomes", *rows), **changes))


def table(content: Content, caption: str) -> Table | None:
    section = content.section("health")
    assert section is not None
    return next((one for one in section.tables if one.caption.startswith(caption)), None)


def resting(root: str, *assets: str) -> list[dict[str, Any]]:
    return [failure(asset, "DegradedUpstream", f"rests on {root}") for asset in assets]


def test_a_source_of_the_plan_that_failed_turns_the_page_yellow(day_with: Days) -> None:
    down = failure("closes_defillama", "VendorUnavailable", "down")
    content = told(day_with, down, *resting("closes_defillama", *RESTING))
    assert content.tone == "warn"
    assert content.paragraphs[-1] == (
        "Read with care: degraded or failed on 2025-06-02: closes_defillama; 3 assets rest on them."
    )


def test_a_few_of_many_answers_missing_are_told_but_are_no_alarm(day_with: Days) -> None:
    """Each live day lacks some chart of some pool; a page that is yellow every day says nothing."""
    some = failure("pool_histories", "Degraded", "3 of 500 charts failed: a, b, c")
    content = told(day_with, some, *resting("pool_histories", *RESTING))
    assert content.tone == "good"
    assert content.paragraphs[-1] == (
        "Not everything came on 2025-06-02: pool_histories; 3 assets rest on them. See data health."
    )
    worse = told(day_with, {**some, "error_class": "VendorUnavailable"}, *resting("pool_histories", *RESTING))
    assert worse.tone == "warn", "the whole source, not some of it"


def test_a_part_of_a_source_is_judged_as_the_source_is(day_with: Days) -> None:
    part = "ohlcv_alpha_vantage:exchanges"
    some = failure(part, "Degraded", "2 of 40 instruments failed")
    down = failure(part, "VendorUnavailable", "down")
    rests = resting(f"{part}, macro_series", *RESTING)
    assert told(day_with, some, *rests).tone == "good"
    assert told(day_with, down, *rests).tone == "warn"


def test_the_same_in_the_ledger_is_an_alarm(day_with: Days) -> None:
    lacking = failure("ledger_postings", "Degraded", "a block is missing")
    assert told(day_with, lacking, *resting("ledger_postings", "nav_daily", "allocation")).tone == "warn"


def test_what_the_plan_does_not_rest_on_is_no_alarm(day_with: Days) -> None:
    content = told(day_with, failure("macro_series", "VendorAuthError", "FRED refused", "failed", is_recoverable=False))
    assert content.tone == "good"
    assert "macro_series" in content.paragraphs[-1]
    found = table(content, "Degraded and failed assets")
    assert found is not None
    assert found.rows == (("macro_series", "failed", "VendorAuthError: FRED refused", "no"),)


def test_a_plan_that_failed_itself_is_an_alarm(day_with: Days) -> None:
    assert told(day_with, failure("allocation", "SuspiciousDataError", "no ledger", "failed")).tone == "warn"


@pytest.mark.parametrize("kind", ["NotConfigured", "NoCrossCheck"])
def test_a_missing_key_or_second_opinion_is_listed_and_no_more(day_with: Days, kind: str) -> None:
    content = told(day_with, failure("macro_series", kind, "no KEY"))
    quiet = told(day_with)
    assert (content.tone, content.paragraphs) == (quiet.tone, quiet.paragraphs)
    assert table(content, "Degraded and failed assets") is not None


def test_what_rests_on_a_root_stands_together_by_status(day_with: Days) -> None:
    skipped = failure("nav_daily", "UpstreamNotRecoverable", "rests on closes_defillama", "failed")
    content = told(
        day_with,
        failure("closes_defillama", "VendorUnavailable", "down"),
        *resting("closes_defillama", "daily_bars", "icebox"),
        skipped,
    )
    found = table(content, "What rests on them")
    assert found is not None
    assert found.rows == (
        ("rests on closes_defillama", "degraded", "2", "daily_bars, icebox"),
        ("rests on closes_defillama", "skipped", "1", "nav_daily"),
    )


def test_the_terminal_gets_what_failed_and_nothing_else_of_the_health(day_with: Days) -> None:
    assert build_plan_summary(day_with()).failures is None
    rows = frame("asset_outcomes", failure("pools", "VendorUnavailable", "down"))
    summary = build_plan_summary(day_with(outcomes=rows))
    assert summary.failures is not None
    assert [row[0] for row in summary.failures.rows] == ["pools"]


def test_sources_stand_with_their_age_and_those_never_told_first(day_with: Days) -> None:
    found = table(told(day_with), "Sources and their age at the end of 2025-06-02")
    assert found is not None
    assert found.rows == (("Balances", "never told", ""), ("Closes", "2025-05-30", "3"), ("Gas", "2025-06-02", "0"))


def test_a_rule_that_breaks_is_told_at_the_top_and_turns_the_page_yellow(day_with: Days) -> None:
    broken = JudgedCheck("balances agree with the chain", ("balance_differs: wallet 0x1: off by 5", "more"))
    content = told(day_with, checks=(JudgedCheck("a rule"), broken))
    assert content.tone == "warn"
    assert content.paragraphs[-1] == (
        "Do not rely on these figures before it is explained: checks that fail on 2025-06-02: balances agree with the "
        "chain (2)."
    )
    found = table(content, "Rules")
    assert found is not None
    assert found.rows == (
        ("balances agree with the chain", "fails", "2", "balance_differs: wallet 0x1: off by 5"),
        ("a rule", "holds", "0", ""),
    )


def test_findings_in_pools_are_counted(day_with: Days) -> None:
    content = told(day_with)
    section = content.section("health")
    assert section is not None
    assert "Data of 2 of 3 followed pools passed the quality check." in section.paragraphs
    found = table(content, "What is wrong with the data of pools")
    assert found is not None
    assert found.rows == (("gap", "1"), ("stuck", "1"))


def test_hindsight_is_told(day_with: Days) -> None:
    section = told(day_with).section("health")
    assert section is not None
    assert section.paragraphs[-1].startswith("Forecasts of 1 of 4 pools rest on values seen only after the day")


def test_hostile_words_of_sources_are_cleaned(day_with: Days) -> None:
    hostile = "<b>\x1b[2J\u202e" + "A" * 100_000
    content = told(
        day_with,
        failure(hostile, hostile, hostile, hostile),
        checks=(JudgedCheck(hostile, (hostile,)),),
        newest_days={hostile: None},
    )
    section = content.section("health")
    assert section is not None
    cells = [cell for one in section.tables for row in one.rows for cell in row]
    assert all(cell.isprintable() and len(cell) < 600 for cell in [*cells, *content.paragraphs])
