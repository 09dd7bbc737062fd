"""Chain facts read day by day while newest blocks are reorganised: nothing lost, nothing twice, no final row edited.

Not here: asking the vendors and writing tables (orchestration/test_reorganisations.py).
"""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.finality import Reading, first_block, mark_pending, settle
from defiyield_assets.domain.ledger.ordinals import assign_ordinals, merge_views
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.sources.account_rows import COLUMNS, Row, account_frame, account_row

OURS, SECOND, OUTSIDE, TOKEN = "0x" + "aa" * 20, "0x" + "bb" * 20, "0x" + "cc" * 20, "0x" + "dd" * 20
START = date(2025, 6, 2)
BLOCKS_A_DAY = 40
HEAD_START = 3
"""Blocks of the next day that are there when a day is read."""
CONFIRMATIONS = 12
OVERLAP = 10
KEY = ["chain_id", "tx_hash", "kind", "ordinal"]


def block_time(block: int) -> datetime:
    return datetime(2025, 6, 2, tzinfo=UTC) + block * timedelta(days=1) / BLOCKS_A_DAY


def day_at(index: int) -> date:
    return START + timedelta(days=index)


@dataclass(frozen=True)
class Tx:
    """One transaction: its block, and (sender, receiver, value) of its transfers."""

    name: int
    block: int
    moves: tuple[tuple[str, str, int], ...]

    def rows(self) -> list[Row]:
        shared = {"chain_id": 1, "tx_hash": f"0x{self.name:064x}", "block_number": self.block, "source": "test"}
        when = block_time(self.block)
        found = [
            account_row(
                **shared, kind="token", block_time=when, from_address=a, to_address=b, value=v, token_address=TOKEN
            )
            for a, b, v in self.moves
        ]
        gas = account_row(
            **shared, kind="gas", block_time=when, from_address=OURS, to_address="", value=21_000 + self.name
        )
        return [*found, gas]


def view(chain: list[Tx], wallet: str, start: int, head: int) -> pd.DataFrame:
    rows = [row for tx in chain if start <= tx.block <= head for row in tx.rows()]
    return account_frame([row for row in rows if wallet in (row["from_address"], row["to_address"])])


@dataclass
class Table:
    """`account_transactions` and its cursors in memory, written as the asset writes them."""

    rows: pd.DataFrame = field(default_factory=lambda: account_frame([]))
    cursors: dict[tuple[str, date], Reading] = field(default_factory=dict)
    confirmations: int = CONFIRMATIONS

    def readings(self, wallet: str, day: date) -> list[Reading]:
        return [self.cursors[at] for at in sorted(self.cursors) if at[0] == wallet and at[1] < day]

    def run(self, chain: list[Tx], index: int, wallets: tuple[str, ...] = (OURS, SECOND), late: int = 0) -> None:
        """Run the day; `late`: how many blocks later than usual it is read."""
        day, head = day_at(index), (index + 1) * BLOCKS_A_DAY - 1 + HEAD_START + late
        readings = {(1, wallet): self.readings(wallet, day) for wallet in wallets}
        starts = {at: first_block(known, OVERLAP) for at, known in readings.items()}
        finals = [head - self.confirmations, *(known[-1].final_block for known in readings.values() if known)]
        final = {1: max(finals)}
        merged = merge_views([view(chain, wallet, start, head) for (_, wallet), start in starts.items()])
        told = mark_pending(merged[merged["date"] <= day].reset_index(drop=True), final)[list(COLUMNS)]
        first = min(starts.values())
        is_read = (self.rows["block_number"] >= first) & ((self.rows["date"] <= day) | self.rows["is_pending"])
        found = settle(self.rows[is_read].reset_index(drop=True), told, day=day, readings=readings, starts=starts)
        assert list(found.own.columns) == list(COLUMNS)
        here = list(zip(self.rows["chain_id"], self.rows["tx_hash"], strict=True))
        withdrawn = pd.Series([at in found.withdrawn for at in here], dtype=bool) & self.rows["is_pending"].astype(bool)
        kept = self.rows[~withdrawn & (self.rows["date"] != day)]
        flags = set(map(tuple, found.settled[KEY].to_numpy().tolist()))
        is_settled = [tuple(key) in flags for key in kept[KEY].to_numpy().tolist()]
        kept = kept.assign(is_pending=kept["is_pending"] & ~pd.Series(is_settled, index=kept.index, dtype=bool))
        parts = [part for part in (kept, found.added, found.own) if len(part)]
        self.rows = pd.concat(parts, ignore_index=True) if parts else account_frame([])
        assert not self.rows.duplicated(KEY).any(), "two rows of one key"
        for (_, wallet), known in readings.items():
            own = told[(told["from_address"] == wallet) | (told["to_address"] == wallet)]
            last = max([0, *(reading.last_block for reading in known[-1:]), *own["block_number"].astype(int)])
            self.cursors[wallet, day] = Reading(day, last, max(0, final[1]))

    def run_as_told(self, chain: list[Tx], index: int, late: int = 0) -> list[date]:
        """Run the day, and when it says so the earlier one and those after it first; the days that ran."""
        try:
            self.run(chain, index, late=late)
        except SuspiciousDataError as error:
            (named,) = re.findall(r"Run (\S+) again", str(error))
            first = (date.fromisoformat(named) - START).days
            assert first < index
            done: list[date] = []
            for again in range(first, index + 1):
                done += self.run_as_told(chain, again, late=late)
            return done
        return [day_at(index)]

    def content(self) -> list[list[Any]]:
        return self.rows.sort_values(KEY)[list(COLUMNS)].to_numpy().tolist()


def scratch(chain: list[Tx], index: int, late: int = 0) -> list[list[Any]]:
    """What a first run of the day stores."""
    fresh = Table()
    fresh.run(chain, index, late=late)
    return fresh.content()


AMOUNTS = st.integers(1, 3)
MOVES = st.lists(
    st.tuples(st.sampled_from([(OURS, OUTSIDE), (OUTSIDE, OURS), (OURS, SECOND), (SECOND, OUTSIDE)]), AMOUNTS).map(
        lambda pair: (*pair[0], pair[1])
    ),
    max_size=3,
).map(tuple)
DAYS = 3
CHAIN = st.lists(st.tuples(st.integers(0, DAYS * BLOCKS_A_DAY - 1), MOVES), max_size=10).map(
    lambda found: [Tx(name, block, moves) for name, (block, moves) in enumerate(found)]
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 13), st.sampled_from(["vanish", "move", "change", "new"]), st.integers(1, 20), MOVES),
    max_size=5,
)


def reorganise(chain: list[Tx], changes: list[Any], head: int, serial: int) -> list[Tx]:
    """The chain with transactions above head - CONFIRMATIONS changed; what is deeper stays."""
    deep, found = head - CONFIRMATIONS, {tx.name: tx for tx in chain}
    for at, (name, what, step, moves) in enumerate(changes):
        tx = found.get(name)
        if what == "new":
            fresh = Tx(1_000 * (serial + 1) + at, deep + step, moves)
            found[fresh.name] = fresh
        elif tx is not None and tx.block > deep:
            if what == "vanish":
                del found[name]
            elif what == "move":
                found[name] = replace(tx, block=deep + step)
            else:
                found[name] = replace(tx, moves=moves)
    return list(found.values())


@settings(max_examples=15, deadline=None)
@given(chain=CHAIN, changes=st.lists(CHANGES, min_size=DAYS - 1, max_size=DAYS - 1))
def test_whatever_the_newest_blocks_become_the_table_ends_as_the_chain_does(
    chain: list[Tx], changes: list[Any]
) -> None:
    table = Table()
    for index in range(DAYS):
        table.run_as_told(chain, index)
        final = {tuple(row[:4]): row for row in table.content() if not row[COLUMNS.index("is_pending")]}
        head = (index + 1) * BLOCKS_A_DAY - 1 + HEAD_START
        if index < DAYS - 1:
            chain = reorganise(chain, changes[index], head, index)
        table.run_as_told(chain, index)
        again = table.content()
        table.run_as_told(chain, index)
        assert table.content() == again, "running a day again changes nothing"
        kept = {tuple(row[:4]): row for row in again}
        assert {key: kept.get(key) for key in final} == final, "a final row was edited or deleted"
    assert table.content() == scratch(chain, DAYS - 1)


@settings(max_examples=15, deadline=None)
@given(chain=CHAIN, changes=st.lists(CHANGES, min_size=DAYS - 1, max_size=DAYS - 1))
def test_a_reorganisation_between_two_days_is_told_and_the_days_that_run_again_replace_it(
    chain: list[Tx], changes: list[Any]
) -> None:
    table = Table()
    for index in range(DAYS):
        before = table.content()
        ran = table.run_as_told(chain, index)
        if index and len(ran) == 1:
            mine = [row for row in before if row[COLUMNS.index("date")] < day_at(index)]
            now = [row for row in table.content() if row[COLUMNS.index("date")] < day_at(index)]
            without = [column for column in range(len(COLUMNS)) if COLUMNS[column] != "is_pending"]
            assert [[row[c] for c in without] for row in mine] == [[row[c] for c in without] for row in now]
        if index < DAYS - 1:
            head = (index + 1) * BLOCKS_A_DAY - 1 + HEAD_START
            chain = reorganise(chain, changes[index], head, index)
    assert table.content() == scratch(chain, DAYS - 1)


# --- one thing at a time -------------------------------------------------------------------------------------------
LAST = BLOCKS_A_DAY - 1
DEEP = Tx(1, 5, ((OUTSIDE, OURS, 10),))
EDGE = Tx(2, LAST - 2, ((OURS, OUTSIDE, 4), (OURS, OUTSIDE, 4)))


def after_first_day(*extra: Tx) -> Table:
    table = Table()
    table.run([DEEP, EDGE, *extra], 0)
    return table


def test_rows_that_are_not_deep_enough_are_pending_and_final_a_day_later() -> None:
    table = after_first_day()
    flags = dict(zip(table.rows["tx_hash"], table.rows["is_pending"], strict=True))
    assert list(flags.values()) == [False, True]
    table.run([DEEP, EDGE], 1)
    assert not table.rows["is_pending"].any()
    assert table.content() == scratch([DEEP, EDGE], 1)


@pytest.mark.parametrize(
    "now",
    [
        [DEEP],
        [DEEP, replace(EDGE, moves=((OURS, OUTSIDE, 4),))],
        [DEEP, replace(EDGE, block=LAST - 1)],
        [DEEP, replace(EDGE, block=LAST + 1)],
        [DEEP, EDGE, Tx(3, LAST, ((OUTSIDE, OURS, 1),))],
    ],
    ids=["vanished", "changed", "moved", "moved to the next day", "new"],
)
def test_the_next_day_stops_and_names_the_day_to_run_again(now: list[Tx]) -> None:
    table = after_first_day()
    before = table.content()
    with pytest.raises(SuspiciousDataError, match=rf"reorganised.*Run {START} again.*--from {START} --to {day_at(1)}"):
        table.run(now, 1)
    assert table.content() == before, "nothing is written"
    table.run(now, 0)
    table.run(now, 1)
    assert table.content() == scratch(now, 1)


def test_a_pending_transaction_that_moves_back_over_midnight_leaves_the_later_day() -> None:
    moving = Tx(7, BLOCKS_A_DAY + 1, ((OURS, OUTSIDE, 4),))
    table = after_first_day()
    table.confirmations = 3 * BLOCKS_A_DAY
    table.run([DEEP, EDGE, moving], 0)
    table.run([DEEP, EDGE, moving], 1)
    back = [DEEP, EDGE, replace(moving, block=LAST)]
    table.run(back, 0)
    table.run(back, 1)
    assert table.content() == scratch_of(back, 1, 3 * BLOCKS_A_DAY)


def scratch_of(chain: list[Tx], index: int, confirmations: int) -> list[list[Any]]:
    fresh = Table(confirmations=confirmations)
    fresh.run(chain, index)
    final = {tuple(row[:4]) for row in scratch(chain, 0) if not row[COLUMNS.index("is_pending")]}
    at = COLUMNS.index("is_pending")
    return [[*row[:at], row[at] and tuple(row[:4]) not in final, *row[at + 1 :]] for row in fresh.content()]


def test_a_final_row_that_is_not_told_any_more_is_an_error_and_stays() -> None:
    table = after_first_day()
    before = table.content()
    for now in ([EDGE], [replace(DEEP, moves=((OUTSIDE, OURS, 11),)), EDGE], [replace(DEEP, block=6), EDGE]):
        with pytest.raises(SuspiciousDataError, match=r"final rows of account_transactions are not told any more"):
            table.run(now, 0)
        assert table.content() == before


def test_what_the_vendor_tells_late_is_added_under_its_own_day() -> None:
    near = Tx(3, LAST - 12, ((OUTSIDE, OURS, 2),))
    table = after_first_day()
    late = Tx(4, near.block, ((OUTSIDE, OURS, 3),))
    table.run([DEEP, EDGE, late], 1)
    assert table.content() == scratch([DEEP, EDGE, late], 1)


def test_a_late_transfer_of_a_known_transaction_gets_the_next_ordinal() -> None:
    near = Tx(3, LAST - 12, ((OUTSIDE, OURS, 2),))
    table = after_first_day(near)
    table.run([DEEP, EDGE, replace(near, moves=((OUTSIDE, OURS, 1), (OUTSIDE, OURS, 2)))], 1)
    rows = table.rows[(table.rows["tx_hash"] == near.rows()[0]["tx_hash"]) & (table.rows["kind"] == "token")]
    assert sorted(zip(rows["ordinal"], rows["value"], strict=True)) == [(0, 2), (1, 1)]


def test_a_wallet_that_is_added_later_adds_its_past_and_its_side_of_known_transactions() -> None:
    both = Tx(3, 8, ((OURS, SECOND, 2), (SECOND, OUTSIDE, 1)))
    table = Table()
    table.run([DEEP, both, EDGE], 0, wallets=(OURS,))
    known = table.content()
    table.run([DEEP, both, EDGE], 1, wallets=(OURS, SECOND))
    pending, value = COLUMNS.index("is_pending"), COLUMNS.index("value")
    stored = [[*row[:pending], False, *row[pending + 1 :]] for row in known]
    assert [row for row in stored if row not in table.content()] == []
    assert sorted(row[value] for row in table.content()) == sorted(row[value] for row in scratch([DEEP, both, EDGE], 1))


def test_rows_of_a_wallet_that_is_not_asked_any_more_stay() -> None:
    both = Tx(3, 8, ((SECOND, OUTSIDE, 1),))
    table = Table()
    table.run([DEEP, both], 0)
    before = table.content()
    table.run([DEEP, both], 0, wallets=(OURS,))
    assert table.content() == before


def test_equal_transfers_of_one_transaction_are_all_kept() -> None:
    rows = after_first_day().rows
    assert sorted(rows.loc[rows["value"] == 4, "ordinal"]) == [0, 1]
    assert assign_ordinals(rows)["ordinal"].tolist() == rows["ordinal"].tolist()


def test_a_wallet_is_read_from_what_was_not_final_and_below_its_newest_transaction() -> None:
    assert first_block([], 100) == 0
    assert first_block([], 100, opening=500) == 501
    assert first_block([Reading(START, 1_000, 2_000)], 100) == 900
    assert first_block([Reading(START, 1_000, 400)], 100) == 401
    assert first_block([Reading(START, 50, 400)], 100) == 0
    assert first_block([Reading(START, 550, 400)], 100, opening=500) == 501


def test_a_block_as_deep_as_the_confirmations_is_final_and_the_next_one_is_pending() -> None:
    rows = account_frame([row for tx in (replace(DEEP, block=20), replace(EDGE, block=21)) for row in tx.rows()])
    marked = mark_pending(rows, {1: 20})
    assert {block: set(of_block) for block, of_block in marked.groupby("block_number")["is_pending"]} == {
        20: {False},
        21: {True},
    }
