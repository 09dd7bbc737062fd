"""The sentence that says what a change of the policy would have done, and the comparison that it is made of.

Not here: days under another policy (orchestration/test_policy_previews.py).
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.policy_preview import Judged, PolicyPreview, compare_days

DAY = date(2025, 6, 7)


def judged(
    passed: dict[str, str], apy: float = 0.0451, status: str = "optimal", held: dict[str, float] | None = None
) -> Judged:
    """Pools by id with the reasons against them (none: it passes), and a plan."""
    rows: list[dict[str, Any]] = [
        {"pool_id": pool_id, "is_passed": not why, "symbol": pool_id.upper(), "protocol": "aave-v3"}
        | {"is_held": pool_id == "a", "reason_codes": why and "CODE", "reasons": why}
        for pool_id, why in passed.items()
    ]
    frame = pd.DataFrame(rows)
    money = dict.fromkeys(("aum_usd", "gain_usd", "hold_gain_usd", "gas_usd", "conversion_usd"), Decimal("1.5"))
    run = {"status": status, "message": "m", "projected_apy": apy, "hold_apy": 0.0, "turnover": 0.1}
    runs = pd.DataFrame([run | money | {"n_pools": 2, "n_steps": 3}])
    rest = {"IDLE": 5.0} if held is None else held
    values = [{"pool_id": name, "value_usd": Decimal(str(value))} for name, value in rest.items()]
    return Judged(frame, frame, runs, pd.DataFrame(values, columns=["pool_id", "value_usd"]))


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
            "This change would make the plan infeasible instead of optimal on 2025-06-07.",
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
