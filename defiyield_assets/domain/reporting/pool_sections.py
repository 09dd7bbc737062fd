"""The section about pools: what each one of the plan advertises, is expected to pay, and what bounds it.

Lives here: rates of pools side by side. Not here: what to hold (plan_sections.py), why in numbers
(explained_sections.py), forecasts over time (forecast_sections.py).
"""

from collections.abc import Mapping
from typing import Any

from defiyield_assets.domain.reporting.explained_sections import limit_words
from defiyield_assets.domain.reporting.formats import UNKNOWN, about_usd, clean, is_missing, percent
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import ACTIONS, IDLE, group_name, records

BEST_LEFT_OUT = 8
"""Pools shown that could have been held and are not."""
POOL_COLUMNS = (
    *text("Pool", "Action"),
    *numbers("Advertised", "Forecast", "p10 to p90", "Diluted"),
    *text("Group", "Limit reached"),
    *numbers("Size"),
)
TITLE = "Pools of the plan and their rates"


def pools_section(inputs: ReportInputs, names: Names, run: Mapping[str, Any] | None, *, is_published: bool) -> Section:
    """Advertised, forecast and diluted APY, risk group and binding limit: pools of the plan first, then the best ones
    that it leaves out. Without a published plan only what is held today is shown, and nothing that a plan said."""
    listed = {str(row["pool_id"]): row for row in records(inputs.eligible_pools)}
    rows = inputs.allocations
    planned = records(rows[rows["pool_id"] != IDLE].drop_duplicates("pool_id")) if len(rows) else []
    if is_published:
        taken = [row for row in planned if row["action"] != "left_out"]
        left = [row for row in planned if row["action"] == "left_out" and _is_open(listed.get(str(row["pool_id"])))]
        left.sort(key=lambda row: _best_first(row, listed))
        shown = [*sorted(taken, key=lambda row: _best_first(row, listed)), *left[:BEST_LEFT_OUT]]
    else:
        held = {str(row["pool_id"]) for row in planned if int(row["amount_before"]) > 0}
        held |= {pool_id for pool_id, row in listed.items() if row["is_held"] is not None and bool(row["is_held"])}
        plain = [{"pool_id": pool_id, "action": "hold"} for pool_id in sorted(held)]
        left, shown = [], sorted(plain, key=lambda row: _best_first(row, listed))
    if not shown:
        return Section("pools", TITLE, ("No pool is held, and no plan proposes one.",))
    horizon = None if run is None else int(run["horizon_days"])
    words = [_words(horizon, is_published=is_published)]
    if len(left) > BEST_LEFT_OUT:
        words.append(f"{len(left) - BEST_LEFT_OUT} more pools passed every filter and are left out.")
    bands = _bands(inputs, horizon)
    table = Table(
        POOL_COLUMNS,
        tuple(_row(row, listed.get(str(row["pool_id"])), bands, names, is_published=is_published) for row in shown),
    )
    return Section("pools", TITLE if is_published else "Pools that are held", tuple(words), tables=(table,))


def _words(horizon: int | None, *, is_published: bool) -> str:
    over = "over the policy's horizon" if horizon is None else f"over the next {horizon} days"
    words = (
        "All rates are APY. Advertised is what the vendor last told up to the day, forecast the mean that we expect "
        f"{over}, p10 to p90 the band that should hold four times in five."
    )
    return f"{words} Diluted is the forecast once our own deposit is in." if is_published else words


def _is_open(row: Mapping[str, Any] | None) -> bool:
    """Whether a pool passed every filter; those that did not are told of below."""
    return row is not None and bool(row["is_passed"])


def _best_first(row: Mapping[str, Any], listed: Mapping[str, Mapping[str, Any]]) -> tuple[bool, float, str]:
    known = listed.get(str(row["pool_id"]), {})
    rate: Any = row.get("forecast_apy")
    rate = known.get("forecast_apy") if is_missing(rate) else rate
    rate = known.get("last_apy") if is_missing(rate) else rate
    return is_missing(rate), 0.0 if is_missing(rate) else -float(rate), str(row["pool_id"])


def _bands(inputs: ReportInputs, horizon: int | None) -> dict[str, str]:
    """p10 and p90 of the forecasts over the horizon, by pool."""
    found = {}
    for row in records(inputs.pool_forecasts):
        if row["as_of"] == inputs.day and row["target"] == "apy" and row["horizon_days"] == horizon:
            found[str(row["pool_id"])] = f"{percent(row['p10'])} to {percent(row['p90'])}"
    return found


def _row(
    row: Mapping[str, Any],
    known: Mapping[str, Any] | None,
    bands: Mapping[str, str],
    names: Names,
    *,
    is_published: bool,
) -> tuple[str, ...]:
    pool_id, facts = str(row["pool_id"]), known or {}
    is_out = row["action"] == "left_out"
    forecast = row.get("forecast_apy")
    group = row.get("pool_group")
    size = about_usd(facts.get("size_usd"))
    is_at_least = not is_missing(facts.get("size_usd")) and bool(facts.get("is_size_lower_bound"))
    return (
        names.pool_link(row["pool_id"]),
        "left out" if is_out else ACTIONS.get(str(row["action"]), clean(row["action"], 20)),
        percent(facts.get("last_apy")),
        percent(facts.get("forecast_apy") if is_missing(forecast) else forecast),
        bands.get(pool_id, UNKNOWN),
        # A pool that is not entered is not diluted.
        "" if is_out or not is_published else percent(row.get("diluted_apy")),
        group_name(facts.get("pool_group") if is_missing(group) else group),
        limit_words(row.get("binding_limit")),
        f"at least {size}" if is_at_least else size,
    )
