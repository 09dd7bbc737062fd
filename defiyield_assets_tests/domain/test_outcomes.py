"""Tests of domain/outcomes.py: who rests on a degraded source, and how that is told.

Not here: that assets really record it (orchestration/test_degradation.py).
"""

import pandas as pd
import pytest

from defiyield_assets.domain.outcomes import (
    DEGRADED_UPSTREAM,
    NO_CROSS_CHECK,
    NOT_CONFIGURED,
    UPSTREAM_NOT_RECOVERABLE,
    dependants,
    group_by_roots,
    rests_on,
    roots,
    stands_on,
)

PARENTS = {
    "policy": frozenset[str](),
    "prices": frozenset({"policy"}),
    "gas": frozenset({"policy"}),
    "bars": frozenset({"prices"}),
    "plan": frozenset({"bars", "gas"}),
    "report": frozenset({"plan"}),
}
"""policy -> prices -> bars -> plan -> report, and policy -> gas -> plan."""


def told(*rows: tuple[str, str]) -> pd.DataFrame:
    """asset_outcomes of a day: (asset, error class)."""
    return pd.DataFrame(list(rows), columns=["asset", "error_class"])


def test_a_step_stands_on_all_that_is_below_it_and_holds_all_that_is_above() -> None:
    assert stands_on(PARENTS, "plan") == {"bars", "gas", "prices", "policy"}
    assert stands_on(PARENTS, "nobody") == frozenset()
    assert dependants(PARENTS, "prices") == {"bars", "plan", "report"}
    assert dependants(PARENTS, "report") == frozenset()


@pytest.mark.parametrize(
    ("rows", "step", "expected"),
    [
        ([], "plan", []),
        ([("prices", "VendorUnavailable")], "plan", ["prices"]),
        ([("prices", "VendorUnavailable")], "gas", []),
        ([("prices", "VendorUnavailable"), ("gas", "Degraded")], "report", ["gas", "prices"]),
        ([("prices", "VendorUnavailable"), ("bars", DEGRADED_UPSTREAM)], "report", ["prices"]),
        ([("bars", UPSTREAM_NOT_RECOVERABLE)], "report", []),
        ([("prices", NOT_CONFIGURED), ("gas", NO_CROSS_CHECK)], "report", []),
        ([("plan", "Degraded")], "plan", []),
    ],
)
def test_roots_are_named_and_never_what_only_rests_on_them(
    rows: list[tuple[str, str]], step: str, expected: list[str]
) -> None:
    assert roots(told(*rows), PARENTS, step) == expected


def test_people_see_a_root_once_and_what_rests_on_it_together() -> None:
    reasons = {
        "prices": "down",
        "bars": rests_on(["prices"]),
        "plan": rests_on(["gas", "prices"]),
        "report": rests_on(["gas", "prices"]),
    }
    own, resting = group_by_roots(reasons)
    assert own == {"prices": "down"}
    assert resting == {"rests on prices": ["bars"], "rests on gas, prices": ["plan", "report"]}
