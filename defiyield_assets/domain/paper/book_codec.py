"""A portfolio's book as the texts of its row and back: the next day goes on from what was stored, to the bit.

Lives here: the two directions. Not here: the engine's state (domain/strategies/state_codec.py), accounts
(account_codec.py), the table (store/schema/paper.py).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from math import isnan
from typing import Any

import numpy as np

from defiyield_assets.domain.paper.account_codec import account_of, account_text
from defiyield_assets.domain.paper.decisions import Decided
from defiyield_assets.domain.paper.portfolios import Scale, date_of
from defiyield_assets.domain.paper.trading import Book, pending_orders
from defiyield_assets.domain.strategies.state_codec import state_of, state_text
from defiyield_assets.errors import SuspiciousDataError

TEXTS = ("settled_json", "state_json", "exchange_json", "pending_json", "positions_json")
"""What a book is made of; `n_trades` beside them."""


def book_texts(book: Book, instruments: Sequence[str]) -> dict[str, str]:
    """TEXTS of a book, with what people read beside them (balances_json)."""
    pending = [{**one, "decided_on": _iso(one["decided_on"])} for one in pending_orders(book, tuple(instruments))]
    positions = [
        {
            "rule": one.rule,
            "instrument_id": instruments[one.instrument],
            "side": "long" if one.side > 0 else "short",
            "quantity": one.quantity,
            "entry_price": one.entry_price,
            "entry_date": _iso(one.entry_day),
            "stop": None if isnan(one.stop) else one.stop,
            "target": None if isnan(one.target) else one.target,
            "decided_on": _iso(book.known.positions[one.rule, one.instrument]),
        }
        for one in book.settled.positions
    ]
    balances = {name: f"{units:f}" for name, units in book.account.balances.items() if units}
    return {
        "settled_json": state_text(book.settled),
        "state_json": state_text(book.decided),
        "exchange_json": account_text(book.account),
        "pending_json": _text(pending),
        "positions_json": _text(positions),
        "balances_json": _text(balances),
    }


def book_of(row: Mapping[str, Any], instruments: Sequence[str]) -> Book:
    """The book of a row's TEXTS and `n_trades`; SuspiciousDataError for texts that hold none."""
    number = {name: at for at, name in enumerate(instruments)}
    try:
        waiting = {
            (str(one["kind"]), int(one["rule"]), number[one["instrument_id"]]): _day(one["decided_on"])
            for one in json.loads(row["pending_json"])
        }
        held = {
            (int(one["rule"]), number[one["instrument_id"]]): _day(one["decided_on"])
            for one in json.loads(row["positions_json"])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise SuspiciousDataError(f"paper_portfolio holds no orders or positions: {error!r}") from error
    return Book(
        state_of(row["settled_json"]),
        state_of(row["state_json"]),
        account_of(row["exchange_json"]),
        Decided(waiting, held),
        int(row["n_trades"]),
    )


def scales_text(scales: Mapping[str, Scale]) -> str:
    """Scales as JSON."""
    return _text({name: [one.bar.isoformat(), one.factor] for name, one in scales.items()})


def scales_in(text: str) -> dict[str, Scale]:
    """The scales of `scales_text`; SuspiciousDataError for any other text."""
    try:
        told = json.loads(text)
        return {str(name): Scale(date.fromisoformat(bar), float(factor)) for name, (bar, factor) in told.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise SuspiciousDataError(f"paper_portfolio holds no scales: {error!r}") from error


@dataclass(frozen=True)
class Restatement:
    """What a split or dividend did to units of an instrument before a day's bars were traded.

    `bar`: the newest bar that they had been in prices of; its adjustment factor `was` and `now` is.
    """

    instrument_id: str
    bar: date
    was: float
    now: float
    units_times: Decimal

    @property
    def ratio(self) -> float:
        """By what prices were multiplied."""
        return self.now / self.was


def restatements_text(told: Sequence[Restatement]) -> str:
    """Restatements as JSON."""
    return _text([{**asdict(one), "bar": one.bar.isoformat(), "units_times": str(one.units_times)} for one in told])


def restatements_in(text: str) -> tuple[Restatement, ...]:
    """The restatements of `restatements_text`; SuspiciousDataError for any other text."""
    try:
        return tuple(
            Restatement(
                str(one["instrument_id"]),
                date.fromisoformat(one["bar"]),
                float(one["was"]),
                float(one["now"]),
                Decimal(one["units_times"]),
            )
            for one in json.loads(text)
        )
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise SuspiciousDataError(f"paper_portfolio holds no restatements: {error!r}") from error


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _iso(day: Any) -> str:
    return date_of(int(day)).isoformat()


def _day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))
