"""What becomes of chain facts that are stored when the chain is read again: final rows stay, pending ones are replaced.

Lives here: comparing what is stored with what the chain says now. Not here: asking it (orchestration/assets/chain.py),
what follows for postings (postings.py, corrections.py).

A row is pending while its block was not deep enough when it was read (the policy's `confirmations`); the reading of a
later day asks for it again. A final row is never edited and never deleted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from defiyield_assets.domain.ledger.ordinals import assign_ordinals
from defiyield_assets.errors import SuspiciousDataError

_IDENTITY = (
    "chain_id",
    "tx_hash",
    "from_address",
    "to_address",
    "block_number",
    "kind",
    "token_address",
    "value",
    "block_time",
    "is_success",
)
"""What makes a row this row. What a token claims of itself or a function is called is taken as it was told first."""
_GROUP = ["chain_id", "tx_hash", "kind"]
_SHOWN = 3
"""Rows that an error names."""

At = tuple[int, str]
"""(chain id, address in lower case)."""


@dataclass(frozen=True)
class Reading:
    """How far a run of one day has read one wallet: through which day, to which block, and which was deep enough."""

    read_through: date
    last_block: int
    final_block: int


Readings = Mapping[At, Sequence[Reading]]
"""The readings of each wallet by runs of earlier days, oldest first."""


@dataclass(frozen=True)
class Settlement:
    """What a day's run has to write. All frames have the columns of `account_transactions`.

    `own`: the day's rows, all of them. `added`: rows of earlier days that were not stored. `settled`: rows of earlier
    days that were pending and are final now. `withdrawn`: (chain, transaction) whose pending rows of other days go
    before anything is written, because the chain moved, changed or dropped them.
    """

    own: pd.DataFrame
    added: pd.DataFrame
    settled: pd.DataFrame
    withdrawn: frozenset[tuple[int, str]]


class _Row(NamedTuple):
    """One row of a frame: which it is (equal rows are numbered), the transaction, its day, and where it stands."""

    key: tuple[Any, ...]
    day: date
    is_pending: bool
    place: int

    @property
    def transaction(self) -> tuple[int, str]:
        return self.key[0], self.key[1]

    @property
    def sides(self) -> tuple[At, At]:
        return (self.key[0], self.key[2]), (self.key[0], self.key[3])

    @property
    def block(self) -> int:
        return int(self.key[4])

    def __str__(self) -> str:
        chain_id, tx_hash, sender, receiver, block, kind, token, value, *_ = self.key
        moved = f"{kind} {value} of {token} from {sender} to {receiver or '-'}"
        return f"{moved} in {tx_hash}, block {block} of chain {chain_id}"


def first_block(readings: Sequence[Reading], overlap: int, opening: int | None = None) -> int:
    """Where to read a wallet from: everything that was not final, and `overlap` blocks below its newest transaction.

    Without an earlier reading it is the beginning; never what an `opening` balance after that block stands for.
    """
    beginning = 0 if opening is None else opening + 1
    if not readings:
        return beginning
    return max(beginning, min(readings[-1].final_block + 1, readings[-1].last_block - overlap))


def mark_pending(rows: pd.DataFrame, final_blocks: Mapping[int, int]) -> pd.DataFrame:
    """The rows with `is_pending` where their block is above the chain's highest block that is deep enough."""
    if rows.empty:
        return rows.assign(is_pending=pd.Series(dtype=bool))
    final = rows["chain_id"].map(dict(final_blocks)).astype("int64")
    return rows.assign(is_pending=rows["block_number"].astype("int64") > final)


def settle(
    stored: pd.DataFrame, told: pd.DataFrame, *, day: date, readings: Readings, starts: Mapping[At, int]
) -> Settlement:
    """Compare the rows that are stored with those that the chain tells for `day` and before.

    `stored`: rows of the blocks that were asked for, up to the day, and later ones that are pending. `told`: the union
    of all wallets' views up to the day, with `is_pending` marked, from the blocks `starts` on.

    A row that is not stored is added under its own day, where no run of an earlier day has read so far or where one
    has called its block final: then the vendor told it late. Pending rows of the day, and of earlier days that no other
    run has read, are replaced. SuspiciousDataError, and nothing to write, when a final row is not told any more, and
    when something that the run of an earlier day read as pending is different now: that day has to run again first.
    """
    if stored.empty and not any(readings.values()):
        return _divided(told, told.iloc[:0], stored.iloc[:0], day, frozenset())
    known, now = _rows(stored), _rows(told)
    known_keys, now_by_key = {row.key for row in known}, {row.key: row for row in now}
    past = [row for row in known if row.day <= day]
    gone = [row for row in past if row.key not in now_by_key and _is_asked(row, starts)]
    fresh = [row for row in now if row.key not in known_keys]
    _require_final(gone)
    _require_same(gone, fresh, day, readings)
    moved = {row.transaction for row in fresh}
    changed = moved | {row.transaction for row in gone}
    dropped = {row.key for row in known if row.is_pending and row.transaction in (moved if row.day > day else changed)}
    kept = [row for row in past if row.key not in dropped]
    incoming = [row.place for row in now if row.key not in known_keys or row.key in dropped]
    final_now = {key for key, row in now_by_key.items() if not row.is_pending}
    is_settled = [row.is_pending and row.key in final_now for row in kept]
    held = stored.iloc[[row.place for row in kept]]
    held = held.assign(is_pending=held["is_pending"].to_numpy() & ~np.array(is_settled, dtype=bool))
    return _divided(
        _numbered_after(held, told.iloc[incoming]),
        held[held["date"] == day],
        held[np.array(is_settled, dtype=bool) & (held["date"] != day).to_numpy()],
        day,
        frozenset(row.transaction for row in known if row.key in dropped and row.day != day),
    )


def _divided(
    incoming: pd.DataFrame, held: pd.DataFrame, settled: pd.DataFrame, day: date, withdrawn: frozenset[tuple[int, str]]
) -> Settlement:
    """The settlement of rows to come, of those of the day that stay, and of those that are final now."""
    is_own = incoming["date"] == day
    own = incoming[is_own] if held.empty else pd.concat([held, incoming[is_own]]) if is_own.any() else held
    own, added, settled = (frame.reset_index(drop=True) for frame in (own, incoming[~is_own], settled))
    return Settlement(own, added, settled, withdrawn)


def _rows(frame: pd.DataFrame) -> list[_Row]:
    """The frame's rows with their identity; equal rows are numbered from 0, because all of them happened."""
    copies: Counter[tuple[Any, ...]] = Counter()
    found: list[_Row] = []
    identities = zip(*(frame[name] for name in _IDENTITY), strict=True)
    for identity, day, is_pending in zip(identities, frame["date"], frame["is_pending"], strict=True):
        found.append(_Row((*identity, copies[identity]), day, bool(is_pending), len(found)))
        copies[identity] += 1
    return found


def _is_asked(row: _Row, starts: Mapping[At, int]) -> bool:
    """Whether the chain was asked for the row: one of its sides is a wallet whose blocks were read from there on."""
    return any(at in starts and starts[at] <= row.block for at in row.sides)


def _require_final(gone: Iterable[_Row]) -> None:
    lost = [row for row in gone if not row.is_pending]
    if lost:
        raise SuspiciousDataError(
            f"{len(lost)} final rows of account_transactions are not told any more: {_listed(lost)}; the vendor lost "
            "them, or the chain was reorganised deeper than the policy's `confirmations`. Final rows are never edited: "
            "ask again later"
        )


def _require_same(gone: Iterable[_Row], fresh: Iterable[_Row], day: date, readings: Readings) -> None:
    """What runs of earlier days read as pending must be what the chain says now."""
    different = {row: _read_by(row, day, readings) for row in gone if row.day < day}
    different |= {row: _read_by(row, day, readings, only_pending=True) for row in fresh if row.day < day}
    found = sorted((first, row.place, row) for row, first in different.items() if first is not None)
    if found:
        first = found[0][0]
        raise SuspiciousDataError(
            f"the chain was reorganised: {len(found)} rows that account_transactions of {first} read before they were "
            f"final are different now: {_listed([row for *_, row in found])}. Run {first} again, then the days after "
            f"it: `defiyield run --from {first} --to {day}` replaces these rows and their postings"
        )


def _read_by(row: _Row, day: date, readings: Readings, *, only_pending: bool = False) -> date | None:
    """The earlier day whose run read the row's day; with `only_pending` only where its block is not final since."""
    days = []
    for at in row.sides:
        of_wallet = [reading for reading in readings.get(at, ()) if reading.read_through < day]
        if of_wallet and only_pending and row.block <= of_wallet[-1].final_block:
            continue
        days += [reading.read_through for reading in of_wallet if reading.read_through >= row.day]
    return min(days, default=None)


def _numbered_after(held: pd.DataFrame, incoming: pd.DataFrame) -> pd.DataFrame:
    """Rows to come with their ordinals: ranks, and behind the rows that stay where their transaction has such."""
    numbered = assign_ordinals(incoming)
    if numbered.empty or held.empty:
        return numbered
    taken = {group: int(top) + 1 for group, top in held.groupby(_GROUP)["ordinal"].max().items()}
    groups = zip(*(numbered[name] for name in _GROUP), strict=True)
    behind = [taken.get(group, 0) for group in groups]
    return numbered.assign(ordinal=numbered["ordinal"] + pd.Series(behind, index=numbered.index, dtype="int64"))


def _listed(rows: Sequence[_Row]) -> str:
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return "; ".join(str(row) for row in rows[:_SHOWN]) + more
