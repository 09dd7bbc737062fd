"""What a degraded or lost source means for the rest of its day: who rests on it, and how that is told.

Lives here: pure rules over `asset_outcomes` and the graph of one day. Not here: the graph itself
(orchestration/degradation.py), recording outcomes (orchestration/failures.py), asking again (orchestration/repair.py).

A *root* is an asset with a reason of its own: it failed, lacks a part, or is replaced by a substitute. Everything that
stands on a root on the same day is `DegradedUpstream` and names its roots. A key that is not configured is a choice,
not an accident: it is told once, of the source itself (`NotConfigured`), and degrades nothing behind it; neither does
a second opinion that failed to come (`NoCrossCheck`).
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import pandas as pd

DEGRADED = "Degraded"
"""The asset itself says that a part is missing."""
DEGRADED_UPSTREAM = "DegradedUpstream"
UPSTREAM_NOT_RECOVERABLE = "UpstreamNotRecoverable"
NOT_CONFIGURED = "NotConfigured"
NO_CROSS_CHECK = "NoCrossCheck"
"""The source that counts is whole; the one that would confirm or refine it failed."""
LEDGER_NOT_READ = "LedgerNotRead"
"""Of `account_transactions`: nobody was asked what our wallets did, so what they hold is not known."""
STAYING = (NOT_CONFIGURED, NO_CROSS_CHECK)
"""Classes that say nothing about what rests on the asset."""
DERIVED = (DEGRADED_UPSTREAM, UPSTREAM_NOT_RECOVERABLE)
"""Classes of outcomes that tell of another asset's trouble."""
RESTS_ON = "rests on "
Parents = Mapping[str, AbstractSet[str]]
"""Step -> the steps of the same day that it reads."""


def stands_on(parents: Parents, step: str) -> frozenset[str]:
    """All steps that a step rests on, at any distance."""
    found: set[str] = set()
    waiting = [step]
    while waiting:
        new = set(parents.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return frozenset(found)


def dependants(parents: Parents, step: str) -> frozenset[str]:
    """All steps that rest on a step, at any distance."""
    return frozenset(other for other in parents if step in stands_on(parents, other))


def roots(outcomes: pd.DataFrame, parents: Parents, step: str) -> list[str]:
    """The roots among `asset_outcomes` of one day that a step rests on, sorted."""
    if outcomes.empty:
        return []
    own = outcomes[~outcomes["error_class"].isin([*DERIVED, *STAYING])]
    return sorted(set(own["asset"]) & stands_on(parents, step))


def rests_on(found: Sequence[str], remark: str = "") -> str:
    """`rests on a, b`, as `asset_outcomes.reason` tells it."""
    return RESTS_ON + ", ".join(found) + remark


def group_by_roots(reasons: Mapping[str, str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Reasons by asset, parted for people: those of roots as they are, and each `rests on …` with who says so."""
    own = {asset: reason for asset, reason in reasons.items() if not reason.startswith(RESTS_ON)}
    resting: dict[str, list[str]] = {}
    for asset, reason in reasons.items():
        if asset not in own:
            resting.setdefault(reason, []).append(asset)
    return own, resting
