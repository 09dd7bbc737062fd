"""Stored books of paper portfolios: the day before's, a day's rows, and what is refused rather than rewritten.

Lives here: rows of the paper tables and their writing. Not here: trading (domain/paper), what is read of the market
(inputs.py), the asset (assets/paper.py).

A day that runs again and comes out as it is stored changes nothing. The newest day may come out differently: its bars
or signals came in parts. An older one is refused, because later days rest on it and a record of what was traded is not
rewritten by itself; with `restate` it is replaced, and the later days are deleted with it in one transaction.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from math import isnan
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.paper.book_codec import (
    Restatement,
    book_of,
    book_texts,
    restatements_text,
    scales_in,
    scales_text,
)
from defiyield_assets.domain.paper.exchange import NOTHING, decimal_of
from defiyield_assets.domain.paper.portfolios import DayTraded, Portfolio, Scale, date_of
from defiyield_assets.domain.paper.trading import CURRENCY, Book, Order, RoundTrip, positions_value, symbol_of
from defiyield_assets.domain.strategies.engine import ENGINE_VERSION
from defiyield_assets.domain.strategies.runs import trade_table
from defiyield_assets.errors import ConfigurationError, PermanentError
from defiyield_assets.orchestration.paper.wishes import Wish
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.rows import rows_hash, to_rows

TABLES = (schema.paper_portfolio, schema.paper_orders, schema.paper_trades)
ONE_DAY = timedelta(days=1)
LAST_DAY = date(9998, 12, 31)


@dataclass(frozen=True)
class StoredBook:
    """A portfolio as a day left it."""

    portfolio: Portfolio
    book: Book
    scales: Mapping[str, Scale]
    day: date


def how_to_make(first: date) -> str:
    """What makes the days from one on that are missing: all tables of the step together."""
    return f"The job `paper_trade` makes them (or `--select group:paper`), in a run whose first day is {first}"


def stored_book(engine: sa.Engine, wish: Wish, day: date) -> StoredBook | None:
    """What the end of a day left of a portfolio; None where it has no row of any day.

    PermanentError where it has rows, but not of that day. ConfigurationError where the portfolio of that name has
    another strategy or other terms.
    """
    where = {"portfolio_id": wish.portfolio_id}
    rows = reads.read_days(engine, schema.paper_portfolio, DayRange.of(day), where)
    if rows.empty:
        _require_none(engine, wish, day)
        return None
    row = {str(name): value for name, value in rows.iloc[0].items()}
    _require_same(row, wish)
    instruments = tuple(json.loads(row["instruments_json"]))
    portfolio = Portfolio(
        wish.portfolio_id, wish.strategy, wish.universe, row["starts_on"], instruments, wish.costs, wish.account
    )
    return StoredBook(portfolio, book_of(row, instruments), scales_in(row["scales_json"]), day)


def _require_none(engine: sa.Engine, wish: Wish, day: date) -> None:
    """A gap is no beginning; the first day may be made again."""
    where = {"portfolio_id": wish.portfolio_id}
    before = reads.newest_day(engine, schema.paper_portfolio, day, where)
    if before is not None:
        raise PermanentError(
            f"{wish.portfolio_id} was traded through {before}, and not on {before + ONE_DAY}..{day}: each day goes on "
            f"from the one before. {how_to_make(before + ONE_DAY)}"
        )
    first = reads.read_all(engine, schema.paper_portfolio, where).sort_values("date").head(1)
    if first.empty:
        return
    row = {str(name): value for name, value in first.iloc[0].items()}
    if row["date"] != day + ONE_DAY:
        raise PermanentError(
            f"{wish.portfolio_id} begins on {row['date']}, after {day + ONE_DAY}: what was traded is not given another "
            "past. A portfolio that starts earlier is another one"
        )
    _require_same(row, wish)


def _require_same(row: Mapping[str, Any], wish: Wish) -> None:
    """A portfolio keeps its strategy and terms for good."""
    told = {"strategy": row["strategy_hash"], "universe": row["universe"], "terms": row["terms_json"]}
    now = {"strategy": wish.strategy.content_hash, "universe": wish.universe, "terms": terms_text(wish)}
    changed = [name for name, value in now.items() if told[name] != value]
    if wish.starts_on is not None and wish.starts_on != row["starts_on"]:
        changed.append("starts_on")
    if row["engine_version"] != ENGINE_VERSION:
        changed.append("engine")
    if changed:
        raise ConfigurationError(
            f"{wish.portfolio_id} was begun with another {' and '.join(changed)}: a portfolio keeps what it was begun "
            "with. Take the change back, or give it another id where it is named (paper.yaml)"
        )


def terms_text(wish: Wish | Portfolio) -> str:
    """Costs and account as canonical JSON."""
    return canonical_json({"costs": asdict(wish.costs), "account": asdict(wish.account)})


# --- rows ----------------------------------------------------------------------------------------------------------
def day_frames(
    stored: StoredBook, traded: DayTraded, restatements: Sequence[Restatement]
) -> dict[sa.Table, pd.DataFrame]:
    """The rows that a day writes. `stored`: the book behind it; `restatements`: what was done to the one before it."""
    portfolio, day = stored.portfolio, stored.day
    row = {**_portfolio_row(portfolio, traded, stored.scales, day), "restated_json": restatements_text(restatements)}
    return {
        schema.paper_portfolio: _frame(schema.paper_portfolio, [row]),
        schema.paper_orders: _frame(schema.paper_orders, [_order_row(portfolio, one, day) for one in traded.orders]),
        schema.paper_trades: _trade_frame(portfolio, traded.trades, day),
    }


def _frame(table: sa.Table, rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=table.columns.keys(), dtype=object)


def _portfolio_row(portfolio: Portfolio, traded: DayTraded, scales: Mapping[str, Scale], day: date) -> dict[str, Any]:
    book, state = traded.book, traded.book.settled
    cash = book.account.balances.get(CURRENCY, NOTHING)
    value = positions_value(book.account, state, portfolio.instruments)
    return {
        "portfolio_id": portfolio.portfolio_id,
        "date": day,
        "strategy_id": portfolio.strategy.strategy_id,
        "strategy_hash": portfolio.strategy.content_hash,
        "universe": portfolio.universe,
        "starts_on": portfolio.starts_on,
        "instruments_json": json.dumps(list(portfolio.instruments), separators=(",", ":")),
        "bar_date": traded.bar_day,
        "signal_types": ", ".join(sorted(portfolio.strategy.signal_types)) or None,
        "is_in_sample": traded.is_in_sample,
        "capital": decimal_of(portfolio.account.capital),
        "cash": cash,
        "positions_value": value,
        "equity": cash + value,
        "engine_cash": state.cash,
        "engine_equity": state.equity,
        "exposure": state.exposure,
        "n_positions": len(state.positions),
        "n_orders": book.account.n_orders,
        "n_trades": book.n_trades,
        **book_texts(book, portfolio.instruments),
        "scales_json": scales_text(scales),
        "terms_json": terms_text(portfolio),
        "engine_version": ENGINE_VERSION,
    }


def _order_row(portfolio: Portfolio, order: Order, day: date) -> dict[str, Any]:
    record = order.record
    instrument = portfolio.instruments[order.instrument]
    return {
        "order_id": record.order_id,
        "portfolio_id": portfolio.portfolio_id,
        "date": day,
        "number": record.number,
        "ts": record.ts,
        "instrument_id": instrument,
        "symbol": symbol_of(instrument),
        "side": record.side,
        "kind": record.kind,
        "status": record.status,
        "reason": record.reason,
        "price": record.price,
        "quantity": record.quantity,
        "fee": record.fee,
        "total": record.total,
        "decision": order.decision,
        "rule": order.rule,
        "decided_on": date_of(order.decided_on),
        "signal": portfolio.signal,
        "stop_price": None if isnan(order.stop) else order.stop,
        "target_price": None if isnan(order.target) else order.target,
    }


def _trade_frame(portfolio: Portfolio, trades: tuple[RoundTrip, ...], day: date) -> pd.DataFrame:
    table = trade_table([one.trade for one in trades], portfolio.instruments)
    for name in ("entry_date", "exit_date"):
        table[name] = [pd.Timestamp(value).date() for value in table[name]]
    table = table.assign(
        portfolio_id=portfolio.portfolio_id,
        number=[one.number for one in trades],
        date=day,
        exit_order_id=[one.order_id for one in trades],
    )
    return table[schema.paper_trades.columns.keys()].astype(object)


# --- writing -------------------------------------------------------------------------------------------------------
def keep_day(
    engine: sa.Engine, portfolio_id: str, day: date, frames: Mapping[sa.Table, pd.DataFrame], *, is_restating: bool
) -> list[writes.WriteReceipt]:
    """Make a portfolio's rows of a day exactly these, in one transaction; receipts in the order of TABLES.

    PermanentError where the day is stored otherwise and later days rest on it, unless `is_restating`: then those are
    deleted with it.
    """
    where, only = {"portfolio_id": portfolio_id}, DayRange.of(day)
    beside: list[writes.Beside] = []
    newest = reads.newest_day(engine, schema.paper_portfolio, LAST_DAY, where)
    if newest is not None and newest > day:
        changed = _changed(engine, frames, only, where)
        if changed and not is_restating:
            raise PermanentError(
                f"{portfolio_id} comes out differently on {day} than it is stored ({', '.join(changed)}), and is "
                f"traded through {newest}: bars, features or signals of that time were changed since. Run the day with "
                f"`restate: true` to replace it; days after it are deleted and have to be made again"
            )
        if changed:
            later = DayRange(day + ONE_DAY, LAST_DAY)
            beside = [writes.Deletion(table, where, later) for table in TABLES]
    with writes.replacing(engine, TABLES, only, where, beside=beside) as writer:
        for table in TABLES:
            writer.add(table, frames[table])
        return [writer.receipt(table) for table in TABLES]


def _changed(
    engine: sa.Engine, frames: Mapping[sa.Table, pd.DataFrame], day: DayRange, where: Mapping[str, Any]
) -> list[str]:
    """Tables whose stored rows of the day are others."""
    found = []
    for table, frame in frames.items():
        stored = reads.read_days(engine, table, day, where)
        if rows_hash(table, to_rows(table, stored)) != rows_hash(table, to_rows(table, frame)):
            found.append(table.name)
    return found
