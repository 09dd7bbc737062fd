"""Lots: when and for how much every unit was acquired, and what was gained when it was given away, exactly.

Lives here: the choice of lots (first in first out, or named), their cost, gains, and what corrections undo. Not here:
which postings acquire and dispose (lot_legs.py), the postings (booking.py), net asset value (nav.py).

A leg on an account that is no asset changes what we hold of its token. Moves between our wallets, and into and out of
pools, have no such leg and dispose of nothing, so the lots of a token always add up to its asset accounts.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import reduce
from itertools import groupby
from typing import cast

import pandas as pd

from defiyield_assets.domain.ledger.accounts import ASSETS_PREFIX, EXTERNAL_IN, EXTERNAL_OUT
from defiyield_assets.domain.ledger.lot_legs import (
    UNKNOWN,
    LotLeg,
    TokenKey,
    by_account,
    by_transaction,
    known,
    minus,
    net,
    plus,
    read_legs,
    split,
    transaction_of,
    value_of,
)
from defiyield_assets.domain.ledger.tables import OPEN_LOTS, REALISED_GAINS, make_frame
from defiyield_assets.domain.ledger.valuation import ZERO
from defiyield_assets.domain.policy import LotChoice
from defiyield_assets.errors import ConfigurationError

FIFO, SPECIFIC = "fifo", "specific"


@dataclass(frozen=True, slots=True, order=True)
class Lot:
    """Units of one token that were acquired together; ordered as first in, first out takes them.

    A negative amount is what was given away before anything that we know of had come (`is_short`): what comes next
    fills it. `cost` in dollars, None where it is not known.
    """

    acquired_on: date
    lot_id: str
    amount: int = field(compare=False)
    cost: Decimal | None = field(compare=False)
    decimals: int = field(compare=False)
    acquired_by: str = field(compare=False)

    @property
    def is_short(self) -> bool:
        """Whether the lot is owed instead of held."""
        return self.amount < 0


@dataclass(frozen=True, slots=True)
class _Gain:
    """What a disposal took from one lot; negative amounts put back."""

    disposal_id: str
    method: str
    disposed_by: str
    lot: Lot
    amount: int
    proceeds: Decimal | None
    cost: Decimal | None


class LotBook:
    """The open lots of every token; days are told to it in order."""

    def __init__(
        self,
        is_tracked: Callable[[int, str], bool],
        *,
        method: str = FIFO,
        choices: Iterable[LotChoice] = (),
    ) -> None:
        """`is_tracked(chain_id, token)`: whether units of the token count, i.e. it is trusted and no share of a pool.

        A token that has lots stays tracked. `choices` count where `method` is 'specific'; a disposal without a choice
        takes the oldest lots.
        """
        self._is_tracked = is_tracked
        chosen = choices if method == SPECIFIC else ()
        self._choices = {(choice.disposal, choice.token): choice.lots for choice in chosen}
        self._lots: dict[TokenKey, list[Lot]] = {}
        self._shorts: dict[TokenKey, list[Lot]] = {}
        self._taken: dict[tuple[TokenKey, str], list[_Gain]] = {}
        self._gains: list[tuple[TokenKey, _Gain]] = []
        self._notes: list[str] = []

    def load(self, open_lots: pd.DataFrame, realised_gains: pd.DataFrame) -> None:
        """Take over the lots of the day before and all earlier gains (those of corrected transactions are enough)."""
        columns = (
            "chain_id",
            "token_address",
            "acquired_on",
            "lot_id",
            "amount",
            "cost_usd",
            "decimals",
            "acquired_by",
        )
        for chain_id, token, acquired_on, lot_id, amount, cost, decimals, acquired_by in zip(
            *(open_lots[name] for name in columns), strict=True
        ):
            lot = Lot(acquired_on, lot_id, amount, known(cost), int(decimals), acquired_by)
            insort(self._of(TokenKey(int(chain_id), token), lot), lot)
        ordered = realised_gains.sort_values(["date", "chain_id", "disposal_id", "lot_id"], kind="stable")
        for row in ordered.to_dict("records"):
            lot = Lot(row["acquired_on"], row["lot_id"], 0, None, int(row["decimals"]), row["acquired_by"])
            gain = _Gain(
                row["disposal_id"],
                row["method"],
                row["disposed_by"],
                lot,
                row["amount"],
                known(row["proceeds_usd"]),
                known(row["cost_usd"]),
            )
            key = TokenKey(int(row["chain_id"]), row["token_address"])
            self._taken.setdefault((key, transaction_of(gain.disposal_id)), []).append(gain)

    def held(self) -> dict[TokenKey, int]:
        """Units of each token over its open lots."""
        return {
            key: sum(lot.amount for lot in self._all(key)) for key in {*self._lots, *self._shorts} if self._all(key)
        }

    def forget(self, keys: Iterable[TokenKey]) -> None:
        """Drop the lots of these tokens, to fold them again."""
        for key in keys:
            self._lots.pop(key, None)
            self._shorts.pop(key, None)

    def advance(self, day: date, postings: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """`realised_gains` of a day from its postings, and notes: what could not be followed, how corrections went.

        Rows of other days are not looked at. Within a block what comes is booked before what goes, because the order
        within it is unknown. Named lots that are not open or do not suffice: ConfigurationError with the choice and
        what would be right.
        """
        self._gains, self._notes = [], []
        legs = sorted(read_legs(postings, day, self.counts))
        for _, block in groupby(legs, key=lambda leg: (leg.key.chain_id, leg.block)):
            self._book_block(day, list(block))
        return self._gains_frame(day), tuple(self._notes)

    def counts(self, key: TokenKey) -> bool:
        """Whether units of the token have lots: it is tracked, or was when some came."""
        return bool(self._lots.get(key) or self._shorts.get(key)) or self._is_tracked(*key)

    def _of(self, key: TokenKey, lot: Lot) -> list[Lot]:
        """The ordered list that the lot belongs to."""
        return (self._shorts if lot.is_short else self._lots).setdefault(key, [])

    def _all(self, key: TokenKey) -> list[Lot]:
        return [*self._lots.get(key, ()), *self._shorts.get(key, ())]

    def _book_block(self, day: date, legs: list[LotLeg]) -> None:
        """Corrections first, then what came, then what went."""
        plain: list[LotLeg] = []
        for _, group in groupby(sorted(legs, key=by_transaction), key=lambda leg: (leg.key, leg.tx_hash)):
            same = list(group)
            if same[0].corrects is not None:
                self._correct(day, same[0].key, same, same[0].corrects)
                continue
            for _, account in groupby(sorted(same, key=by_account), key=by_account):
                plain += net(account)
        for leg in sorted(plain, key=lambda leg: leg.units < 0):
            if leg.units > 0:
                self._acquire(day, leg)
            else:
                self._dispose(day, leg)

    # --- acquiring and disposing -------------------------------------------------------------------------------------
    def _acquire(self, day: date, leg: LotLeg) -> None:
        units, cost = leg.units, leg.value
        while units and self._shorts.get(leg.key):
            short = self._shorts[leg.key][0]
            filled = min(units, -short.amount)
            self._replace(leg.key, short, short.amount + filled, None)
            _, cost = split(cost, filled, units)
            units -= filled
            self._notes.append(
                f"{leg.posting_id}: {filled} units of {leg.key.token} had been given away before they came"
            )
        if units:
            insort(self._lots.setdefault(leg.key, []), Lot(day, leg.posting_id, units, cost, leg.decimals, leg.reason))

    def _dispose(self, day: date, leg: LotLeg) -> None:
        """Take units from the chosen lots, or from the oldest ones."""
        named = self._choices.get((leg.tx_hash, leg.key.token))
        method, lots = (FIFO if named is None else SPECIFIC), self._lots.get(leg.key, [])
        queue = lots if named is None else self._named(leg, named)
        units, proceeds = -leg.units, leg.value
        while units and queue:
            lot = queue[0]
            taken = min(units, lot.amount)
            part, proceeds = split(proceeds, taken, units)
            cost, rest = split(lot.cost, taken, lot.amount)
            self._replace(leg.key, lot, lot.amount - taken, rest)
            self._record(leg.key, _Gain(leg.posting_id, method, leg.reason, lot, taken, part, cost))
            units -= taken
            if queue is not lots:
                del queue[0]
        if units:
            self._short(day, leg, units, proceeds)

    def _named(self, leg: LotLeg, named: tuple[str, ...]) -> list[Lot]:
        """The open lots of a choice, in its order; they must cover what goes."""
        lots = {lot.lot_id: lot for lot in self._lots.get(leg.key, [])}
        where = f"accounts.yaml: lot_choices: {leg.key.token} in {leg.tx_hash}"
        used = {gain.lot.lot_id for gain in self._taken.get((leg.key, leg.tx_hash), [])}
        unknown = [lot_id for lot_id in named if lot_id not in lots and lot_id not in used]
        if unknown:
            listed = ", ".join(sorted(lots)[:5]) or "none"
            raise ConfigurationError(f"{where}: lot {unknown[0]} is not open then; open lots: {listed}")
        chosen = [lots[lot_id] for lot_id in named if lot_id in lots]
        covered = sum(lot.amount for lot in chosen)
        if covered < -leg.units:
            raise ConfigurationError(
                f"{where}: the named lots hold {covered} base units, but {-leg.units} go; name lots of "
                f"{-leg.units - covered} more"
            )
        return chosen

    def _short(self, day: date, leg: LotLeg, units: int, proceeds: Decimal | None) -> None:
        """Units went that no lot holds; nothing is guessed, their cost is unknown."""
        lot = Lot(day, f"short:{leg.posting_id}", -units, None, leg.decimals, UNKNOWN)
        insort(self._of(leg.key, lot), lot)
        self._record(leg.key, _Gain(leg.posting_id, FIFO, leg.reason, lot, units, proceeds, None))
        self._notes.append(f"{leg.posting_id}: {units} units of {leg.key.token} went that no lot holds")

    def _record(self, key: TokenKey, gain: _Gain) -> None:
        self._gains.append((key, gain))
        self._taken.setdefault((key, transaction_of(gain.disposal_id)), []).append(gain)

    def _replace(self, key: TokenKey, lot: Lot, amount: int, cost: Decimal | None) -> None:
        """Leave so much in the lot; an empty one is gone, and one that was owed may be held now."""
        lots, left = self._of(key, lot), Lot(lot.acquired_on, lot.lot_id, amount, cost, lot.decimals, lot.acquired_by)
        at = lots.index(lot)
        if amount and left.is_short == lot.is_short:
            lots[at] = left
            return
        del lots[at]
        if amount:
            insort(self._of(key, left), left)

    # --- corrections -------------------------------------------------------------------------------------------------
    def _correct(self, day: date, key: TokenKey, legs: list[LotLeg], old: str) -> None:
        """What a correction changes of our holdings of a token goes back where the corrected transaction took it.

        More than before: what was counted as given away returns to the lots it came from, its gain is taken back; the
        rest is new. Less than before: the lots that the transaction acquired shrink, the rest is given away now.
        """
        units = sum(leg.units for leg in legs)
        gained = [leg for leg in legs if leg.units > 0]
        if units > 0:
            rest = units - self._put_back(key, gained[0], units, old)
            if rest:
                self._acquire(day, gained[0]._replace(units=rest, value=split(value_of(legs), rest, units)[0]))
        else:
            rest = -units - self._undo(key, -units, old)
            lost = [leg for leg in legs if leg.units < 0]
            if rest:
                self._dispose(day, lost[0]._replace(units=-rest, value=split(value_of(legs), rest, -units)[0]))
            self._rename(key, old, lost, gained)
        followed = abs(units) - rest
        if units:
            self._notes.append(
                f"{legs[0].tx_hash}: {abs(units)} units of {key.token} {'came' if units > 0 else 'went'}, "
                f"{followed} of them back into their lots"
            )

    def _rename(self, key: TokenKey, old: str, lost: list[LotLeg], gained: list[LotLeg]) -> None:
        """Units that a correction finds to have come for another reason keep their lot under the new one."""
        before = {EXTERNAL_IN if leg.reason == EXTERNAL_OUT else leg.reason for leg in lost}
        lots = self._lots.get(key, []) if gained else []
        for at, lot in enumerate(lots):
            if transaction_of(lot.lot_id) == old and lot.acquired_by in before:
                lots[at] = replace(lot, acquired_by=gained[0].reason)

    def _put_back(self, key: TokenKey, leg: LotLeg, units: int, old: str) -> int:
        """Return up to so many units to the lots that the corrected transaction took them from, the youngest first."""
        by_lot: dict[Lot, list[_Gain]] = {}
        for gain in sorted(self._taken.get((key, old), []), key=lambda gain: (gain.lot, gain.disposal_id)):
            by_lot.setdefault(gain.lot, []).append(gain)
        left = units
        for gains in reversed(list(by_lot.values())):
            first, out = gains[0], sum(gain.amount for gain in gains)
            back = min(left, out)
            if back <= 0:
                continue
            cost = split(reduce(plus, [gain.cost for gain in gains]), back, out)[0]
            proceeds = split(reduce(plus, [gain.proceeds for gain in gains]), back, out)[0]
            self._restore(key, first.lot, back, cost)
            undone = replace(
                first,
                disposal_id=leg.posting_id,
                amount=-back,
                proceeds=minus(ZERO, proceeds),
                cost=minus(ZERO, cost),
            )
            self._record(key, undone)
            left -= back
        return units - left

    def _restore(self, key: TokenKey, lot: Lot, units: int, cost: Decimal | None) -> None:
        """Give units back to a lot, which may be gone by now."""
        now = next((now for now in self._all(key) if now.lot_id == lot.lot_id), None)
        if now is None:
            insort(self._lots.setdefault(key, []), replace(lot, amount=units, cost=cost))
        else:
            self._replace(key, now, now.amount + units, plus(now.cost, cost))

    def _undo(self, key: TokenKey, units: int, old: str) -> int:
        """Take up to so many units out of the lots that the corrected transaction acquired."""
        left = units
        for lot in [lot for lot in self._lots.get(key, []) if transaction_of(lot.lot_id) == old]:
            taken = min(left, lot.amount)
            if taken:
                self._replace(key, lot, lot.amount - taken, split(lot.cost, taken, lot.amount)[1])
                left -= taken
        return units - left

    # --- frames ------------------------------------------------------------------------------------------------------
    def open_lots(self, day: date) -> pd.DataFrame:
        """`open_lots` at the end of a day."""
        rows = [
            (day, lot.lot_id, *key, lot.acquired_on, lot.acquired_by, lot.amount, lot.decimals, lot.cost)
            for key in {*self._lots, *self._shorts}
            for lot in self._all(key)
        ]
        return make_frame(OPEN_LOTS, sorted(rows, key=lambda row: row[:3]))

    def _gains_frame(self, day: date) -> pd.DataFrame:
        rows = [
            (
                day,
                gain.disposal_id,
                gain.lot.lot_id,
                *key,
                gain.method,
                gain.disposed_by,
                gain.lot.acquired_on,
                gain.lot.acquired_by,
                gain.amount,
                gain.lot.decimals,
                gain.proceeds,
                gain.cost,
                minus(gain.proceeds, gain.cost),
            )
            for key, gain in self._gains
        ]
        return make_frame(REALISED_GAINS, sorted(rows, key=lambda row: row[:4]))


def asset_balances(trial_balance: pd.DataFrame) -> dict[TokenKey, int]:
    """Units of each token over all asset accounts, from newest rows of `trial_balance`: what lots must add up to."""
    held: dict[TokenKey, int] = {}
    columns = ("chain_id", "token_address", "account", "balance")
    for chain_id, token, account, balance in zip(*(trial_balance[name] for name in columns), strict=True):
        if account.startswith(ASSETS_PREFIX):
            key = TokenKey(int(chain_id), token)
            held[key] = held.get(key, 0) + balance
    return held


def by_day(postings: pd.DataFrame) -> Iterator[tuple[date, pd.DataFrame]]:
    """Postings of each day, in order."""
    for day, rows in postings.groupby("date", sort=True) if len(postings) else ():
        yield cast("date", day), rows


def fold(book: LotBook, days: Iterable[tuple[date, pd.DataFrame]]) -> pd.DataFrame:
    """Tell days of postings to the book, in order; all their `realised_gains`."""
    gains = [book.advance(day, rows)[0] for day, rows in days]
    filled = [frame for frame in gains if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else make_frame(REALISED_GAINS, [])
