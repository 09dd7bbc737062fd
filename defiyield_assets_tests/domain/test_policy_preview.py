"""The sentence that says what a change of the policy would have done, and the comparison that it is made of.

Not here: days under another policy (orchestration/test_policy_previews.py).
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.policy_preview import KINDS, Judged, PolicyPreview, PoolVerdict, compare_days
from defiyield_assets.store import schema

DAY = date(2025, 6, 7)


def judged(
    passed: dict[str, str],
    apy: float = 0.0451,
    status: str = "optimal",
    held: dict[str, float] | None = None,
    counts: tuple[int, int] = (2, 3),
    actions: dict[str, str] | None = None,
) -> Judged:
    """Pools by id with the reasons against them (none: it passes), and a plan; `counts` are its pools and its
    transactions, `actions` what it does with a pool (else it keeps it)."""
    rows: list[dict[str, Any]] = [
        {"pool_id": pool_id, "is_passed": not why, "symbol": pool_id.upper(), "protocol": "aave-v3"}
        | {"is_held": pool_id == "a", "reason_codes": why and "CODE", "reasons": why}
        for pool_id, why in passed.items()
    ]
    frame = pd.DataFrame(rows)
    money = dict.fromkeys(("aum_usd", "gain_usd", "hold_gain_usd", "gas_usd", "conversion_usd"), Decimal("1.5"))
    run = {"status": status, "message": "m", "projected_apy": apy, "hold_apy": 0.0, "turnover": 0.1}
    runs = pd.DataFrame([run | money | {"n_pools": counts[0], "n_steps": counts[1]}])
    done = {"IDLE": "idle", **(actions or {})}
    rest = {"IDLE": 5.0, **dict.fromkeys(actions or {}, 0.0)} if held is None else held
    values = [
        {"pool_id": name, "value_usd": Decimal(str(value)), "action": done.get(name, "hold")}
        for name, value in rest.items()
    ]
    return Judged(frame, frame, runs, pd.DataFrame(values, columns=["pool_id", "value_usd", "action"]))


def told(before: Judged, after: Judged) -> PolicyPreview:
    return compare_days(DAY, before, after)


SAME = {"a": "", "b": "", "c": "too small"}


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (judged(SAME), "This change would have made no difference on 2025-06-07."),
        (
            judged({"a": "too small", "b": "too small", "c": ""}, 0.0421),
            "This change would drop 2 pools, let in 1 pool and lower projected APY by 0.30 points (4.51% to 4.21%) on "
            "2025-06-07.",
        ),
        (judged(SAME, 0.0551), "This change would raise projected APY by 1.00 points (4.51% to 5.51%) on 2025-06-07."),
        (judged({**SAME, "b": "old"}), "This change would drop 1 pool on 2025-06-07."),
        (
            judged(SAME, status="infeasible"),
            "This change would make the plan a hold (no plan keeps every limit) instead of a rebalance on 2025-06-07.",
        ),
        (
            judged(SAME, status="hold", counts=(2, 0)),
            "This change would make the plan a hold instead of a rebalance on 2025-06-07.",
        ),
        (
            judged(SAME, counts=(2, 0)),
            "This change would make the plan a hold instead of a rebalance on 2025-06-07.",
        ),
        (
            judged(SAME, 0.0, counts=(0, 4)),
            "This change would make the plan sell everything and hold no pool instead of 2 and lower projected APY by "
            "4.51 points (4.51% to 0.00%) on 2025-06-07.",
        ),
        (
            judged(SAME, 0.0, status="hold", counts=(0, 0)),
            "This change would make the plan hold no pool instead of 2 and lower projected APY by 4.51 points (4.51% "
            "to 0.00%) on 2025-06-07.",
        ),
        (
            judged(SAME, status="no_pools", counts=(0, 0)),
            "This change would make the plan hold no pool instead of 2 and make the plan a hold (no pool is eligible) "
            "instead of a rebalance on 2025-06-07.",
        ),
        (
            judged(SAME, 0.0451, held={"a": 7.0}),
            "This change would move 2 holdings at the same projected APY (4.51%) on 2025-06-07.",
        ),
    ],
)
def test_the_sentence_says_what_differs(after: Judged, words: str) -> None:
    assert told(judged(SAME), after).words == words


def test_pools_that_go_and_come_bear_the_reasons_of_the_policy_that_refuses_them() -> None:
    found = told(judged(SAME), judged({"a": "too old", "b": "", "c": ""}))
    assert [(one.pool_id, one.reasons, one.is_held) for one in found.dropped] == [("a", "too old", True)]
    assert [(one.pool_id, one.reasons) for one in found.let_in] == [("c", "too small")]
    assert (found.eligible_before, found.eligible_after) == (2, 2)
    assert found.before.cost_usd == 3.0


def test_a_plan_that_sells_everything_is_no_better_for_being_a_rebalance() -> None:
    found = told(judged(SAME, status="hold", counts=(7, 0)), judged(SAME, 0.0, counts=(0, 7)))
    assert found.words.startswith(
        "This change would make the plan sell everything and hold no pool instead of 7 and lower"
    )
    assert "a rebalance" not in found.words
    back = told(judged(SAME, 0.0, counts=(0, 7)), judged(SAME, counts=(1, 2)))
    assert back.words.startswith("This change would make the plan hold 1 pool instead of none and raise")


def test_every_status_of_a_plan_has_words() -> None:
    assert set(KINDS) == set(schema.allocation_runs.c.status.info["isin"])


def test_of_held_pools_that_drop_out_it_says_what_the_plans_do_with_them() -> None:
    now = judged({"a": "", "b": ""}, actions={"a": "increase", "b": "enter"})
    found = told(now, judged({"a": "barred", "b": "barred"}, actions={"a": "hold", "b": "left_out"}))
    assert [(one.pool_id, one.now, one.then) for one in found.dropped] == [("a", "add", "keep"), ("b", "enter", "")]
    assert found.held_words == "Of the pools that would drop out 1 is held: with the change the plan keeps 1."
    held = [PoolVerdict("p", "P", "x", True, "C", "r", "keep", fate) for fate in ("leave", "keep", "reduce", "leave")]
    assert replace(found, dropped=tuple(held)).held_words == (
        "Of the pools that would drop out 4 are held: with the change the plan keeps 1, reduces 1 and leaves 2."
    )
    left = replace(found, dropped=(replace(held[0], now="leave"),))
    assert left.held_words.endswith("1 is held: with the change the plan leaves 1, as it does now.")
    assert told(judged(SAME), judged({**SAME, "b": "old"})).held_words == ""


@pytest.mark.parametrize(
    ("n_sent", "words"),
    [
        (0, "; the plan that was made of that day sent nothing."),
        (
            26,
            ", before anything that the plan of that day sends. It has been carried out since (26 transactions): going "
            "back to those holdings would cost again, which no figure here counts.",
        ),
        (
            None,
            ", before anything that the plan of that day sends. If it was carried out since, going back to those "
            "holdings would cost again, which no figure here counts.",
        ),
    ],
)
def test_it_says_on_which_holdings_it_judges(n_sent: int | None, words: str) -> None:
    found = compare_days(DAY, judged(SAME), judged(SAME), n_sent=n_sent)
    assert found.basis == f"Both plans start from the holdings at the close of 2025-06-07{words}"


def test_rows_of_a_day_are_gone_through_once_however_many_pools_go_and_come(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, records = list[int](), pd.DataFrame.to_dict

    def counted(frame: pd.DataFrame, *arguments: Any, **named: Any) -> Any:
        asked.append(1)
        return records(frame, *arguments, **named)

    monkeypatch.setattr(pd.DataFrame, "to_dict", counted)
    many = {f"p{number}": "" for number in range(50)}
    assert len(told(judged(many), judged(dict.fromkeys(many, "too old"))).dropped) == 50
    assert len(asked) == 4, "the pre-filter and the selection of two days"


def test_holdings_are_summed_by_pool_and_the_largest_change_is_first() -> None:
    found = told(judged(SAME, held={"a": 10.0, "b": 1.0, "IDLE": 3.0}), judged(SAME, held={"b": 0.5, "IDLE": 3.0}))
    assert [(one.pool_id, one.before_usd, one.after_usd) for one in found.holdings] == [
        ("a", 10.0, 0.0),
        ("b", 1.0, 0.5),
        ("IDLE", 3.0, 3.0),
    ]
    assert [one.pool_id for one in found.moved] == ["a"]
    assert found.holdings[2].symbol == "cash"
    two = judged(SAME, held={"a": 10.0})
    pair = replace(two, allocations=pd.concat([two.allocations, two.allocations], ignore_index=True))
    (both,) = told(pair, pair).holdings
    assert both.before_usd == both.after_usd == 20.0
