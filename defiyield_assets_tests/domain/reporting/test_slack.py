"""The message of the day and the alerts: what they say, and that no string of a vendor does anything in Slack."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.reporting import slack
from defiyield_assets.domain.reporting.alerts import FailedStep, build_failure_alert, build_recovery_alert
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.slack import build_slack_message
from defiyield_assets.domain.reporting.slack_blocks import (
    SlackMessage,
    as_correction,
    correction_note,
    fitted,
    safe,
    sections,
    slack_length,
)
from defiyield_assets_tests.domain.reporting.conftest import (
    DAY,
    POOL_A,
    USDC,
    believable_day,
    board,
    frame,
    holding,
    plan_run,
    step,
)
from defiyield_assets_tests.slack_server import problem_of

Days = Callable[..., ReportInputs]
HOSTILE = (
    "<!channel> <@U123> <https://evil.example|free money> *bold* `code` ~gone~ _sly_ :red_circle: &amp; \x00\u202e"
)


def shown(message: SlackMessage) -> str:
    """All texts of all parts, one per line."""
    texts = []
    for part in message.parts:
        for block in part.blocks:
            objects = [block["text"]] if "text" in block else []
            objects += [*block.get("fields", []), *block.get("elements", [])]
            texts += [text["text"] for text in objects]
    return "\n".join(texts)


def crowded(n: int) -> ReportInputs:
    """A day with so many changes and steps."""
    held = [holding(f"{number:08d}", USDC, 10**6 * (number + 1), 0) for number in range(n)]
    steps = [step(number, "DEPOSIT", pool_id=POOL_A, token_in=USDC, amount_in=5) for number in range(1, n + 1)]
    return believable_day(allocations=frame("allocations", *held), allocation_steps=frame("allocation_steps", *steps))


def test_the_day_is_said_from_verdict_to_health(day_with: Days) -> None:
    said = shown(build_slack_message(day_with()))
    assert "2025-06-02: Rebalance to 9.12%" in said
    assert "• enter USDC · aave-v3 #aaaaaa…aaaa: +250,586.41 USDC, then 25.00% of assets, 10.10% APY" in said
    assert "• Cash in USDC: -250,586.41 USDC" in said
    assert "• 1 more stays as held" in said
    assert "• 2. CONVERT in warm: 300,120.04 USDC → 300,000 USDT ($250,000.50, gas $2.36, conversion $100.12)" in said
    assert "HOLD" not in said
    assert "*Cost* $109.54: gas $9.42, conversion $100.12; earned back in 1.0 days" in said
    assert "HiGHS 1.15.1 and CBC 2.10.3 agree (objective)" in said
    assert "Forecast bands held 81% of 1,200 APYs that fell due" in said
    assert "No input is degraded." in said
    assert "All assets of the day are whole." in said


def test_a_full_exit_says_that_all_shares_leave(day_with: Days) -> None:
    leave = {"pool_id": POOL_A, "token_out": USDC, "amount_out": 250_586_414_475}
    for is_full, expected in ((True, "aave-v3 #aaaaaa…aaaa (all shares) →"), (False, "aave-v3 #aaaaaa…aaaa →")):
        steps = frame("allocation_steps", step(1, "WITHDRAW", is_full_exit=is_full, **leave))
        assert expected in shown(build_slack_message(day_with(allocation_steps=steps)))


def test_coverage_counts_bands_and_not_forecasts_without_one(day_with: Days) -> None:
    told = frame(
        "forecast_scoreboard",
        board("apy", 1, "champion", 0.1, coverage=0.9, n_forecasts=1_000, n_bands=100),
        board("apy", 7, "champion", 0.1, coverage=0.5, n_forecasts=100, n_bands=100),
    )
    said = shown(build_slack_message(day_with(forecast_scoreboard=told)))
    assert "Forecast bands held 70% of 200 APYs that fell due" in said


def test_other_steps_inputs_or_verdicts_are_other_advice_and_health_is_not(day_with: Days) -> None:
    def advice(**changes: Any) -> str:
        return build_slack_message(day_with(**changes)).advice

    plain = advice()
    ill = {"date": DAY, "asset": "macro", "status": "degraded", "error_class": "X", "reason": "r"}
    assert advice() == plain
    assert advice(allocation_runs=frame("allocation_runs", plan_run(solver_seconds=9.0))) == plain
    sick = day_with(outcomes=frame("asset_outcomes", {**ill, "is_recoverable": True}))
    assert build_slack_message(sick).sha256 != build_slack_message(day_with()).sha256
    others = [
        advice(allocation_runs=frame("allocation_runs", plan_run(input_hash="0a" * 32))),
        advice(allocation_runs=frame("allocation_runs", plan_run(status="unverified"))),
        advice(allocation_steps=frame("allocation_steps", step(1, "DEPOSIT", pool_id=POOL_A, amount_in=5))),
        advice(allocation_steps=frame("allocation_steps", step(1, "DEPOSIT", pool_id=POOL_A, amount_in=6))),
        advice(allocations=frame("allocations", holding(POOL_A, USDC, 7, 6))),
        advice(allocations=frame("allocations", holding(POOL_A, USDC, 7, 5))),
    ]
    assert len({plain, *others}) == len(others) + 1


def test_a_recovery_says_of_which_failures_nobody_was_told() -> None:
    def remark(*is_told: bool) -> str:
        steps = [FailedStep(f"step{n}", DAY, DAY, True, "why", None, told) for n, told in enumerate(is_told)]
        return shown(build_recovery_alert(steps)).split("\n")[-1]

    assert remark(True, True) == "The failure was told before."
    assert remark(False, False) == "The failure could not be told before."
    assert remark(True, False) == "The failure of step1 could not be told before."


def test_a_day_on_which_nothing_is_best_says_do_nothing(day_with: Days) -> None:
    keep = frame("allocation_steps", step(1, "HOLD", pool_id=POOL_A, token_in=USDC, amount_in=7))
    run = frame("allocation_runs", plan_run(status="hold", n_steps=0))
    kept = frame("allocations", holding(POOL_A, USDC, 7, 7, action="hold"))
    said = shown(build_slack_message(day_with(allocation_runs=run, allocation_steps=keep, allocations=kept)))
    assert "*Do nothing.* Keeping what is held is expected to earn $4,100.10 in 30 days (5.01% APY)." in said
    assert "Against what is held" not in said
    assert "*Steps*" not in said


@pytest.mark.parametrize("status", ["unverified", "infeasible", "screened"])
def test_what_is_not_published_has_no_steps_and_no_changes(day_with: Days, status: str) -> None:
    said = shown(build_slack_message(day_with(allocation_runs=frame("allocation_runs", plan_run(status=status)))))
    assert "Steps" not in said
    assert "Against what is held" not in said
    assert "Do nothing" not in said
    assert "agree (objective)" not in said


def test_degraded_inputs_count_against_confidence_and_are_named(day_with: Days) -> None:
    told = [
        ("closes", "degraded", "VendorUnavailable", "down <!here>"),
        ("icebox", "degraded", "DegradedUpstream", "rests on closes"),
        ("macro_series", "degraded", "NotConfigured", "no KEY"),
    ]
    names = ("asset", "status", "error_class", "reason")
    rows = [{"date": DAY, **dict(zip(names, row, strict=True)), "is_recoverable": True} for row in told]
    said = shown(build_slack_message(day_with(outcomes=frame("asset_outcomes", *rows))))
    assert "• 1 degraded input, listed below." in said
    assert "• closes: degraded, down &lt;!here&gt;" in said
    assert "macro_series" not in said


@pytest.mark.parametrize("n", [0, 1, 8, 9, 300])
def test_every_part_keeps_slacks_limits_and_none_of_the_steps_is_lost(n: int) -> None:
    message = build_slack_message(crowded(n))
    for part in (*message.parts, *(as_correction(part) for part in message.parts)):
        assert problem_of({"text": part.text, "blocks": list(part.blocks)}) is None
    said = shown(message)
    steps = {int(found) for found in re.findall(r"^• (\d+)\. DEPOSIT", said, re.M)}
    assert steps == set(range(1, n + 1))
    assert (len(message.parts) > 1) == (n > 8)


def test_what_is_beyond_all_parts_is_said_to_stand_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack, "MAX_BLOCKS", 4)
    monkeypatch.setattr(slack, "MAX_PARTS", 3)
    message = build_slack_message(crowded(200))
    assert len(message.parts) == 3
    assert [part.text[-11:] for part in message.more] == ["part 2 of 3", "part 3 of 3"]
    assert [len(part.blocks) for part in message.more] == [3, 4]
    assert "the rest stands in the report" in shown(message)


def test_hostile_strings_do_nothing_wherever_they_stand() -> None:
    hostile = {"date": DAY, "asset": HOSTILE, "status": "failed", "error_class": "X", "reason": HOSTILE}
    inputs = believable_day(
        allocation_runs=frame("allocation_runs", plan_run(message=HOSTILE, policy_hash=HOSTILE, solver=HOSTILE)),
        outcomes=frame("asset_outcomes", {**hostile, "is_recoverable": True}),
        wallets={"0x" + "a1" * 20: HOSTILE},
    )
    step_of = FailedStep(HOSTILE, DAY, DAY, True, HOSTILE)
    alert = build_failure_alert(HOSTILE, HOSTILE, [step_of])
    for message in (build_slack_message(inputs), alert, build_recovery_alert([step_of])):
        said = shown(message) + message.text
        assert not re.search(r"[<>\x00\u202e]", said)
        assert not re.search(r"&(?!amp;|lt;|gt;)", said)
        for active in ("*bold*", "`code`", "~gone~", "_sly_"):
            assert active not in said
        assert said.count(":red_circle:") <= 1, "our own signal and no other"
        texts = [block.get("text", {}) for block in message.blocks]
        assert all(text.get("verbatim", True) for text in texts if text.get("type") == "mrkdwn")
    assert "&lt;!channel&gt;" in shown(alert)


@given(st.text(alphabet="ax&<>*_:;~\U0001f600\n", max_size=200), st.integers(1, 120))
def test_cutting_never_parts_an_escape_and_keeps_the_limit(text: str, limit: int) -> None:
    cut = fitted(safe(text), limit)
    assert slack_length(cut) <= max(limit, 1)
    assert not re.search(r"&(?!amp;|lt;|gt;)", cut)
    assert not re.search(r"[<>*`~]", cut)


@given(st.lists(st.integers(1, 7_000), max_size=30))
def test_lines_are_parted_between_sections_never_inside_them(lengths: list[int]) -> None:
    lines = [f"{place:04d}" + "x" * length for place, length in enumerate(lengths)]
    blocks = sections(lines)
    assert problem_of({"text": "t", "blocks": blocks[:50]}) is None
    told = [line for block in blocks for line in block["text"]["text"].split("\n")]
    assert [line[:4] for line in told] == [line[:4] for line in lines]
    assert all(
        line == whole or (line.endswith("…") and len(whole) > 3_000) for line, whole in zip(told, lines, strict=True)
    )


def test_characters_that_count_twice_in_slack_count_twice_here() -> None:
    assert slack_length("\U0001f600a") == 3
    assert slack_length(fitted("\U0001f600" * 50, 21)) <= 21


def test_equal_days_are_the_same_message_and_others_are_not(day_with: Days) -> None:
    first, again = build_slack_message(day_with()), build_slack_message(day_with())
    assert first.sha256 == again.sha256
    other = day_with(allocation_runs=frame("allocation_runs", plan_run(gas_usd=Decimal("9.43"))))
    assert build_slack_message(other).sha256 != first.sha256
    more: Any = build_slack_message(crowded(20))
    assert SlackMessage(more.text, more.blocks).sha256 != more.sha256, "what continues it counts too"


def test_a_correction_says_so_first_and_its_note_says_before_and_now(day_with: Days) -> None:
    message = build_slack_message(day_with())
    marked = as_correction(message)
    assert marked.text.startswith("Correction: ")
    assert "Correction" in str(marked.blocks[0])
    note = shown(correction_note(message, "what was said"))
    assert "Before: what was said" in note
    assert f"Now: {message.text}" in note


def test_alerts_count_what_they_do_not_name_and_tell_ranges() -> None:
    steps = [FailedStep(f"step_{n}", DAY, date(2025, 6, 5), True, "why") for n in range(25)]
    alert = build_failure_alert("plan_the_day", "0123456789abcdef", steps)
    assert alert.text.startswith("Run 01234567 of plan＿the＿day".replace("＿", "_"))
    assert "for 2025-06-02 to 2025-06-05 failed: step_0, step_1" in alert.text
    assert "and 15 more" in alert.text
    recovered = FailedStep("a", DAY, DAY, False, "why", datetime(2025, 6, 3, 7, 5, tzinfo=UTC))
    told = build_recovery_alert([recovered])
    assert told.text == "Recovered for no partition: a"
    assert "a at 2025-06-03 07:05 UTC" in shown(told)
    for message in (alert, told):
        assert problem_of({"text": message.text, "blocks": list(message.blocks)}) is None
