"""A day under another policy: verdicts and plan made again in memory from the stored tables; nothing is written.

Lives here: which tables of a day are made again, from what, and what of them cannot be. Not here: the verdicts and the
plan (domain/selection, domain/allocation), their reading (selection_inputs.py, plan_inputs.py), the comparison and its
words (domain/policy_preview.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import pandas as pd

from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.allocation.plan import AllocationPlan, plan_allocation
from defiyield_assets.domain.allocation.problem import build_problem
from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import IceboxOverride, Parameters, Policy, PoolAlias, PoolOverride
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.domain.policy_preview import Judged, PolicyPreview, compare_days
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.selection.lists import build_allocation_snapshot
from defiyield_assets.domain.selection.registry import build_token_registry
from defiyield_assets.errors import NotFound
from defiyield_assets.orchestration.plan_inputs import investable_wallet, plan_inputs, utilisation_curves
from defiyield_assets.orchestration.pool_bundles import PoolWork, metric_rows, quality_rows
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.orchestration.selection_inputs import eligible_of, icebox_of, prefiltered_of, previous_icebox
from defiyield_assets.store import reads, schema
from defiyield_assets.store.engine import Readable, one_view
from defiyield_assets.store.warehouse import ReadableWarehouse, Warehouse, aliases_of

OF_QUALITY = ("stuck_days", "gap_days", "apy_plausible_max", "spike_median_multiple", "spike_robust_z")
"""Parameters that quality, metrics and risk groups of pools are made with."""
OF_FORECASTS = ("gap_days", "apy_plausible_max", "spike_median_multiple", "spike_robust_z")
OF_LEDGER = ("confirmations", "lot_method")
"""Parameters that act on the books alone."""
_Row = TypeVar("_Row", PoolOverride, IceboxOverride, PoolAlias)


@dataclass(frozen=True)
class DayUnderPolicy:
    """What a day is under a policy: the rows that its tables would hold."""

    prefiltered: pd.DataFrame
    eligible: pd.DataFrame
    plan: AllocationPlan

    @property
    def judged(self) -> Judged:
        """What two of them are compared by."""
        return Judged(self.prefiltered, self.eligible, self.plan.runs, self.plan.allocations)


def preview_change(
    warehouse: WarehouseResource,
    market: MarketResource,
    *,
    in_force: Path | None,
    changed: Path,
    day: date | None = None,
) -> PolicyPreview:
    """What the files of the folder `changed` would have made of a planned day (None: the newest), compared with those
    of the folder `in_force` (None: the shipped files).

    Where the files in force are what the day was made with, the stored day is compared with; otherwise the day is made
    again under them, too, so that the change alone makes the difference. Both are taken as they will be on the next day
    that is made, from which a change counts: rows of lists that begin or end then do so in the preview. The day is read
    as it is at one moment, whatever is written meanwhile.

    NotFound for a day without a plan; ConfigurationError for files that do not load; SuspiciousDataError where the
    stored day does not hold what a plan under the changed policy needs, such as the price of a token that nobody asked
    for.
    """
    with one_view(warehouse.engine) as view:
        held = Warehouse(view, warehouse.market)
        chosen = planned_day(view, day)
        stored, next_day = held.policy(chosen), _next_day(view, chosen)
        now, then = (_loaded(folder, next_day, chosen, market, stored) for folder in (in_force, changed))
        is_as_made = policy_to_json(now) == policy_to_json(stored)
        before = _stored(view, chosen) if is_as_made else day_under(held, chosen, now).judged
        after = day_under(held, chosen, then)
        caveats = _caveats(view, chosen, now, then, after, is_as_made=is_as_made)
        sent = _sent(view, chosen)
    return compare_days(chosen, before, after.judged, tuple(caveats), sent)


def planned_day(engine: Readable, day: date | None) -> date:
    """The day, or the newest one, that has a plan; NotFound where there is none."""
    newest = reads.newest_day(engine, schema.allocation_runs)
    if newest is None:
        raise NotFound("the warehouse holds no plan yet: `defiyield run` makes one, and then changes can be previewed")
    if day is not None and reads.newest_day(engine, schema.allocation_runs, day) != day:
        raise NotFound(f"the warehouse holds no plan of {day}; the newest is of {newest}")
    return day or newest


def _next_day(engine: Readable, planned: date) -> date:
    """The next day that is made: after the newest that has a policy."""
    return max(planned, reads.newest_day(engine, schema.policy_snapshot) or planned) + timedelta(days=1)


def _loaded(folder: Path | None, next_day: date, day: date, market: MarketResource, stored: Policy) -> Policy:
    """The policy of the folder on the next day, for the planned day before it.

    Rows that say from when they count do so from the planned day on at the latest. Wallets, lots and contracts are as
    they stood when the day was made, and so is what the market says of its pools: no version of the policy changes
    these of a day that is over.
    """
    simulation = market.simulation
    told = () if simulation is None else simulation.pool_overrides()
    renamed = () if simulation is None else simulation.pool_aliases()
    loaded = load_policy(next_day, folder, told).policy
    return replace(
        loaded,
        pool_overrides=_counting(loaded.pool_overrides, day),
        icebox_overrides=_counting(loaded.icebox_overrides, day),
        pool_aliases=(*_counting(loaded.pool_aliases, day), *(alias for alias in renamed if alias.since <= day)),
        wallets=stored.wallets,
        lot_choices=stored.lot_choices,
        pool_contracts=stored.pool_contracts,
    )


def _counting(rows: Sequence[_Row], day: date) -> tuple[_Row, ...]:
    """Rows that would count from a later day only, from the day on."""
    return tuple(row if row.since is None or row.since <= day else replace(row, since=day) for row in rows)


def _stored(engine: Readable, day: date) -> Judged:
    only = DayRange.of(day)
    tables = (schema.prefiltered_pools, schema.eligible_pools, schema.allocation_runs, schema.allocations)
    return Judged(*(reads.read_days(engine, table, only) for table in tables))


def _sent(engine: Readable, day: date) -> int | None:
    """Transactions that the plan of the day became; None where nobody knows, as of a live market's advice."""
    found = reads.read_days(engine, schema.plan_executions, DayRange.of(day))
    if found.empty or found["status"].iloc[0] == "advice_only":
        return None
    return int(found["n_transactions"].iloc[0])


def day_under(warehouse: ReadableWarehouse, day: date, policy: Policy) -> DayUnderPolicy:
    """The stored day judged and planned under a policy; `warehouse` may be one view of it.

    Made again are token registry, pre-filter, icebox (from that of the day before), effective lists, quality, metrics
    and groups where their parameters differ, final selection and plan. As stored are prices, histories, forecasts, gas,
    balances and positions.
    """
    engine, only = warehouse.engine, DayRange.of(day)
    registry = build_token_registry(reads.read_days(engine, schema.pools, only), policy, day)
    prefiltered = prefiltered_of(engine, policy, day, registry)
    _, icebox, _ = icebox_of(engine, policy, day, previous_icebox(engine, day))
    instead = {"prefiltered_pools": prefiltered, "icebox": icebox, **_measured(warehouse, day, policy.parameters)}
    eligible = eligible_of(engine, policy, day, instead)
    return DayUnderPolicy(prefiltered, eligible, _planned(warehouse, day, policy, eligible, icebox))


def _measured(warehouse: ReadableWarehouse, day: date, parameters: Parameters) -> Mapping[str, pd.DataFrame]:
    """Quality, metrics and groups of pools under other parameters; nothing where those of the day are the same."""
    of_day = warehouse.policy(day).parameters
    if not _differing(of_day, parameters, OF_QUALITY):
        return {}
    work = replace(PoolWork.of(warehouse, DayRange.of(day)), parameters=parameters)
    quality = pd.concat([quality_rows(work, bundle) for bundle in work.bundles], ignore_index=True)
    metrics = pd.concat([metric_rows(work, bundle) for bundle in work.bundles], ignore_index=True)
    return {"pool_quality": quality, "pool_metrics": metrics, "pool_groups": assign_groups(metrics)}


def _planned(
    warehouse: ReadableWarehouse, day: date, policy: Policy, eligible: pd.DataFrame, icebox: pd.DataFrame
) -> AllocationPlan:
    """The plan of the day under the policy."""
    hash_of_policy = content_hash(policy_to_json(policy))
    lists = build_allocation_snapshot(policy, hash_of_policy, icebox, day)
    barred = {item["token"] for item in json.loads(lists.iloc[0]["barred_tokens_json"]) if item["token"]}
    inputs = plan_inputs(warehouse, day)
    positions = inputs["positions"]
    problem = build_problem(
        **{
            **inputs,
            "eligible": eligible,
            "positions": positions.assign(pool_id=positions["pool_id"].replace(aliases_of(policy, day))),
            "policy": policy,
            "barred": barred,
            "wallet": investable_wallet(policy),
        },
        forecasts=reads.read_days(warehouse.engine, schema.pool_forecasts, DayRange.of(day)),
        policy_hash=hash_of_policy,
        curves=utilisation_curves(warehouse, day),
    )
    return plan_allocation(problem)


# --- what cannot be known ------------------------------------------------------------------------------------------
def _caveats(
    engine: Readable, day: date, now: Policy, then: Policy, after: DayUnderPolicy, *, is_as_made: bool
) -> list[str]:
    """What the preview leaves out, in sentences."""
    found = []
    if not is_as_made:
        found.append(f"The files in force are not those that {day} was made with: it was made again under both.")
    names = [field.name for field in fields(Parameters)]
    icebox = _differing(now.parameters, then.parameters, [name for name in names if name.startswith("icebox_")])
    if icebox:
        found.append(
            f"The icebox begins with the tokens that were barred the day before under the old {', '.join(icebox)}: "
            f"earlier days are not judged again."
        )
    told_of = reads.read_days(engine, schema.pool_forecasts, DayRange.of(day), columns=["horizon_days"])
    horizons = sorted(set(told_of["horizon_days"]))
    if then.parameters.horizon_days not in horizons:
        told = ", ".join(str(days) for days in horizons)
        found.append(f"Pools are forecast over {told} days, not over {then.parameters.horizon_days}: none can pass.")
    if forecast := _differing(now.parameters, then.parameters, OF_FORECASTS):
        found.append(f"Forecasts are those of the day: they were not made again under the new {', '.join(forecast)}.")
    if books := _differing(now.parameters, then.parameters, OF_LEDGER):
        found.append(
            f"The books of the day stay as they are: a change of {', '.join(books)} acts from the next day on."
        )
    return found + _unknown_words(engine, day, now, then, after)


def _unknown_words(engine: Readable, day: date, now: Policy, then: Policy, after: DayUnderPolicy) -> list[str]:
    """Pools and tokens of which the day knows nothing, because nobody asked for them under the old policy."""
    found = []
    followed = set(reads.read_days(engine, schema.pool_quality, DayRange.of(day), columns=["pool_id"])["pool_id"])
    passed = after.prefiltered.loc[after.prefiltered["is_passed"].astype(bool), "pool_id"]
    fresh = sorted(set(passed) - followed)
    if fresh:
        found.append(
            f"The pre-filter lets in {len(fresh)} more pool{'' if len(fresh) == 1 else 's'} that nobody followed on "
            f"{day}: nothing is forecast of such a pool before the next day, so that it cannot come in yet."
        )
    tokens = sorted(token.symbol for key, token in then.token_by_address().items() if key not in now.token_by_address())
    if tokens:
        found.append(
            f"Nobody asked for prices of {', '.join(tokens)} on {day}: pools with such a token cannot come in before "
            f"prices are known."
        )
    return found


def _differing(before: Parameters, after: Parameters, names: list[str] | tuple[str, ...]) -> list[str]:
    return [name for name in names if getattr(before, name) != getattr(after, name)]
