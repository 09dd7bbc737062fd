"""The final filter: which pools the optimiser may use, and what must become of those that we hold and may not.

Lives here: the verdict of `eligible_pools`. Not here: the pre-filter's rules (prefilter.py), the icebox (icebox.py),
the caps (allocation).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.chains import name_or_none
from defiyield_assets.domain.policy import Policy, PoolOverride
from defiyield_assets.domain.selection.lists import barred_addresses, is_blacklisted, overrides_in_force
from defiyield_assets.domain.selection.reasons import FINAL_WARNINGS, MUST_EXIT, WORDS, codes_of, words_of

ELIGIBLE_COLUMNS = (
    "date",
    "pool_id",
    "is_passed",
    "reason_codes",
    "warning_codes",
    "reasons",
    "is_held",
    "is_exit_only",
    "is_must_exit",
    "chain",
    "protocol",
    "symbol",
    "role",
    "underlying_addresses_json",
    "size_usd",
    "total_supply_usd",
    "total_borrow_usd",
    "is_size_lower_bound",
    "pool_group",
    "forecast_apy",
    "last_apy",
    "exit_days",
    "age_days",
)
READ = {
    "prefiltered_pools": (
        *("date", "pool_id", "is_passed", "reason_codes", "warning_codes", "reasons", "chain", "protocol", "symbol"),
        *("role", "underlying_addresses_json", "size_usd", "is_size_lower_bound", "exit_days"),
    ),
    "pool_quality": ("date", "pool_id", "is_passed", "reason_codes", "reasons", "is_hindsight"),
    "pool_metrics": ("date", "pool_id", "age_days", "is_hindsight"),
    "pool_groups": ("date", "pool_id", "pool_group", "is_hindsight"),
    "pool_forecasts": ("as_of", "pool_id", "target", "horizon_days", "mean", "is_hindsight"),
    "pools": ("snapshot_date", "pool_id", "chain", "project", "symbol", "apy", "total_supply_usd", "total_borrow_usd"),
}
"""Columns of large tables that the rules read."""
UNKNOWN = "unknown"

Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Evidence:
    """What is known of each pool, by pool id, and of each barred token, by (chain, address)."""

    quality: Mapping[str, Row]
    metrics: Mapping[str, Row]
    groups: Mapping[str, Row]
    forecasts: Mapping[str, Row]
    pools: Mapping[str, Row]
    icebox: Mapping[tuple[str, str], Row]


def select_eligible(
    prefiltered: pd.DataFrame,
    quality: pd.DataFrame,
    metrics: pd.DataFrame,
    groups: pd.DataFrame,
    forecasts: pd.DataFrame,
    *,
    positions: pd.DataFrame,
    icebox: pd.DataFrame,
    pools: pd.DataFrame,
    policy: Policy,
    day: date,
    aliases: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The `eligible_pools` slice of a day: every pool that passed the pre-filter or that we hold, with the final
    verdict.

    All frames are read at `day` (forecasts: vintage `day`, target `apy`, the policy's horizon), except `pools`, which
    may also hold older rows of held pools that the vendor no longer lists: the newest row on or before `day` counts,
    and gives no size. A pool passes when it passed the pre-filter, its forecast APY is at least `pool_apy_min`, its
    **observed** size at least `pool_tvl_min_usd`, none of its tokens is in the icebox (by address), it is at least
    `pool_age_min_days` old and its data quality passed. An unrated pool (group 4) passes unless group caps are on and
    give its group nothing. Held and not eligible is `is_exit_only`; with a blacklisted token or a protocol that is
    not approved it is `is_must_exit` as well.
    """
    evidence = Evidence(
        _by_pool(quality, "date", day),
        _by_pool(metrics, "date", day),
        _by_pool(groups, "date", day),
        _forecasts(forecasts, policy.parameters.horizon_days, day),
        _newest(pools, day),
        {(row["chain"], row["address"]): row for row in _at(icebox, "date", day)},
    )
    held = _held(positions, day, aliases or {})
    listed = _by_pool(prefiltered, "date", day)
    passed = {pool_id for pool_id, row in listed.items() if row["is_passed"]}
    overrides = overrides_in_force(policy.pool_overrides, day, aliases)
    rows = []
    for pool_id in sorted(passed | set(held)):
        row = listed.get(pool_id) or _unlisted_row(pool_id, held[pool_id], evidence, policy, overrides.get(pool_id))
        rows.append(_judge(row, evidence, policy, is_held=pool_id in held, is_listed=pool_id in listed))
    frame = pd.DataFrame([(day, *row) for row in rows], columns=list(ELIGIBLE_COLUMNS))
    numbers = ["size_usd", "total_supply_usd", "total_borrow_usd", "forecast_apy", "last_apy"]
    flags = ["is_passed", "is_held", "is_exit_only", "is_must_exit", "is_size_lower_bound"]
    return frame.astype({**dict.fromkeys(numbers, float), **dict.fromkeys(flags, bool), "exit_days": int})


def _judge(row: Row, evidence: Evidence, policy: Policy, *, is_held: bool, is_listed: bool) -> tuple[object, ...]:
    """The row of one pool, without the date."""
    pool_id = row["pool_id"]
    found = _barring(row, evidence, policy, is_listed=is_listed)
    doubts = _doubts(row, evidence)
    metric, group = evidence.metrics.get(pool_id), evidence.groups.get(pool_id)
    pool = evidence.pools.get(pool_id, {})
    forecast = evidence.forecasts.get(pool_id)
    is_passed = not found
    return (
        pool_id,
        is_passed,
        codes_of(found),
        codes_of(doubts),
        words_of({**found, **doubts}),
        is_held,
        is_held and not is_passed,
        is_held and any(code in found for code in MUST_EXIT),
        row["chain"],
        row["protocol"],
        row["symbol"],
        row["role"],
        row["underlying_addresses_json"],
        row["size_usd"],
        pool.get("total_supply_usd") if is_listed else None,
        pool.get("total_borrow_usd") if is_listed else None,
        row["is_size_lower_bound"],
        int(group["pool_group"]) if group else None,
        forecast["mean"] if forecast else None,
        pool.get("apy"),
        row["exit_days"],
        int(metric["age_days"]) if metric else None,
    )


def _barring(row: Row, evidence: Evidence, policy: Policy, *, is_listed: bool) -> dict[str, str]:
    """Every reason against a pool, by code."""
    pool_id, limits = row["pool_id"], policy.parameters
    carried = [code for code in row["reason_codes"].split(",") if code]
    found = dict.fromkeys(carried, "")
    if carried:
        found[carried[0]] = row["reasons"]  # the pre-filter's words name all of its codes
    if not is_listed:
        found["NOT_LISTED"] = WORDS["NOT_LISTED"]
    forecast = evidence.forecasts.get(pool_id)
    if forecast is None:
        found["NO_FORECAST"] = WORDS["NO_FORECAST"].format(horizon=limits.horizon_days)
    elif forecast["mean"] < limits.pool_apy_min:
        found["FORECAST_TOO_LOW"] = WORDS["FORECAST_TOO_LOW"].format(apy=forecast["mean"], minimum=limits.pool_apy_min)
    _judge_size(row, limits.pool_tvl_min_usd, found)
    keys = [(row["chain"], address) for address in json.loads(row["underlying_addresses_json"])]
    barred = [evidence.icebox[key] for key in keys if key in evidence.icebox]
    if barred:
        tokens = ", ".join(f"{item['symbol']} ({item['reason_codes']})" for item in barred)
        found["IN_ICEBOX"] = WORDS["IN_ICEBOX"].format(tokens=tokens)
    metric = evidence.metrics.get(pool_id)
    age = int(metric["age_days"]) if metric else None
    if age is None or age < limits.pool_age_min_days:
        found["TOO_YOUNG"] = WORDS["TOO_YOUNG"].format(
            age=UNKNOWN if age is None else age, minimum=limits.pool_age_min_days
        )
    quality = evidence.quality.get(pool_id)
    if quality is None:
        found["QUALITY_UNKNOWN"] = WORDS["QUALITY_UNKNOWN"]
    elif not quality["is_passed"]:
        found["QUALITY_FAILED"] = WORDS["QUALITY_FAILED"].format(findings=quality["reasons"])
    group = evidence.groups.get(pool_id)
    number = int(group["pool_group"]) if group else 4
    if limits.group_caps and limits.max_group_share[number - 1] <= 0:
        found["GROUP_NOT_ALLOWED"] = WORDS["GROUP_NOT_ALLOWED"].format(group=number)
    return found


def _judge_size(row: Row, minimum: float, found: dict[str, str]) -> None:
    """Observed size only: whatever a forecast promises, a small pool is small."""
    size: float | None = row["size_usd"]
    if "SIZE_UNKNOWN" in found or "TOO_SMALL" in found:
        return
    if size is None or math.isnan(size):
        found["SIZE_UNKNOWN"] = WORDS["SIZE_UNKNOWN"]
    elif size < minimum:
        found["TOO_SMALL"] = WORDS["TOO_SMALL"].format(size=size, minimum=minimum)


def _doubts(row: Row, evidence: Evidence) -> dict[str, str]:
    """Warnings: the pre-filter's, findings that do not block, unrated, hindsight."""
    pool_id = row["pool_id"]
    carried = [code for code in row["warning_codes"].split(",") if code]
    found = dict.fromkeys(carried, "")
    if carried and not row["reason_codes"]:
        found[carried[0]] = row["reasons"]
    quality, group = evidence.quality.get(pool_id), evidence.groups.get(pool_id)
    if quality and quality["is_passed"] and quality["reason_codes"]:
        found["QUALITY_DOUBT"] = FINAL_WARNINGS["QUALITY_DOUBT"].format(findings=quality["reasons"])
    if group and int(group["pool_group"]) == 4:
        found["UNRATED"] = FINAL_WARNINGS["UNRATED"]
    sources = (quality, evidence.metrics.get(pool_id), group, evidence.forecasts.get(pool_id))
    if any(item and item["is_hindsight"] for item in sources):
        found["HINDSIGHT"] = FINAL_WARNINGS["HINDSIGHT"]
    return found


def _unlisted_row(pool_id: str, held: Row, evidence: Evidence, policy: Policy, override: PoolOverride | None) -> Row:
    """A held pool that the pre-filter did not see, in the shape of a pre-filter row; judged by what we know of it."""
    pool = evidence.pools.get(pool_id)
    chain = pool["chain"] if pool else name_or_none(held["chain_id"]) or UNKNOWN
    protocol = policy.protocol_of(pool["project"]) if pool else UNKNOWN
    tokens = policy.token_by_address()
    keys = [(chain, address) for address in held["tokens"]]
    barred = barred_addresses(policy)
    codes: dict[str, str] = {}
    names = [address for _, address in keys if (chain, address) in barred]
    names += [
        tokens[key].symbol
        for key in keys
        if key in tokens and key not in barred and is_blacklisted(policy, tokens[key])
    ]
    if names:
        codes["TOKEN_BLACKLISTED"] = WORDS["TOKEN_BLACKLISTED"].format(tokens=", ".join(names))
    if pool and protocol not in policy.protocols:
        codes["PROTOCOL_NOT_APPROVED"] = WORDS["PROTOCOL_NOT_APPROVED"].format(protocol=protocol)
    slowest = max((tokens[key].exit_days for key in keys if key in tokens), default=0)
    return {
        "pool_id": pool_id,
        "reason_codes": codes_of(codes),
        "warning_codes": "",
        "reasons": words_of(codes),
        "chain": chain,
        "protocol": protocol,
        "symbol": pool["symbol"]
        if pool
        else "-".join(tokens[key].symbol if key in tokens else UNKNOWN for key in keys),
        "role": override.role if override else None,
        "underlying_addresses_json": canonical_json(list(held["tokens"])),
        "size_usd": None,
        "is_size_lower_bound": True,
        "exit_days": override.exit_days if override and override.exit_days is not None else slowest,
    }


def _held(positions: pd.DataFrame, day: date, aliases: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Pools with a position at the end of the day, under today's ids: chain id and underlying tokens."""
    held: dict[str, dict[str, Any]] = {}
    for row in _at(positions, "date", day):
        if row["underlying_amount"] > 0 or row["shares"] > 0:
            pool_id = aliases.get(row["pool_id"], row["pool_id"])
            entry = held.setdefault(pool_id, {"chain_id": row["chain_id"], "tokens": []})
            if row["token_address"] not in entry["tokens"]:
                entry["tokens"].append(row["token_address"])
    return held


def _forecasts(forecasts: pd.DataFrame, horizon: int, day: date) -> dict[str, Row]:
    rows = _at(forecasts, "as_of", day)
    return {row["pool_id"]: row for row in rows if row["target"] == "apy" and row["horizon_days"] == horizon}


def _newest(pools: pd.DataFrame, day: date) -> dict[str, Row]:
    """The newest row of each pool on or before `day`."""
    if pools.empty:
        return {}
    known = pools[pools["snapshot_date"] <= day].sort_values(["snapshot_date", "pool_id"], kind="stable")
    return {row["pool_id"]: row for row in known.drop_duplicates("pool_id", keep="last").to_dict("records")}


def _by_pool(frame: pd.DataFrame, column: str, day: date) -> dict[str, Row]:
    return {row["pool_id"]: row for row in _at(frame, column, day)}


def _at(frame: pd.DataFrame, column: str, day: date) -> list[Row]:
    return [] if frame.empty else list(frame[frame[column] == day].to_dict("records"))
