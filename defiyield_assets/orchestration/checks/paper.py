"""Checks of paper trading. Blocking: balances reconcile, units follow from orders, no order without a decision, stops
lie where they belong. Warnings: held instruments have bars, configured portfolios are traded.

Lives here: reading what is compared, and the comparisons over stored rows. Not here: trading (domain/paper), which
refuses such rows before they are written; these look at what is stored, whoever wrote it.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.config.paper import PortfolioEntry, load_paper
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.paper.account_codec import account_of
from defiyield_assets.domain.paper.book_codec import restatements_in, scales_in
from defiyield_assets.domain.paper.decisions import ENTRY, EXIT, PURCHASE, WEIGHTS
from defiyield_assets.domain.paper.exchange import ROUNDING, Account, decimal_of
from defiyield_assets.domain.paper.trading import CURRENCY, positions_value, units_held
from defiyield_assets.domain.reporting.formats import is_missing
from defiyield_assets.domain.strategies.state_codec import state_of
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.lab.inputs import records, strategies_in
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import PolicyResource, WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 20
FROZEN = timedelta(days=10)
"""Older than this is no holiday."""
KIND_OF = {"entry": ENTRY, "signal": EXIT, "margin": EXIT, "rebalance": WEIGHTS, "purchase": PURCHASE, "reverse": ENTRY}
"""Which kind of waiting order an order carries out; stops and targets were decided with their entry."""
Row = Mapping[str, Any]


def _verdict(
    broken: pd.DataFrame,
    n_rows: int,
    words: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=broken.empty,
        severity=severity,
        description=f"{len(broken)} of {n_rows} {words}",
        metadata={"rows": n_rows, "broken": len(broken), "listed": preview(broken, SHOWN)},
    )


@dg.asset_check(asset="paper_portfolio", partitions_def=DAILY, blocking=True)
def balances_reconcile(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Cash and positions are the equity; what the exchange holds is what the engine reckons but for rounding; cash is
    the capital and every order since, and never negative.
    """
    rows = reads.read_days(warehouse.engine, schema.paper_portfolio, day_range(context))
    broken = found(rows, lambda row: out_of_balance(row, paid_before(warehouse.engine, row)))
    return _verdict(broken, len(rows), "portfolios do not add up")


@dg.asset_check(asset="paper_orders", additional_deps=["paper_portfolio"], partitions_def=DAILY, blocking=True)
def units_follow_from_orders(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Units at the exchange are those of the day before, times its splits and dividends, and the day's orders."""
    engine, days = warehouse.engine, day_range(context)
    rows = reads.read_days(engine, schema.paper_portfolio, days)
    by_day = {(row["portfolio_id"], row["date"]): row for row in records(_with_the_day_before(engine, days))}
    where = {"status": "filled"}
    columns = ["portfolio_id", "date", "instrument_id", "side", "quantity"]
    orders = reads.read_days(engine, schema.paper_orders, days, where, columns)
    own = {(str(name), day): records(told) for (name, day), told in orders.groupby(["portfolio_id", "date"])}

    def problem(row: Row) -> str | None:
        key = row["portfolio_id"], row["date"]
        return units_apart(row, by_day.get((key[0], key[1] - timedelta(days=1))), own.get(key, []))

    return _verdict(found(rows, problem), len(rows), "portfolios hold units that no order brought")


def _with_the_day_before(engine: Engine, days: DayRange) -> pd.DataFrame:
    columns = ["portfolio_id", "date", "exchange_json"]
    return reads.read_days(engine, schema.paper_portfolio, days.back(1), columns=columns)


@dg.asset_check(asset="paper_portfolio", partitions_def=DAILY)
def held_instruments_have_bars(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """What is held has had a bar lately: without one it stays at its last price, and no stop or exit is filled."""
    rows = reads.read_days(warehouse.engine, schema.paper_portfolio, day_range(context))
    words = "portfolios hold what has no bars any more"
    return _verdict(found(rows, frozen), len(rows), words, dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset="paper_portfolio", partitions_def=DAILY)
def configured_portfolios_are_traded(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, policy: PolicyResource
) -> dg.AssetCheckResult:
    """Every portfolio of paper.yaml that was traded the day before, or should have begun, has a row of the day."""
    days, engine = day_range(context), warehouse.engine
    names = load_paper(policy.folder, strategies_in(policy))
    rows = reads.read_days(
        engine,
        schema.paper_portfolio,
        DayRange(days.start - timedelta(days=1), days.end),
        None,
        ["portfolio_id", "date"],
    )
    there = set(zip(rows["portfolio_id"], rows["date"], strict=True))
    told = [
        {"portfolio_id": one.id, "date": day, "problem": "it has no row of the day"}
        for one in names.values()
        for day in days
        if (one.id, day) not in there and _is_due(one, day, there)
    ]
    missing = pd.DataFrame(told, columns=["portfolio_id", "date", "problem"])
    words = "days of configured portfolios were not traded"
    return _verdict(missing, len(names) * len(days), words, dg.AssetCheckSeverity.WARN)


def _is_due(one: PortfolioEntry, day: date, there: Collection[tuple[str, date]]) -> bool:
    has_begun = (one.id, day - timedelta(days=1)) in there
    return has_begun or (one.starts_on is not None and one.starts_on <= day)


@dg.asset_check(asset="paper_orders", additional_deps=["paper_portfolio"], partitions_def=DAILY, blocking=True)
def no_order_without_a_decision(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """Every order carries out what waited for it on the evening before, or is the stop or target of a position; it was
    decided on a bar before its own.
    """
    engine, days = warehouse.engine, day_range(context)
    orders = reads.read_days(engine, schema.paper_orders, days)
    books = reads.read_days(engine, schema.paper_portfolio, days.back(1))
    by_day = {(row["portfolio_id"], row["date"]): row for row in records(books)}
    broken = found(orders, lambda row: undecided(row, by_day))
    return _verdict(broken, len(orders), "orders have no decision")


@dg.asset_check(asset="paper_orders", partitions_def=DAILY, blocking=True)
def stops_lie_behind_the_price(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> dg.AssetCheckResult:
    """The stop of a purchase lies below its price and the target above it, of a short the other way round."""
    orders = reads.read_days(warehouse.engine, schema.paper_orders, day_range(context))
    return _verdict(found(orders, misplaced), len(orders), "orders have a stop or target on the wrong side")


def found(rows: pd.DataFrame, problem_of: Callable[[Row], str | None]) -> pd.DataFrame:
    """The rows with a problem: their keys and the problem."""
    told = []
    for row in records(rows):
        problem = problem_of(row)
        if problem is not None:
            told.append({"portfolio_id": row["portfolio_id"], "date": row["date"], "problem": problem})
    return pd.DataFrame(told, columns=["portfolio_id", "date", "problem"])


def paid_before(engine: Engine, row: Row) -> Decimal:
    """What all filled orders of a portfolio up to its day paid, less what they got."""
    where = {"portfolio_id": row["portfolio_id"], "status": "filled"}
    days = DayRange(min(row["starts_on"], row["date"]) - timedelta(days=1), row["date"])
    orders = reads.read_days(engine, schema.paper_orders, days, where, ["side", "total", "date"])
    signed = (total if side == "buy" else -total for side, total in zip(orders["side"], orders["total"], strict=True))
    return sum(signed, Decimal(0))


def out_of_balance(row: Row, paid: Decimal) -> str | None:
    """What does not add up in a row of `paper_portfolio`; `paid`: by its orders."""
    try:
        account, state = account_of(row["exchange_json"]), state_of(row["settled_json"])
        instruments = tuple(json.loads(row["instruments_json"]))
        value = positions_value(account, state, instruments)
    except (SuspiciousDataError, ValueError) as error:
        return f"its state cannot be read: {error}"
    cash, moved = account.balances.get(CURRENCY, Decimal(0)), account.traded.get(CURRENCY, Decimal(0))
    slack = ROUNDING * (row["capital"] + moved)
    if row["cash"] != cash or row["positions_value"] != value or row["equity"] != cash + value:
        return f"equity {row['equity']} is not cash {cash} and positions {value}"
    if cash < 0:
        return f"cash is {cash}"
    expected = row["capital"] - paid + account.financing + account.written_off + account.rounding.get(CURRENCY, 0)
    if abs(cash - expected) > slack:
        return f"cash is {cash}, capital and orders make {expected}"
    for name, told, engine in (("cash", cash, row["engine_cash"]), ("equity", cash + value, row["engine_equity"])):
        if abs(told - decimal_of(engine)) > slack + ROUNDING * abs(value):
            return f"{name} is {told} at the exchange and {engine} at the engine"
    for number, name in enumerate(instruments):
        units, traded = account.balances.get(name, Decimal(0)), account.traded.get(name, Decimal(0))
        if abs(units - units_held(state, number)) > ROUNDING * traded:
            return f"{units} of {name} at the exchange, {units_held(state, number)} at the engine"
    return None


def units_apart(row: Row, before: Row | None, orders: Sequence[Row]) -> str | None:
    """Of which instrument the units are not those of the day before, restated, with the day's filled orders and what
    rounding let pass; `before`: the portfolio's row of the day before, None: its first.
    """
    account = account_of(row["exchange_json"])
    old = Account(account.name, {}) if before is None else account_of(before["exchange_json"])
    times = {one.instrument_id: one.units_times for one in restatements_in(row["restated_json"])}
    for name in json.loads(row["instruments_json"]):
        factor = times.get(name, Decimal(1))
        moved = (one["quantity"] if one["side"] == "buy" else -one["quantity"] for one in orders if _is_of(one, name))
        kept = old.balances.get(name, Decimal(0)) - old.rounding.get(name, Decimal(0))
        units = account.balances.get(name, Decimal(0)) - account.rounding.get(name, Decimal(0))
        expected = sum(moved, factor * kept)
        if abs(units - expected) > ROUNDING * account.traded.get(name, Decimal(0)):
            return f"{units} of {name} at the exchange, the day before and orders make {expected}"
    return None


def _is_of(order: Row, name: str) -> bool:
    return bool(order["instrument_id"] == name)


def frozen(row: Row) -> str | None:
    """What is held at a price that is older than FROZEN."""
    held = sorted({one["instrument_id"] for one in json.loads(row["positions_json"])})
    scales = scales_in(row["scales_json"])
    old = [
        f"{name} since {scales[name].bar}"
        for name in held
        if name in scales and row["date"] - scales[name].bar > FROZEN
    ]
    return f"no bar of {', '.join(old)}" if old else None


def undecided(row: Row, books: Mapping[tuple[str, date], Row]) -> str | None:
    """Why an order has no decision; `books`: rows of `paper_portfolio` by portfolio and day."""
    if row["decided_on"] >= row["ts"].date():
        return f"{row['order_id']} was decided on {row['decided_on']}, and filled at an open not after it"
    before = books.get((row["portfolio_id"], row["date"] - timedelta(days=1)))
    if before is None or row["ts"].date() != row["date"]:
        return None  # the first day, or bars that came late: what waited between them was never stored
    decided_on = row["decided_on"].isoformat()
    if row["decision"] in ("stop", "target"):
        held = json.loads(before["positions_json"])
        waiting = [one for one in json.loads(before["pending_json"]) if one["kind"] in (ENTRY, WEIGHTS, PURCHASE)]
        told = [*held, *waiting]
    else:
        told = [one for one in json.loads(before["pending_json"]) if one["kind"] == KIND_OF[row["decision"]]]
    if any(one["instrument_id"] == row["instrument_id"] and one["decided_on"] == decided_on for one in told):
        return None
    return f"{row['order_id']}: nothing decided on {decided_on} waited for {row['instrument_id']} ({row['decision']})"


def misplaced(row: Row) -> str | None:
    """What is wrong with the stop or target of an order."""
    if row["status"] != "filled":
        return None
    side, price = (1 if row["side"] == "buy" else -1), float(row["price"])
    stop, target = row["stop_price"], row["target_price"]
    if not is_missing(stop) and (price - stop) * side <= 0:
        return f"{row['order_id']}: {row['side']} at {price} with a stop at {stop}"
    if not is_missing(target) and (target - price) * side <= 0:
        return f"{row['order_id']}: {row['side']} at {price} with a target at {target}"
    return None
