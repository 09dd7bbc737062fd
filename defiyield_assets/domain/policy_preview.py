"""What a change of the policy would have done to a day: pools, figures of the plan, and the sentence that says so.

Lives here: the comparison of two verdicts and two plans, and its words. Not here: making them
(orchestration/policy_previews.py), the change of the files (config/changed_files.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.domain.reporting.formats import percent
from defiyield_assets.domain.reporting.plan_sections import ACTIONS

IDLE = "IDLE"
"""The row of a plan that is no pool but the cash that stays."""
MONEY = ("aum_usd", "gain_usd", "hold_gain_usd", "gas_usd", "conversion_usd", "turnover")
KINDS = {
    "optimal": "a rebalance",
    "hold": "a hold",
    "infeasible": "a hold (no plan keeps every limit)",
    "no_capital": "a hold (nothing to invest)",
    "no_pools": "a hold (no pool is eligible)",
    "unverified": "a hold (the solvers disagree)",
    "screened": "a screening (never sent)",
}
"""What a plan of each status comes to, for whoever reads the sentence."""
FATES = {
    "keep": "keeps",
    "add": "adds to",
    "reduce": "reduces",
    "leave": "leaves",
    "enter": "enters",
    "": "says nothing of",
}
"""What a plan does with a held pool -> the verb."""
GOES_BACK = "going back to those holdings would cost again, which no figure here counts."


@dataclass(frozen=True)
class PoolVerdict:
    """A pool that passes under one policy and not under the other, with the reasons of the one that refuses it.

    `now` and `then`: what the plan before and after the change does with it (keep, add, reduce, leave, enter), "" for
    nothing.
    """

    pool_id: str
    symbol: str
    protocol: str
    is_held: bool
    reason_codes: str
    reasons: str
    now: str = ""
    then: str = ""


@dataclass(frozen=True)
class PlanFigures:
    """What a plan promises: APYs are fractions on all assets, money is USD over the horizon."""

    status: str
    message: str
    projected_apy: float
    hold_apy: float
    aum_usd: float
    gain_usd: float
    hold_gain_usd: float
    gas_usd: float
    conversion_usd: float
    turnover: float
    n_pools: int
    n_steps: int

    @property
    def cost_usd(self) -> float:
        """What moving costs: gas and conversions."""
        return self.gas_usd + self.conversion_usd

    @property
    def kind(self) -> str:
        """The status for a reader; a plan without a transaction is a hold."""
        return KINDS["hold" if self.status == "optimal" and self.n_steps == 0 else self.status]


@dataclass(frozen=True)
class Holding:
    """A pool that one of the two plans holds, with its value in USD under each."""

    pool_id: str
    symbol: str
    protocol: str
    before_usd: float
    after_usd: float


@dataclass(frozen=True)
class PolicyPreview:
    """A day under the policy before and after a change.

    `dropped` passed before and no longer do, `let_in` the reverse; counts are of pools that pass the pre-filter and the
    final selection. `caveats`: what the comparison cannot know. `n_sent`: transactions of the day's own plan that were
    sent since, None where nobody knows.
    """

    day: date
    prefiltered_before: int
    prefiltered_after: int
    eligible_before: int
    eligible_after: int
    dropped: tuple[PoolVerdict, ...]
    let_in: tuple[PoolVerdict, ...]
    before: PlanFigures
    after: PlanFigures
    holdings: tuple[Holding, ...]
    caveats: tuple[str, ...] = ()
    n_sent: int | None = None

    @property
    def is_without_effect(self) -> bool:
        """Whether the day would have been the same."""
        return not (self.dropped or self.let_in) and self.before == self.after and not self.moved

    @property
    def moved(self) -> tuple[Holding, ...]:
        """Holdings that differ by a dollar or more."""
        return tuple(one for one in self.holdings if abs(one.after_usd - one.before_usd) >= 1.0)

    @property
    def words(self) -> str:
        """All of it in one sentence."""
        if self.is_without_effect:
            return f"This change would have made no difference on {self.day}."
        told = [
            self._none_held_words(),
            _pools("drop", self.dropped),
            _pools("let in", self.let_in),
            self._apy_words(),
            self._status_words(),
        ]
        found = [words for words in told if words]
        if not found:
            found = [f"move {len(self.moved)} holdings at the same projected APY ({percent(self.after.projected_apy)})"]
        return f"This change would {_listed(found)} on {self.day}."

    @property
    def basis(self) -> str:
        """On which holdings both plans are made, and that money may have moved since."""
        told = f"Both plans start from the holdings at the close of {self.day}"
        if self.n_sent == 0:
            return f"{told}; the plan that was made of that day sent nothing."
        told += ", before anything that the plan of that day sends."
        if self.n_sent is None:
            return f"{told} If it was carried out since, {GOES_BACK}"
        transactions = "1 transaction" if self.n_sent == 1 else f"{self.n_sent:,} transactions"
        return f"{told} It has been carried out since ({transactions}): {GOES_BACK}"

    @property
    def held_words(self) -> str:
        """What becomes of the held pools that drop out, in one sentence; "" where none is held."""
        held = [one for one in self.dropped if one.is_held]
        fates = [one.then for one in held]
        if not held:
            return ""
        told = [f"{words} {fates.count(fate):,}" for fate, words in FATES.items() if fate in fates]
        many = f"{len(held):,} {'is' if len(held) == 1 else 'are'} held"
        same = ", as it does now" if all(one.now == one.then for one in held) else ""
        return f"Of the pools that would drop out {many}: with the change the plan {_listed(told)}{same}."

    def _none_held_words(self) -> str:
        """That the plan would hold no pool at all, or would hold pools where it held none."""
        now, then = self.before.n_pools, self.after.n_pools
        if now and not then:
            return f"make the plan {'sell everything and ' if self.after.n_steps else ''}hold no pool instead of {now}"
        return f"make the plan hold {then} pool{'' if then == 1 else 's'} instead of none" if then and not now else ""

    def _apy_words(self) -> str:
        points = round(self.after.projected_apy * 100, 2) - round(self.before.projected_apy * 100, 2)
        if abs(points) < 0.005:
            return ""
        span = f"{percent(self.before.projected_apy)} to {percent(self.after.projected_apy)}"
        return f"{'raise' if points > 0 else 'lower'} projected APY by {abs(points):.2f} points ({span})"

    def _status_words(self) -> str:
        is_told = bool(self._none_held_words()) and self.after.status in ("optimal", "hold")
        if is_told or self.before.kind == self.after.kind:
            return ""
        return f"make the plan {self.after.kind} instead of {self.before.kind}"


def _pools(verb: str, pools: tuple[PoolVerdict, ...]) -> str:
    return f"{verb} {len(pools)} pool{'' if len(pools) == 1 else 's'}" if pools else ""


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


@dataclass(frozen=True)
class Judged:
    """A day under one policy: rows of prefiltered_pools, eligible_pools, allocation_runs and allocations."""

    prefiltered: pd.DataFrame
    eligible: pd.DataFrame
    runs: pd.DataFrame
    allocations: pd.DataFrame


def compare_days(
    day: date, before: Judged, after: Judged, caveats: tuple[str, ...] = (), n_sent: int | None = None
) -> PolicyPreview:
    """What differs between the day under two policies."""
    passed = [_passed(one.eligible) for one in (before, after)]
    old, new = _Rows.of(before), _Rows.of(after)
    dropped, let_in = sorted(passed[0] - passed[1]), sorted(passed[1] - passed[0])
    return PolicyPreview(
        day=day,
        prefiltered_before=len(_passed(before.prefiltered)),
        prefiltered_after=len(_passed(after.prefiltered)),
        eligible_before=len(passed[0]),
        eligible_after=len(passed[1]),
        dropped=tuple(_verdict(pool_id, new, old, old.actions, new.actions) for pool_id in dropped),
        let_in=tuple(_verdict(pool_id, old, new, old.actions, new.actions) for pool_id in let_in),
        before=_figures(before.runs),
        after=_figures(after.runs),
        holdings=_holdings(before.allocations, after.allocations, old.named | new.named),
        caveats=caveats,
        n_sent=n_sent,
    )


def _passed(frame: pd.DataFrame) -> set[str]:
    return set(frame.loc[frame["is_passed"].astype(bool), "pool_id"])


def _rows(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    records: list[dict[Any, Any]] = frame.to_dict("records")
    return {str(row["pool_id"]): row for row in records}


@dataclass(frozen=True)
class _Rows:
    """Rows of a judged day by pool, made once: tens of thousands of pools may come and go."""

    prefiltered: Mapping[str, dict[str, Any]]
    eligible: Mapping[str, dict[str, Any]]
    actions: Mapping[str, str]
    """Pools that the plan holds or held, with what it does with each."""

    @classmethod
    def of(cls, day: Judged) -> "_Rows":
        done = zip(day.allocations["pool_id"], day.allocations["action"], strict=True)
        actions = {str(pool_id): ACTIONS[action] for pool_id, action in done if action in ACTIONS}
        return cls(_rows(day.prefiltered), _rows(day.eligible), actions)

    @property
    def named(self) -> dict[str, dict[str, Any]]:
        """Every pool: of the final selection, else of the pre-filter."""
        return {**self.prefiltered, **self.eligible}


def _verdict(
    pool_id: str, refusing: _Rows, passing: _Rows, now: Mapping[str, str], then: Mapping[str, str]
) -> PoolVerdict:
    """The pool with the reasons of the policy that refuses it: of the final selection, else of the pre-filter."""
    refused = refusing.eligible.get(pool_id) or refusing.prefiltered.get(pool_id, {})
    row = passing.eligible[pool_id]
    return PoolVerdict(
        pool_id,
        str(row["symbol"]),
        str(row["protocol"]),
        bool(row["is_held"]),
        str(refused.get("reason_codes") or ""),
        str(refused.get("reasons") or "") or "the day's snapshot does not name it",
        now.get(pool_id, ""),
        then.get(pool_id, ""),
    )


def _figures(runs: pd.DataFrame) -> PlanFigures:
    run: Mapping[Any, Any] = runs.iloc[0].to_dict()

    def number(name: str) -> float:
        return 0.0 if run[name] is None or pd.isna(run[name]) else float(run[name])

    return PlanFigures(
        status=str(run["status"]),
        message=str(run["message"]),
        projected_apy=number("projected_apy"),
        hold_apy=number("hold_apy"),
        n_pools=int(number("n_pools")),
        n_steps=int(number("n_steps")),
        **{name: number(name) for name in MONEY},
    )


def _holdings(before: pd.DataFrame, after: pd.DataFrame, named: Mapping[str, Mapping[str, Any]]) -> tuple[Holding, ...]:
    """Every pool with a value in one of the plans, the largest change first."""
    values = [_values(frame) for frame in (before, after)]
    found = []
    for pool_id in sorted(values[0].keys() | values[1].keys()):
        old, new = (one.get(pool_id, 0.0) for one in values)
        row = named.get(pool_id, {"symbol": "cash" if pool_id == IDLE else "", "protocol": ""})
        found.append(Holding(pool_id, str(row["symbol"]), str(row["protocol"]), old, new))
    return tuple(sorted(found, key=lambda one: (-abs(one.after_usd - one.before_usd), one.pool_id)))


def _values(allocations: pd.DataFrame) -> dict[str, float]:
    """USD in each pool under a plan; rows of more than one token are summed."""
    held = allocations[allocations["value_usd"].notna()]
    sums: dict[str, float] = {}
    for pool_id, value in zip(held["pool_id"], held["value_usd"], strict=True):
        sums[str(pool_id)] = sums.get(str(pool_id), 0.0) + float(value)
    return {pool_id: value for pool_id, value in sums.items() if value > 0}
