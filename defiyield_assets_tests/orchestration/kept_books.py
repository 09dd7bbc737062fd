"""Books kept day by day in a real warehouse, from chain facts that a test tells when it likes.

Lives here: the tables that booking reads, one day's booking through the function that the asset calls. Not here: chains
(domain/ledger/facts.py), what is expected (test_books.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Policy, PoolContract
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.orchestration.assets.ledger import Booked, book_open_days
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.rows import rows_hash, to_rows
from defiyield_assets.store.validation import column_type
from defiyield_assets_tests.domain.ledger.facts import START, Chain, make_contracts, make_policy

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
BOOKS = (schema.ledger_postings, schema.trial_balance, schema.ledger_closings)


def day_at(number: int) -> date:
    """The day of that number, from 0."""
    return START + timedelta(days=number)


def listed(pools: Sequence[str] = ("vault", "other", "pair"), **changes: Any) -> Policy:
    """The policy of the ledger's tests with those of its pools that are listed."""
    contracts = make_contracts()
    rows = contracts[contracts["pool_id"].isin(pools)].to_dict("records")
    return replace(make_policy(), pool_contracts=tuple(PoolContract(**row) for row in rows), **changes)


def frame_of(table: sa.Table, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame of the table's columns; what is not given is null."""
    names = [column.name for column in table.columns]
    return pd.DataFrame([{**dict.fromkeys(names), **row} for row in rows], columns=names, dtype=object)


def facts_of(chain: Chain | pd.DataFrame) -> pd.DataFrame:
    """Rows of `account_transactions` as the warehouse takes them."""
    frame = (chain.frame() if isinstance(chain, Chain) else chain).copy()
    for name in ("gas_used", "gas_price_wei"):
        cells = [None if pd.isna(cell) else int(cell) for cell in frame[name]]
        frame[name] = pd.Series(cells, index=frame.index, dtype=object)
    return frame


class KeptBooks:
    """One warehouse in which days are booked."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.warehouse = WarehouseResource(url=engine.url.render_as_string(hide_password=False), market="simulated")

    def tell(self, chain: Chain | pd.DataFrame, through: int, **changes: Any) -> None:
        """Store what the chain tells up to the end of a day; rows that are stored already stay as they are."""
        frame = facts_of(chain)
        frame = frame[frame["date"] <= day_at(through)].assign(**changes).reset_index(drop=True)
        writes.insert_missing(self.engine, schema.account_transactions, frame)

    def observe(self, number: int, held: Mapping[tuple[str, str], int]) -> None:
        """Store what the chain says that wallets hold at the end of a day, by wallet and token."""
        at = {"date": day_at(number), "chain_id": 1, "decimals": 18, "source": "test", "observed_at": NOON}
        rows = [{**at, "wallet": wallet, "token_address": token, "balance": n} for (wallet, token), n in held.items()]
        frame = frame_of(schema.chain_balances, rows)
        writes.replace_slice(self.engine, schema.chain_balances, frame, DayRange.of(day_at(number)))

    def prepare(self, number: int, policy: Policy | None = None) -> None:
        """Store the policy and the prices of a day."""
        day, policy = day_at(number), listed() if policy is None else policy
        text = policy_to_json(policy)
        snapshot = {"date": day, "policy_hash": content_hash(text), "policy_json": text}
        counts = {column.name: 0 for column in schema.policy_snapshot.columns if column_type(column) == "int"}
        bar = {"date": day, "close": 1.0, "source": "test", "quality": "full"}
        bar |= {"instrument_type": "crypto", "adj_factor": 1.0, "split_factor": 1.0}
        gas = {"date": day, "kind": "base_fee", "source": "test", "eth_price_usd": 2000.0, "n_hours": 24}
        told: dict[sa.Table, list[dict[str, Any]]] = {
            schema.policy_snapshot: [{**counts, **snapshot}],
            schema.daily_bars: [{**bar, "instrument_id": token.instrument_id} for token in policy.tokens],
            schema.gas_fees_daily: [gas],
        }
        for table, rows in told.items():
            writes.replace_slice(self.engine, table, frame_of(table, rows), DayRange.of(day))

    def book(self, number: int, policy: Policy | None = None) -> Booked:
        """Book a day."""
        self.prepare(number, policy)
        return book_open_days(self.warehouse, day_at(number))

    def run(self, chain: Chain | pd.DataFrame, days: Sequence[int], policy: Policy | None = None) -> "KeptBooks":
        """Tell and book days one after the other."""
        for number in days:
            self.tell(chain, number)
            self.book(number, policy)
        return self

    def postings(self, number: int | None = None) -> pd.DataFrame:
        """Stored postings, of one day or all."""
        table = schema.ledger_postings
        return (
            reads.read_all(self.engine, table)
            if number is None
            else reads.read_days(self.engine, table, DayRange.of(day_at(number)))
        )

    def balances(self, number: int) -> dict[tuple[Any, ...], tuple[int, bool]]:
        """What every account holds at the end of a day and whether it was debited; without those that hold nothing."""
        frame = reads.trial_balance(self.engine, day_at(number))
        names = ("chain_id", "account", "wallet", "counterparty", "token_address", "balance", "was_debited")
        rows = zip(*(frame[name] for name in names), strict=True)
        return {tuple(key): (held, debited) for *key, held, debited in rows if held or debited}

    def fingerprints(self, *, valued: bool = True) -> dict[str, str]:
        """Content of the books; `valued`: with the dollars, which only days that are booked for themselves have."""
        found = {}
        for table in BOOKS:
            frame = reads.read_all(self.engine, table)
            if not valued and "valued_usd" in frame:
                frame["valued_usd"] = None
            found[table.name] = rows_hash(table, to_rows(table, frame))
        return found


def open_books(folder: Path, template: Path) -> KeptBooks:
    """Books in a copy of a migrated warehouse."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "books.sqlite"
    path.write_bytes(template.read_bytes())
    from defiyield_assets.store.engine import make_engine

    return KeptBooks(make_engine(f"sqlite:///{path}"))
