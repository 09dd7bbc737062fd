"""The simulated chain's memory: one SQLite file with transactions, their transfers and the plans that were executed.

Lives here: writing and reading that file. Not here: what a transaction does (chain_plan.py) or how it is told
(chain_answers.py). Amounts are text, because SQLite's integers end at 64 bits.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.chain_records import (
    ExecutionReceipt,
    InternalTransfer,
    PositionChange,
    TokenTransfer,
    Transaction,
)

_BUSY_SECONDS = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS executions (
  day TEXT PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, n_transactions INTEGER NOT NULL, status TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS transactions (
  hash TEXT PRIMARY KEY, day TEXT REFERENCES executions (day) ON DELETE CASCADE, time TEXT NOT NULL,
  sequence INTEGER NOT NULL, sender TEXT NOT NULL, receiver TEXT NOT NULL, function TEXT NOT NULL,
  gas_used TEXT NOT NULL, gas_price_wei TEXT NOT NULL, value TEXT NOT NULL, is_success INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS token_transfers (
  hash TEXT NOT NULL REFERENCES transactions (hash) ON DELETE CASCADE, rank INTEGER NOT NULL, token TEXT NOT NULL,
  sender TEXT NOT NULL, receiver TEXT NOT NULL, value TEXT NOT NULL, decimals INTEGER NOT NULL, symbol TEXT NOT NULL,
  name TEXT NOT NULL, PRIMARY KEY (hash, rank));
CREATE TABLE IF NOT EXISTS internal_transfers (
  hash TEXT NOT NULL REFERENCES transactions (hash) ON DELETE CASCADE, rank INTEGER NOT NULL, sender TEXT NOT NULL,
  receiver TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (hash, rank));
CREATE TABLE IF NOT EXISTS position_changes (
  hash TEXT NOT NULL REFERENCES transactions (hash) ON DELETE CASCADE, rank INTEGER NOT NULL, wallet TEXT NOT NULL,
  pool_id TEXT NOT NULL, token TEXT NOT NULL, delta TEXT NOT NULL, PRIMARY KEY (hash, rank));
CREATE INDEX IF NOT EXISTS transactions_day ON transactions (day);
"""


class ChainStore:
    """One file per chain. Every write is one transaction; readers learn of it by `version`."""

    def __init__(self, path: Path, genesis: Sequence[Transaction]) -> None:
        """Open or create the file; a file that another genesis founded is refused."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        founded_on = content_hash([transaction.hash for transaction in genesis])
        try:
            self._found(genesis, founded_on)
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"{path} is not a usable chain file: {error}") from error

    def _found(self, genesis: Sequence[Transaction], founded_on: str) -> None:
        with self.write() as db:
            for statement in _TABLES.split(";"):
                db.execute(statement)
            row = db.execute("SELECT value FROM facts WHERE name = 'genesis'").fetchone()
            if row is None:
                db.execute("INSERT INTO facts VALUES ('genesis', ?), ('version', '0')", (founded_on,))
                insert_transactions(db, None, genesis)
            elif row[0] != founded_on:
                raise ConfigurationError(
                    f"the chain file {self._path} was founded by another market (other seed, wallets or tokens); "
                    "use another state folder or delete the file"
                )

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading; closed afterwards."""
        db = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            db.execute("PRAGMA foreign_keys = ON")
            yield db
        finally:
            db.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one exclusive transaction: committed at the end, rolled back on any error."""
        with self.read() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def version(self) -> int:
        """Grows with every change of the chain."""
        with self.read() as db:
            return read_version(db)


def read_version(db: sqlite3.Connection) -> int:
    """The version that this connection sees."""
    return int(db.execute("SELECT value FROM facts WHERE name = 'version'").fetchone()[0])


def bump_version(db: sqlite3.Connection) -> None:
    """Tell every reader that the chain has changed."""
    db.execute("UPDATE facts SET value = CAST(value AS INTEGER) + 1 WHERE name = 'version'")


def insert_transactions(db: sqlite3.Connection, day: date | None, transactions: Sequence[Transaction]) -> None:
    """Append transactions; `day` is the partition whose plan sent them, None for the genesis."""
    for sequence, transaction in enumerate(transactions):
        tx_hash = transaction.hash
        db.execute(
            "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                tx_hash,
                None if day is None else day.isoformat(),
                transaction.time.astimezone(UTC).isoformat(),
                sequence,
                transaction.sender,
                transaction.receiver,
                transaction.function,
                str(transaction.gas_used),
                str(transaction.gas_price_wei),
                str(transaction.value),
                transaction.is_success,
            ),
        )
        db.executemany(
            "INSERT INTO token_transfers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (tx_hash, rank, t.token, t.sender, t.receiver, str(t.value), t.decimals, t.symbol, t.name)
                for rank, t in enumerate(transaction.transfers)
            ],
        )
        db.executemany(
            "INSERT INTO internal_transfers VALUES (?, ?, ?, ?, ?)",
            [(tx_hash, rank, t.sender, t.receiver, str(t.value)) for rank, t in enumerate(transaction.internals)],
        )
        db.executemany(
            "INSERT INTO position_changes VALUES (?, ?, ?, ?, ?, ?)",
            [
                (tx_hash, rank, c.wallet, c.pool_id, c.token, str(c.delta))
                for rank, c in enumerate(transaction.position_changes)
            ],
        )


def load_transactions(db: sqlite3.Connection) -> list[Transaction]:
    """The whole chain in block order."""
    transfers: dict[str, list[TokenTransfer]] = {}
    for tx_hash, token, sender, receiver, value, decimals, symbol, name in db.execute(
        "SELECT hash, token, sender, receiver, value, decimals, symbol, name FROM token_transfers ORDER BY hash, rank"
    ):
        transfers.setdefault(tx_hash, []).append(
            TokenTransfer(token, sender, receiver, int(value), decimals, symbol, name)
        )
    internals: dict[str, list[InternalTransfer]] = {}
    for tx_hash, sender, receiver, value in db.execute(
        "SELECT hash, sender, receiver, value FROM internal_transfers ORDER BY hash, rank"
    ):
        internals.setdefault(tx_hash, []).append(InternalTransfer(sender, receiver, int(value)))
    changes: dict[str, list[PositionChange]] = {}
    for tx_hash, wallet, pool_id, token, delta in db.execute(
        "SELECT hash, wallet, pool_id, token, delta FROM position_changes ORDER BY hash, rank"
    ):
        changes.setdefault(tx_hash, []).append(PositionChange(wallet, pool_id, token, int(delta)))
    return [
        Transaction(
            datetime.fromisoformat(time),
            sender,
            receiver,
            function,
            int(gas_used),
            int(gas_price_wei),
            int(value),
            bool(is_success),
            tuple(transfers.get(tx_hash, ())),
            tuple(internals.get(tx_hash, ())),
            tuple(changes.get(tx_hash, ())),
        )
        for tx_hash, time, sender, receiver, function, gas_used, gas_price_wei, value, is_success in db.execute(
            "SELECT hash, time, sender, receiver, function, gas_used, gas_price_wei, value, is_success "
            "FROM transactions ORDER BY time, sequence, hash"
        )
    ]


def load_executions(db: sqlite3.Connection) -> list[ExecutionReceipt]:
    """Every executed plan, oldest day first."""
    rows = db.execute("SELECT run_id, day, n_transactions, status FROM executions ORDER BY day")
    return [
        ExecutionReceipt(run_id, date.fromisoformat(day), n_transactions, status)
        for run_id, day, n_transactions, status in rows
    ]


def insert_execution(db: sqlite3.Connection, receipt: ExecutionReceipt) -> None:
    """Note that the plan of a day was executed."""
    db.execute(
        "INSERT INTO executions VALUES (?, ?, ?, ?)",
        (receipt.day.isoformat(), receipt.run_id, receipt.n_transactions, receipt.status),
    )


def delete_executions(db: sqlite3.Connection, first: date, last: date | None = None) -> int:
    """Forget the plans of days first … last (None: all later ones) with their transactions; how many plans."""
    cursor = db.execute(
        "DELETE FROM executions WHERE day >= ? AND day <= ?",
        (first.isoformat(), (last or date.max).isoformat()),
    )
    return cursor.rowcount
