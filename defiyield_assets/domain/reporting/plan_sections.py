"""The sections about the plan: what to hold, how to get there, what was left out and why.

Lives here: tables and the chart made from allocations, steps and verdicts. Not here: rates and reasons pool by pool
(pool_sections.py, explained_sections.py), what past plans earned (ledger_sections.py).
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.reporting.formats import (
    UNKNOWN,
    about_amount,
    about_usd,
    clean,
    is_missing,
    number,
    percent,
    token_amount,
    usd,
)
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs
from defiyield_assets.domain.reporting.layout import Chart, Point, Section, Series, Table, numbers, text

IDLE = "IDLE"
"""Pool id under which allocations list cash."""
ALL_SHARES = " (all shares)"
"""Behind the name of a pool that a step leaves."""
TOP_LEFT_OUT = 12
"""Pools shown among those left out."""
MOST_BARS = 11
"""Places drawn in the chart before and after; the smallest beyond them are added up in one."""
DUST_USD = Decimal(1)
"""A place worth less before and after is left out of the chart; the table has it."""
GROUPS = {1: "1 low", 2: "2 medium", 3: "3 high", 4: "4 unrated"}
SPENDING = ("CONVERT", "DEPOSIT")
"""Kinds of steps before which the tokens that they spend are approved (defi.md: gas units)."""
UNUSED_CASH = "cash that no step of the plan uses"
"""What allocations say of every row of cash, be it used or not."""
ACTIONS = {
    "hold": "keep",
    "increase": "add",
    "decrease": "reduce",
    "exit": "leave",
    "enter": "enter",
    "idle": "cash",
}

HOLDING_COLUMNS = (
    *text("Pool"),
    *numbers("Share", "Value", "Amount"),
    *text("Action"),
    *numbers("Change", "Forecast", "Diluted"),
    *text("Group", "Why", "Pool id"),
)
STEP_COLUMNS = (
    *numbers("No."),
    *text("Step", "Wallet", "From", "To"),
    *numbers("Value", "Gas", "Conversion"),
    *text("Base units", "Pool id"),
)
COUNT_COLUMNS = (*text("Reason"), *numbers("Pools"), *text("For example"))
LEFT_OUT_COLUMNS = (*text("Pool"), *numbers("APY", "Size"), *text("Group", "Left out by", "Why", "Pool id"))


def holdings_section(
    inputs: ReportInputs, names: Names, run: Mapping[str, Any] | None, *, is_published: bool
) -> Section:
    """What the plan holds in each pool and as cash, largest first, with the share as a bar."""
    held = _planned(inputs) if is_published else _held_today(inputs, run)
    if not held:
        return Section("plan", "The plan", ("There are no holdings to show.",))
    held.sort(key=_largest_first)
    refusals = refusals_of_held(inputs) if is_published else {}
    table = Table(
        HOLDING_COLUMNS,
        tuple(_holding_row(row, names, refusals) for row in held),
        bar_column=1,
        bars=tuple(_bar(row["share_of_aum"]) for row in held),
    )
    words = (
        "What the treasury holds once all steps are done. Share is of the assets under management, value at the close "
        f"of {inputs.day} in dollars, forecast the expected APY, diluted the same after our own deposit. Amounts are "
        "rounded to 6 decimals; the steps have every digit."
        if is_published
        else f"What the treasury holds at the end of {inputs.day}, amounts rounded to 6 decimals; no instruction."
    )
    chart = _before_and_after(inputs, held, names, is_published=is_published)
    title = "The plan" if is_published else "Holdings"
    return Section("plan", title, (words,), tables=(table,), charts=() if chart is None else (chart,))


def _before_and_after(
    inputs: ReportInputs, held: list[dict[str, Any]], names: Names, *, is_published: bool
) -> Chart | None:
    """Dollars in each pool and as cash before the plan and after it; without a plan only what is held today."""
    prices = _unit_prices(held, inputs.prices)
    places: dict[str, list[Decimal | None]] = {}
    for row in held:
        token = str(row["token_address"])
        is_cash = row["pool_id"] == IDLE
        place = f"Cash in {names.token(token)}" if is_cash else names.pool(row["pool_id"])
        worth = [_worth_of(row[name], row, prices) for name in ("amount_before", "amount")]
        sums = places.setdefault(place, [Decimal(0), Decimal(0)])
        places[place] = [_plus(one, other) for one, other in zip(sums, worth, strict=True)]
    drawn = {place: worth for place, worth in places.items() if _is_visible(worth)}
    if not drawn:
        return None
    order = sorted(drawn, key=lambda place: (-max(_known(worth) for worth in drawn[place]), place))
    every = [(place, drawn[place][0], drawn[place][1]) for place in order]
    bars, rest = every[:MOST_BARS], every[MOST_BARS:]
    if len(rest) == 1:
        bars, rest = every, []
    if rest:
        before = sum((_known(worth) for _, worth, _ in rest), Decimal(0))
        after = sum((_known(worth) for _, _, worth in rest), Decimal(0))
        bars.append((f"{len(rest)} smaller ones", before, after))
    series = [Series("Before", tuple(Point(place, _drawn(before)) for place, before, _ in bars), "before")]
    if is_published:
        series.append(Series("After", tuple(Point(place, _drawn(after)) for place, _, after in bars), "after"))
    title = "Before and after the plan" if is_published else "What is held"
    return Chart(
        "bars",
        f"{title}, value at the close of {inputs.day} in dollars",
        "usd",
        tuple(series),
        _told_before_and_after(every, is_published=is_published),
    )


def _told_before_and_after(bars: Sequence[tuple[str, Decimal | None, Decimal | None]], *, is_published: bool) -> str:
    """The chart in a sentence: the largest place before and after."""
    before = _told_places([(place, worth) for place, worth, _ in bars])
    if not is_published:
        return f"Today {before}."
    return f"Before {before}; after {_told_places([(place, worth) for place, _, worth in bars])}."


def _told_places(bars: Sequence[tuple[str, Decimal | None]]) -> str:
    """How many places hold something, and the largest."""
    filled = [(place, worth) for place, worth in bars if worth is None or worth >= DUST_USD]
    known = [(place, worth) for place, worth in filled if worth is not None]
    if not known:
        return f"{len(filled)} places of unknown value" if filled else f"nothing worth {usd(DUST_USD)} is held"
    place, worth = max(known, key=lambda bar: bar[1])
    return f"{len(filled)} {'place holds' if len(filled) == 1 else 'places hold'} something, most {place}: {usd(worth)}"


def _unit_prices(held: Sequence[dict[str, Any]], prices: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Dollars a token: as the plan values it where it holds some, else the day's close."""
    found = {str(token): price for token, price in prices.items() if not is_missing(price)}
    for row in held:
        if int(row["amount"]) > 0 and not is_missing(row["value_usd"]):
            with localcontext() as context:
                context.prec = 60
                found[str(row["token_address"])] = row["value_usd"] * 10 ** int(row["decimals"]) / int(row["amount"])
    return found


def _worth_of(amount: Any, row: dict[str, Any], prices: Mapping[str, Decimal]) -> Decimal | None:
    """Base units in dollars; None where the price of the token is not known."""
    if int(amount) == 0:
        return Decimal(0)
    price = prices.get(str(row["token_address"]))
    return None if price is None else price * int(amount) / 10 ** int(row["decimals"])


def _plus(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other


def _known(worth: Decimal | None) -> Decimal:
    return Decimal(0) if worth is None else worth


def _is_visible(worth: Sequence[Decimal | None]) -> bool:
    return any(value is None or value >= DUST_USD for value in worth)


def _drawn(worth: Decimal | None) -> float | None:
    """Here money becomes a float: a length on a page."""
    return None if worth is None else float(worth)


def refusals_of_held(inputs: ReportInputs) -> dict[str, str]:
    """Held pools that the final filter refuses and the plan may keep all the same: pool id -> why it refuses them.

    What must be left has that in its own reason.
    """
    return {
        str(row["pool_id"]): f"{clean(str(row['reason_codes']).replace(',', ', '), 120)}: {clean(row['reasons'])}"
        for row in records(inputs.eligible_pools)
        if row["is_held"] is not None
        and bool(row["is_held"])
        and not bool(row["is_passed"])
        and not bool(row["is_must_exit"])
    }


def why_words(row: Mapping[str, Any], refusals: Mapping[str, str]) -> str:
    """The plan's reason for a row of allocations, with what the final filter has against a pool that is held."""
    why, change = clean(row["why"]), int(row["amount"]) - int(row["amount_before"])
    if row["pool_id"] == IDLE and change and why == UNUSED_CASH:
        if int(row["amount"]) == 0:
            return "all of it is used by the plan's steps"
        return "what the plan's steps leave of it" if change < 0 else "more than the plan's steps use"
    refusal = refusals.get(str(row["pool_id"]))
    return why if refusal is None else f"{why}; the final filter lets no more in: {refusal}"


def _holding_row(row: dict[str, Any], names: Names, refusals: Mapping[str, str]) -> tuple[str, ...]:
    is_cash = row["pool_id"] == IDLE
    token = names.token(row["token_address"])
    assumed = " *" if bool(row["is_price_assumed"]) else ""
    return (
        f"Cash in {token}" if is_cash else names.pool_link(row["pool_id"]),
        percent(row["share_of_aum"]),
        usd(row["value_usd"]) + assumed,
        f"{about_amount(row['amount'], int(row['decimals']))} {token}",
        ACTIONS.get(str(row["action"]), clean(row["action"], 20)),
        _change(row, token),
        "" if is_cash else percent(row["forecast_apy"]),
        "" if is_cash else percent(row["diluted_apy"]),
        "" if is_cash else group_name(row["pool_group"]),
        why_words(row, refusals),
        "" if is_cash else clean(row["pool_id"], 80),
    )


def _change(row: dict[str, Any], token: str) -> str:
    """By how much the plan changes the amount, with its token; empty where it does not."""
    change = int(row["amount"]) - int(row["amount_before"])
    words = about_amount(change, int(row["decimals"]))
    sign = "+" if change > 0 and not words.startswith("<") else ""
    return f"{sign}{words} {token}" if change else ""


def _bar(share: Any) -> float:
    return 0.0 if is_missing(share) else min(max(float(share), 0.0), 1.0)


def _planned(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The rows of what the plan keeps, enters, changes and leaves."""
    return records(inputs.allocations.loc[inputs.allocations["action"] != "left_out"])


def _held_today(inputs: ReportInputs, run: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The rows as they are before any plan: a plan that is not published must not shine through."""
    planned = _planned(inputs)
    prices = _unit_prices(planned, inputs.prices)
    managed = None if run is None or is_missing(run["aum_usd"]) or run["aum_usd"] <= 0 else run["aum_usd"]
    held = []
    for row in planned:
        if int(row["amount_before"]) > 0:
            worth = _worth_of(row["amount_before"], row, prices)
            share = None if worth is None or managed is None else float(worth / managed)
            today = {"amount": row["amount_before"], "value_usd": worth, "share_of_aum": share}
            said = {"action": "idle" if row["pool_id"] == IDLE else "hold", "diluted_apy": None, "why": ""}
            held.append({**row, **today, **said})
    return held


def _largest_first(row: dict[str, Any]) -> tuple[bool, bool, Any, str, str]:
    value = row["value_usd"]
    is_unknown = is_missing(value)
    return (
        row["pool_id"] == IDLE,
        is_unknown,
        0 if is_unknown else -value,
        str(row["pool_id"]),
        str(row["token_address"]),
    )


def steps_section(inputs: ReportInputs, names: Names, *, is_published: bool) -> Section:
    """The transactions in the order in which they have to be sent."""
    title = "Steps"
    if not is_published:
        return Section("steps", title, ("No plan is published for this day, so there are no steps. Hold.",))
    steps = records(inputs.allocation_steps.sort_values(["seq", "leg"]))
    if all(step["step_type"] == "HOLD" for step in steps):
        return Section("steps", title, ("Nothing to send: everything stays where it is.",))
    several = {step["seq"] for step in steps if int(step["leg"]) > 0}
    rows = tuple(_step_row(step, names, has_legs=step["seq"] in several) for step in steps)
    words = (
        "Send them in this order: nothing is spent before it is there. HOLD sends nothing; lines with one number and "
        f"several legs are one transaction. {approval_words(steps)}"
    ).strip()
    return Section("steps", title, (words,), tables=(Table(STEP_COLUMNS, rows, fold="never"),))


def count_steps(steps: Sequence[Mapping[str, Any]]) -> int:
    """Steps that are sent: legs of one number are one, HOLD is none."""
    return len({step["seq"] for step in steps if step["step_type"] != "HOLD"})


def count_approvals(steps: Sequence[Mapping[str, Any]]) -> int:
    """Approvals that the steps need: one for each token that a conversion or a deposit spends."""
    return sum(step["step_type"] in SPENDING and not is_missing(step["token_in"]) for step in steps)


def approval_words(steps: Sequence[Mapping[str, Any]]) -> str:
    """That approvals come before some steps; empty where none does."""
    many = count_approvals(steps)
    if not many:
        return ""
    which = "token is" if many == 1 else "tokens are"
    return (
        f"Before CONVERT and DEPOSIT the {which} approved that they spend: {number(many)} more "
        f"{'transaction' if many == 1 else 'transactions'}, not numbered, with their gas in that of the step."
    )


def _step_row(step: dict[str, Any], names: Names, *, has_legs: bool) -> tuple[str, ...]:
    pool = "" if is_missing(step["pool_id"]) else names.pool_link(step["pool_id"])
    gives = _flow(step["amount_in"], step["token_in"], names)
    takes = _flow(step["amount_out"], step["token_out"], names)
    kind = str(step["step_type"])
    source, target = {
        "WITHDRAW": (names.pool_link(step["pool_id"], ALL_SHARES) if bool(step["is_full_exit"]) else pool, takes),
        "DEPOSIT": (gives, pool),
        "CONVERT": (gives, takes),
        "HOLD": (pool, gives),
    }[kind]
    base_units = " → ".join(
        str(int(value)) for value in (step["amount_in"], step["amount_out"]) if not is_missing(value)
    )
    return (
        f"{step['seq']}.{int(step['leg']) + 1}" if has_legs else str(step["seq"]),
        kind,
        names.wallet_link(step["wallet"]),
        source,
        target,
        usd(step["value_usd"]),
        usd(step["gas_usd"]),
        usd(step["conversion_usd"]),
        base_units,
        "" if is_missing(step["pool_id"]) else clean(step["pool_id"], 80),
    )


def _flow(amount: Any, address: Any, names: Names) -> str:
    """Amount and token; base units where the token's decimals are not ours to know."""
    if is_missing(amount) or is_missing(address):
        return ""
    decimals = names.decimals(address)
    if decimals is None:
        return f"{int(amount):,} base units of {names.token(address)}"
    return f"{token_amount(amount, decimals)} {names.token(address)}"


def left_out_section(
    inputs: ReportInputs, names: Names, run: Mapping[str, Any] | None, *, is_published: bool
) -> Section:
    """How many pools each filter turned away for which reason, and the best of those that could have been held.

    Without a published plan nothing was left out by one: the best are those that are not held.
    """
    paragraphs, tables = [], []
    for title, frame in (("Pre-filter", inputs.prefiltered_pools), ("Final filter", inputs.eligible_pools)):
        passed = int(frame["is_passed"].sum()) if len(frame) else 0
        told = f"{title}: {number(passed)} of {number(len(frame))} pools passed"
        held = _held_beside(frame, inputs.prefiltered_pools) if title == "Final filter" else 0
        beside = f"; {number(held)} of the {number(len(frame))} did not pass the pre-filter and"
        beside += " is judged because it is held" if held == 1 else " are judged because they are held"
        paragraphs.append(f"{told}{beside}." if held else f"{told}.")
        counts = count_reasons(frame, names)
        if counts:
            tables.append(Table(COUNT_COLUMNS, counts, caption=f"{title}: reasons against (a pool may have several)"))
    best = best_left_out(inputs, names, run, is_published=is_published)
    if best:
        which = "Left out" if is_published else "Not held today,"
        caption = f"{which} with the highest APY (forecast, or the last one seen where there is no forecast)"
        tables.append(Table(LEFT_OUT_COLUMNS, best, caption=caption))
    return Section("left-out", "What was left out, and why", tuple(paragraphs), tables=tuple(tables))


def _held_beside(final: pd.DataFrame, prefiltered: pd.DataFrame) -> int:
    """Held pools that the final filter judges though the pre-filter did not let them pass."""
    passed = {row["pool_id"] for row in records(prefiltered) if bool(row["is_passed"])}
    held = [row["pool_id"] for row in records(final) if not is_missing(row["is_held"]) and bool(row["is_held"])]
    return len(set(held) - passed)


def count_reasons(verdicts: pd.DataFrame, names: Names) -> tuple[tuple[str, ...], ...]:
    """Reason code, number of pools and the largest such pool with its reasons, most frequent first."""
    failed = verdicts.loc[~verdicts["is_passed"].astype(bool)] if len(verdicts) else verdicts
    if failed.empty:
        return ()
    largest_first = failed.sort_values(["size_usd", "pool_id"], ascending=[False, True])
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    columns = (largest_first[name] for name in ("pool_id", "reason_codes", "reasons"))
    for pool_id, codes, reasons in zip(*columns, strict=True):
        for code in (clean(code, 40) for code in str(codes).split(",") if code):
            counts[code] = counts.get(code, 0) + 1
            if code not in examples:
                examples[code] = f"{names.pool(pool_id)}: {clean(reasons, 160)}"
    order = sorted(counts, key=lambda code: (-counts[code], code))
    return tuple((code, number(counts[code]), examples[code]) for code in order)


def best_left_out(
    inputs: ReportInputs, names: Names, run: Mapping[str, Any] | None, *, is_published: bool
) -> tuple[tuple[str, ...], ...]:
    """The pools with the highest APY that the plan does not hold, with who left them out and why; without a published
    plan those that are not held today."""
    pools = inputs.eligible_pools
    if pools.empty:
        return ()
    rows = inputs.allocations
    held = np.array([int(amount) > 0 for amount in rows["amount" if is_published else "amount_before"]], dtype=bool)
    kept = set(rows.loc[held & np.array(rows["action"] != "left_out" if is_published else True), "pool_id"])
    if not is_published:
        kept |= {row["pool_id"] for row in records(pools) if row["is_held"] is not None and bool(row["is_held"])}
    no_plan = "no plan was made for this day" if run is None else "no plan is published for this day"
    by_plan = dict(zip(rows["pool_id"], rows["why"], strict=True)) if is_published else {}
    apy = pd.to_numeric(pools["forecast_apy"]).fillna(pd.to_numeric(pools["last_apy"]))
    candidates = pools.assign(apy=apy).loc[~pools["pool_id"].isin(kept) & apy.notna()]
    best = records(candidates.sort_values(["apy", "pool_id"], ascending=[False, True]).head(TOP_LEFT_OUT))
    if not is_published:
        return tuple(_left_out_row(row, "nothing", no_plan, names) for row in best)
    without = "the plan earns more without it"
    return tuple(_left_out_row(row, "plan", by_plan.get(row["pool_id"]) or without, names) for row in best)


def _left_out_row(row: dict[str, Any], whose: str, why: Any, names: Names) -> tuple[str, ...]:
    """A pool with who turned it away: the filter, else `whose` for the reason `why`."""
    if bool(row["is_passed"]):
        by, reason = whose, clean(why)
    else:
        codes = clean(str(row["reason_codes"]).replace(",", ", "), 120)
        by, reason = "filter", f"{codes}: {clean(row['reasons'])}"
    size = about_usd(row["size_usd"])
    return (
        names.pool_link(row["pool_id"]),
        percent(row["apy"]),
        f"at least {size}" if bool(row["is_size_lower_bound"]) and not is_missing(row["size_usd"]) else size,
        group_name(row["pool_group"]),
        by,
        reason,
        clean(row["pool_id"], 80),
    )


def assumed_section(
    inputs: ReportInputs, names: Names, run: Mapping[str, Any] | None, *, is_published: bool
) -> Section:
    """Which lines rest on a price that nobody quoted."""
    lines = []
    if run is not None:
        lines += [f"Token {names.token(address)}: its price is assumed." for address in _assumed_tokens(run)]
    shown = _planned(inputs) if is_published else _held_today(inputs, run)
    for row in (row for row in shown if bool(row["is_price_assumed"])):
        place = "Cash" if row["pool_id"] == IDLE else names.pool(row["pool_id"])
        lines.append(
            f"Holding {place} in {names.token(row['token_address'])}: {usd(row['value_usd'])} at an assumed price."
        )
    if not lines:
        return Section("assumed", "Assumed prices", ("No line rests on an assumed price.",))
    where = "the plan" if is_published else "the holdings"
    words = f"These lines, marked * in {where}, rest on a price that no market quoted."
    return Section("assumed", "Assumed prices", (words,), bullets=tuple(lines))


def _assumed_tokens(run: Mapping[str, Any]) -> list[str]:
    """Addresses of assumed_prices_json, with or without `chain:` in front."""
    named = json.loads(str(run["assumed_prices_json"]))
    return [str(item).rpartition(":")[2] for item in named]


def group_name(group: Any) -> str:
    """Risk group in words."""
    return UNKNOWN if is_missing(group) else GROUPS.get(int(group), str(int(group)))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries, values untouched."""
    names: Sequence[str] = [str(name) for name in frame.columns]
    return [dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False, name=None)]
