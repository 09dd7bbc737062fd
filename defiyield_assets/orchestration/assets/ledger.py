"""Assets of the books: postings and what each account holds by them.

Lives here: wiring of domain/ledger up to balances. Not here: chain facts (chain.py), which days are open (closing.py),
positions and net asset value (positions.py, treasury.py); the ledger never reads a plan, the world in between is the
chain.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import dagster as dg
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import ASSETS_PREFIX, UNEXPLAINED_ACCOUNT, AddressBook
from defiyield_assets.domain.ledger.accruals import accruals_of_day
from defiyield_assets.domain.ledger.balances import daily_balances as build_balances
from defiyield_assets.domain.ledger.booking import Bookkeeper
from defiyield_assets.domain.ledger.corrections import find_corrections
from defiyield_assets.domain.ledger.postings import Chunk, Kept, PostingRow, PostingWriter, book_days, close_day, post
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, TRIAL_BALANCE, make_frame
from defiyield_assets.domain.ledger.trial_balance import TrialBalance
from defiyield_assets.domain.ledger.unexplained import unexplained_transactions as list_unexplained
from defiyield_assets.domain.ledger.valuation import Prices, eth_prices
from defiyield_assets.domain.policy import Policy
from defiyield_assets.orchestration import closing
from defiyield_assets.orchestration.closing import BEGINNING, Basis
from defiyield_assets.orchestration.declarations import daily_asset, daily_tables, tell_progress
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import YESTERDAY, single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.rows import without_collector
from defiyield_assets.store.warehouse import ReadableWarehouse

__all__ = [
    "BEGINNING",
    "Booked",
    "book_open_days",
    "book_tables",
    "daily_balances",
    "prices_of",
    "unexplained_transactions",
]

BOOKS = (schema.ledger_postings, schema.trial_balance, schema.ledger_closings)


def prices_of(warehouse: ReadableWarehouse, days: DayRange) -> Prices:
    """Closes of trusted tokens and of ETH on the days."""
    engine = warehouse.engine
    return Prices.of(
        warehouse.policy(days.end),
        reads.read_days(engine, schema.daily_bars, days),
        eth_prices(reads.read_days(engine, schema.gas_fees_daily, days)),
    )


@dataclass(frozen=True)
class _Rules:
    """By what a day is booked and valued."""

    day: date
    policy: Policy
    contracts: pd.DataFrame
    prices: Prices
    book: AddressBook
    writer: PostingWriter

    @classmethod
    def of(cls, warehouse: WarehouseResource, day: date) -> "_Rules":
        policy, contracts = warehouse.policy(day), warehouse.contracts(day)
        prices, book = prices_of(warehouse, DayRange.of(day)), AddressBook.of(policy, contracts)
        return cls(day, policy, contracts, prices, book, PostingWriter(book, prices, DayRange.of(day)))

    def growing(self) -> set[str]:
        """Addresses of tokens whose balance may grow by itself."""
        shares = self.contracts.loc[self.contracts["is_rebasing"].astype(bool), "share_token"]
        return {*shares.str.lower(), *(token.address for token in self.policy.tokens if token.rebasing)}


@dataclass
class Seen:
    """What of the postings that were written is needed once more: those of growing tokens, and what is shown."""

    day: date
    growing: frozenset[str]
    frames: list[pd.DataFrame] = field(default_factory=list)
    blocks: dict[int, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    unvalued: set[tuple[int, str]] = field(default_factory=set)
    """Chain and address of tokens that moved on the day and had no close."""
    shown: pd.DataFrame | None = None

    def add(self, postings: pd.DataFrame) -> None:
        """Look at one chunk."""
        self.frames.append(postings[postings["token_address"].isin(self.growing)])
        for chain_id, block in _highest(postings, "block_number").items():
            self.blocks[chain_id] = max(block, self.blocks.get(chain_id, 0))
        own = postings[postings["date"] == self.day]
        without = own[own["valued_usd"].isna()]
        self.unvalued |= set(zip(without["chain_id"], without["token_address"], strict=True))
        self.kinds.update(own.drop_duplicates("tx_hash")["classification"])
        self.shown = own.head(20) if len(own) and (self.shown is None or self.shown.empty) else self.shown

    def booked(self, rows: list[PostingRow]) -> pd.DataFrame:
        """Postings of growing tokens, with `rows` that are still to be written."""
        frames = [frame for frame in (*self.frames, make_frame(LEDGER_POSTINGS, rows)) if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else make_frame(LEDGER_POSTINGS, [])


def _highest(frame: pd.DataFrame, column: str) -> dict[int, int]:
    """The highest block of a column by chain."""
    chains = frame["chain_id"]
    return {int(chain_id): int(frame.loc[chains == chain_id, column].max()) for chain_id in sorted(set(chains))}


def _accruals(
    engine: Engine, rules: _Rules, before: pd.DataFrame, seen: Seen, corrections: list[PostingRow]
) -> list[PostingRow]:
    cursors = reads.read_all(engine, schema.account_cursors)
    blocks = _highest(cursors[cursors["read_through"] <= rules.day], "last_block")
    frame = accruals_of_day(
        rules.day,
        before=before[before["token_address"].isin(seen.growing)],
        booked=seen.booked([row for row in corrections if row[11] in seen.growing]),
        chain_balances=reads.read_days(engine, schema.chain_balances, DayRange.of(rules.day)),
        policy=rules.policy,
        contracts=rules.contracts,
        prices=rules.prices,
        last_blocks={at: max(blocks.get(at, 0), seen.blocks.get(at, 0)) for at in {*blocks, *seen.blocks}},
    )
    return list(frame[list(LEDGER_POSTINGS)].itertuples(index=False, name=None))


def _book(
    engine: Engine, rules: _Rules, basis: Basis, before: pd.DataFrame, *, written: TrialBalance, seen: Seen
) -> Iterator[Chunk]:
    """The books of the open days in chunks, posted into `written`; corrections and accruals of the day come last."""
    day, writer, kept = rules.day, rules.writer, closing.corrected_later(engine, rules.day)
    corrections = [row for rows in kept.values() for row in rows if row[18] is not None and row[5] == day]
    keeper = Bookkeeper(rules.book, rules.prices.is_trusted, written if basis.doubt is None else None)
    if basis.doubt is not None and basis.closed is not None:
        corrections += _corrections(engine, rules, basis.closed, keeper, kept)
        post(keeper.balances, [row for row in corrections if (row[0], row[18]) in kept])
    transactions = closing.transactions_of(engine, rules.book, basis.open, rules.policy, rules.contracts)
    for chunk in book_days(transactions, keeper=keeper, writer=writer, written=written, last=day, kept=kept):
        seen.add(chunk.postings)
        yield chunk
    accruals = _accruals(engine, rules, before, seen, corrections)
    right = None
    if basis.doubt is not None:
        post(keeper.balances, accruals)
        right = keeper.balances
    last = close_day(day, [*corrections, *accruals], writer=writer, written=written, right=right)
    seen.add(last.postings)
    yield last


def _corrections(engine: Engine, rules: _Rules, closed: DayRange, keeper: Bookkeeper, kept: Kept) -> list[PostingRow]:
    """What of the closed days is booked otherwise by what is known now."""
    return find_corrections(
        closing.transactions_of(engine, rules.book, closed, rules.policy, rules.contracts),
        closing.postings_of(engine, closed),
        closing.corrections_of(engine, closed),
        keeper=keeper,
        writer=rules.writer,
        day=rules.day,
        kept=kept,
    )


@dataclass(frozen=True)
class Booked:
    """What the books of a day came to: what they went on from, proof of the writes by table, what was seen of them.

    `lacking`: what is missing in them, None when they are whole.
    """

    basis: Basis
    receipts: Mapping[str, writes.WriteReceipt]
    seen: Seen
    lacking: str | None


def book_open_days(warehouse: WarehouseResource, day: date, tell: Callable[[str], None] = lambda _: None) -> Booked:
    """Postings, trial balance and closing of the day and of days before it that were never booked, all or nothing.

    Made and written in chunks: a history of any length takes the memory of its accounts and one chunk. `tell` hears how
    far it is.
    """
    engine = warehouse.engine
    closing.adopt_postings(engine, day)
    rules, basis = _Rules.of(warehouse, day), closing.basis_of(warehouse, day)
    before = make_frame(TRIAL_BALANCE, [])
    if basis.closed is not None:
        before = reads.trial_balance(engine, basis.closed.end)
    seen, written = Seen(day, frozenset(rules.growing())), TrialBalance.of(before)
    stood, n_postings = closing.balances_before_a_rerun(engine, day), 0
    if basis.doubt is not None:
        tell(f"going through all transactions again: {basis.doubt}")
    with without_collector(), writes.replacing(engine, BOOKS, basis.open) as slices:
        for chunk in _book(engine, rules, basis, before, written=written, seen=seen):
            is_own = bool((chunk.postings["date"] == day).any())
            slices.add(schema.ledger_postings, chunk.postings, is_counted=is_own)
            slices.add(schema.trial_balance, chunk.trial_balance, is_counted=is_own)
            n_postings += len(chunk.postings)
            tell(f"{n_postings} postings")
        if why_ledger_is_unknown(engine, day) is None:
            slices.add(schema.ledger_closings, closing.closing_of(warehouse, day))
        if basis.closed is not None:
            slices.correct(schema.ledger_postings, closing.settled(engine, basis.closed))
        if stood is not None:
            later = closing.later_balances(engine, day, stood, written)
            slices.correct(schema.trial_balance, later)
            slices.correct(schema.ledger_closings, closing.overtaken(engine, day) if len(later) else later)
    receipts = {table.name: slices.receipt(table) for table in BOOKS}
    return Booked(basis, receipts, seen, _lacking_values(rules, seen))


def _lacking_values(rules: _Rules, seen: Seen) -> str | None:
    """What has no value in dollars because no close is known; units are booked all the same."""
    names = sorted(rules.prices.symbol(*token) or token[1] for token in seen.unvalued)
    if not names:
        return None
    return f"no close of {', '.join(names)} on {rules.day}: what moved of it is booked in units, without a value"


@daily_tables(
    "ledger_postings",
    {
        schema.ledger_postings: (
            "Double entry over every transfer, in integers; the legs of a transaction sum to zero per token.\n\nDays "
            "before the first run are booked too; their legs have no value in dollars. What was booked on an earlier "
            "day and is known to be otherwise now (a pool, wallet or token listed later, a transfer told too late) is "
            "corrected by postings of this day that name the transaction."
        ),
        schema.trial_balance: (
            "Balance of every account after each day on which it moved. Tomorrow's booking goes on from it; nothing "
            "reads all postings."
        ),
        schema.ledger_closings: (
            "By what the day was booked: how many rows the chain had told, and a fingerprint of wallets, pools and "
            "approved tokens. When they are no longer the same, the whole history is gone through again."
        ),
    },
    group="ledger",
    phase=1,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=[
        "account_transactions",
        "chain_balances",
        "pool_contracts",
        "daily_bars",
        "gas_fees_daily",
        "policy_snapshot",
    ],
    own_past={schema.trial_balance: YESTERDAY, schema.ledger_closings: YESTERDAY},
)
def book_tables(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]:
    """Postings, trial balance and closing of the day and of days before it that were never booked, all or nothing."""
    booked = book_open_days(warehouse, single_day(context), lambda words: tell_progress("ledger_postings", words))
    postings, balances, closings = (booked.receipts[table.name] for table in BOOKS)
    return (
        report(
            postings,
            booked.seen.shown,
            asset=schema.ledger_postings.name,
            classified=dict(sorted(booked.seen.kinds.items())),
            degraded=booked.lacking,
            booked_from=booked.basis.open.start.isoformat(),
            gone_through_again=booked.basis.doubt,
        ),
        report(balances, asset=schema.trial_balance.name),
        report(closings, asset=schema.ledger_closings.name),
    )


@daily_asset(
    schema.daily_balances,
    group="ledger",
    phase=1,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=["trial_balance", "daily_bars", "gas_fees_daily", "pool_contracts", "policy_snapshot"],
)
def daily_balances(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What each wallet holds at the end of the day, token by token; untrusted tokens by quantity, worth nothing."""
    day, only = single_day(context), DayRange.of(single_day(context))
    frame = build_balances(
        reads.trial_balance(warehouse.engine, day, ASSETS_PREFIX),
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
        prices=prices_of(warehouse, only),
        day=day,
    )
    return report(writes.replace_slice(warehouse.engine, schema.daily_balances, frame, only), frame)


@daily_asset(
    schema.unexplained_transactions,
    group="ledger",
    phase=1,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=["ledger_postings", "pool_contracts", "policy_snapshot"],
)
def unexplained_transactions(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What the ledger cannot explain, every day until it is resolved, with a hint what would explain it.

    Money in pools that nobody listed, tokens that nobody approved, loans, and what has no known shape: none of it
    counts as a cost, as income or as capital.
    """
    day, only = single_day(context), DayRange.of(single_day(context))
    frame = list_unexplained(
        day,
        postings=reads.read_days(
            warehouse.engine,
            schema.ledger_postings,
            DayRange(BEGINNING, day),
            where={"account": UNEXPLAINED_ACCOUNT},
        ),
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
    )
    receipt = writes.replace_slice(warehouse.engine, schema.unexplained_transactions, frame, only)
    return report(receipt, frame, unexplained=int(frame["tx_hash"].nunique()))
