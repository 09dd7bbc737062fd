"""A million transfers: told by Etherscan in pages, archived, parsed, stored, booked, balanced, checked.

One table: the first day of a treasury with a long history (everything is read and booked), and the day after (only
what is new). Alternative in the same run: the bare driver writing the same rows into an empty database with the same
indexes. What is measured are the real assets through Dagster, in a process of its own, over an in-process Etherscan
that has its pages on disk; making the chain is not measured. `--transfers N` for another size.
"""

import argparse
import json
import os
import pickle
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import httpx
import pandas as pd
import sqlalchemy as sa

from benchmarks.ledger_chain import CHAIN_ID, WALLETS, Facts, PagedChain, Span, pool_contracts, wallets, write_chain
from benchmarks.targets import finish
from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.policy import Policy, Token
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.orchestration.resources import MarketResource, PolicyResource
from defiyield_assets.store import schema, writes
from defiyield_assets.store.engine import make_engine, upgrade
from defiyield_assets_tests.installations import Installation

ROOT = Path(__file__).resolve().parents[1]
MILLION = 1_000_000
SEED, DAYS, LAST = 7, 365, date(2025, 6, 30)
FIRST = LAST - timedelta(days=DAYS - 1)
STABLE = ("USDC", "USDT", "DAI")
STEPS = {
    "account_transactions": ("account_transactions",),
    "ledger_postings": ("ledger_postings", "trial_balance", "ledger_closings"),
    "daily_balances": ("daily_balances",),
}
"""What is run, and the tables that each step writes."""
ASSETS = tuple(table for tables in STEPS.values() for table in tables)
TRANSFERS = "transfers"
WRITTEN = (schema.account_transactions, schema.ledger_postings, schema.trial_balance)
COPIED_ROWS = 50_000
SECONDS_BETWEEN_WORDS = 5.0
FACTS = "facts.pickle"


class BenchmarkMarket(MarketResource):
    """The chain on disk behind the real client; nothing else answers."""

    def _transport(self, day: date) -> httpx.AsyncBaseTransport:
        return PagedChain(_FACTS[0], FIRST, day)


_FACTS: list[Facts] = []


@dataclass(frozen=True)
class Day:
    """Seconds of a day's steps and the rows that its tables held afterwards."""

    day: str
    seconds: dict[str, float]
    rows: dict[str, int]
    breaks: int


# --- what the ledger rests on --------------------------------------------------------------------------------------
def policy() -> Policy:
    """The policy of the day with the wallets and pools of the chain."""
    loaded = PolicyResource().load(LAST, None).policy
    return replace(loaded, wallets=wallets(), pool_contracts=pool_contracts())


def tokens() -> list[Token]:
    """The dollars that this treasury moves."""
    return [token for token in policy().tokens if token.chain == "Ethereum" and token.symbol in STABLE]


def _frame(table: sa.Table, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame of the table's columns; what is not given is null."""
    names = [column.name for column in table.columns]
    return pd.DataFrame([{**dict.fromkeys(names), **row} for row in rows], columns=names, dtype=object)


def prepare(installation: Installation, facts: Facts) -> None:
    """Policy, closes, gas and what the chain says our wallets hold, for both days."""
    installation.warehouse.migrate()
    days = DayRange(LAST, LAST + timedelta(days=1))
    text = policy_to_json(policy())
    known: dict[sa.Table, list[dict[str, Any]]] = {
        table: [] for table in (schema.policy_snapshot, schema.daily_bars, schema.gas_fees_daily, schema.chain_balances)
    }
    for day in days:
        counts = {"n_tokens": len(policy().tokens), "n_protocols": len(policy().protocols), "n_overrides": 0}
        known[schema.policy_snapshot].append(
            {"date": day, "policy_hash": content_hash(text), "policy_json": text, **counts}
        )
        bar = {"date": day, "close": 1.0, "source": "benchmark", "quality": "full"}
        bar |= {"instrument_type": "crypto", "adj_factor": 1.0, "split_factor": 1.0}
        known[schema.daily_bars] += [{**bar, "instrument_id": token.instrument_id} for token in tokens()]
        gas = {"kind": "base_fee", "source": "ethgastracker", "eth_price_usd": 2_500.0, "n_hours": 24}
        known[schema.gas_fees_daily].append({"date": day, **gas})
        told = {"date": day, "chain_id": CHAIN_ID, "source": "benchmark", "observed_at": market_stamp(day)}
        known[schema.chain_balances] += [
            {**told, "wallet": wallet, "token_address": token, "balance": held, "decimals": 18}
            for (wallet, token), held in facts.balances[day].items()
        ]
    for table, rows in known.items():
        writes.replace_slice(installation.engine, table, _frame(table, rows), days)


# --- the measured process ------------------------------------------------------------------------------------------
def installation_of(folder: Path) -> Installation:
    """The installation in a folder, whose market is the chain on disk."""
    market = BenchmarkMarket(market="simulated", chain_path=str(folder / "none.sqlite"), seed=SEED)
    return Installation(folder, overrides={"market": market})


def run_day(installation: Installation, day: date) -> Day:
    """The ledger's assets and checks of a day through Dagster."""
    from defiyield_assets.orchestration.declarations import ENDINGS, PROGRESS
    from defiyield_assets.orchestration.verification import balance_violations

    begun: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def hear(asset: str, what: str, _seconds: float) -> None:
        if what == "started":
            begun[asset] = perf_counter()
        elif what in ENDINGS:
            seconds[asset] = perf_counter() - begun[asset]
        elif perf_counter() - begun["told"] > SECONDS_BETWEEN_WORDS:
            begun["told"] = perf_counter()
            print(f"{day}: {asset}: {what}", file=sys.stderr)

    begun["told"] = perf_counter()
    listener = PROGRESS.set(hear)
    started = perf_counter()
    result = installation.run(day, ASSETS, raise_on_error=False)
    seconds["all"] = perf_counter() - started
    PROGRESS.reset(listener)
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    if not (result.success or failed):
        told = [event.step_failure_data.error_display_string for event in result.all_events if event.is_step_failure]
        raise RuntimeError(f"the ledger of {day} failed: {' '.join(told)}")
    hard, doubts = balance_violations(installation.warehouse, day)
    with installation.engine.connect() as connection:
        counts = {name: sa.select(sa.func.count()).select_from(schema.metadata.tables[name]) for name in ASSETS}
        counts[TRANSFERS] = sa.select(sa.func.count()).where(
            schema.account_transactions.c.kind != "gas", schema.account_transactions.c.is_success
        )
        rows = {name: int(connection.execute(count).scalar_one()) for name, count in counts.items()}
    return Day(str(day), seconds, rows, len(failed) + len(hard) + len(doubts))


def measured(folder: str) -> None:
    """Run both days in this process; prints what they took as one line of JSON."""
    with (Path(folder) / FACTS).open("rb") as file:
        _FACTS[:] = [pickle.load(file)]
    installation = installation_of(Path(folder))
    days = []
    for day in (LAST, LAST + timedelta(days=1)):
        days.append(asdict(run_day(installation, day)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        days[-1]["peak_gib"] = peak
        days[-1]["cpu_seconds"] = process_time()
    print(json.dumps(days))


def bare_seconds(warehouse: Path, other: Path) -> float:
    """Seconds that the driver alone takes to write the same rows into empty tables with the same indexes."""
    engine = make_engine(f"sqlite:///{other}")
    upgrade(engine)
    engine.dispose()
    spent = 0.0
    with closing(sqlite3.connect(warehouse)) as source, closing(sqlite3.connect(other)) as target:
        target.execute("PRAGMA journal_mode=WAL")
        target.execute("PRAGMA synchronous=NORMAL")
        for table in WRITTEN:
            names = ", ".join(column.name for column in table.columns)
            places = ", ".join("?" for _ in table.columns)
            rows = source.execute(f"SELECT {names} FROM {table.name}")
            while some := rows.fetchmany(COPIED_ROWS):
                started = perf_counter()
                target.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", some)
                spent += perf_counter() - started
            started = perf_counter()
            target.commit()
            spent += perf_counter() - started
    return spent


# --- the table -----------------------------------------------------------------------------------------------------
def row(name: str, *cells: Any) -> None:
    """One line of the table."""
    print(f"{name:<52}" + "".join(f"{cell:>14}" for cell in cells))


def main() -> int:
    """Print the table and the closing line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--transfers", type=int, default=MILLION, help="transfers of the history")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as name:
        folder = Path(name)
        print(f"making {options.transfers} transfers", file=sys.stderr)
        facts = write_chain(folder, tokens(), options.transfers, Span(LAST, DAYS), seed=SEED)
        with (folder / FACTS).open("wb") as file:
            pickle.dump(facts, file)
        prepare(installation_of(folder), facts)
        command = [sys.executable, "-c", "import sys; from benchmarks.ledger import measured; measured(sys.argv[1])"]
        said = subprocess.run([*command, name], check=True, cwd=ROOT, text=True, stdout=subprocess.PIPE).stdout
        first, second = json.loads(said.strip().splitlines()[-1])
        bare = bare_seconds(folder / "warehouse.sqlite", folder / "bare.sqlite")
    work = f"{facts.transfers} transfers, {facts.transactions} transactions, {facts.bytes / 1e9:.2f} GB of answers"
    print(
        f"{work}, {DAYS} days, {len(WALLETS)} wallets; machine load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    row("", "seconds", "rows", "us a transfer")
    for step, tables in STEPS.items():
        seconds, written = first["seconds"][step], sum(first["rows"][table] for table in tables)
        row(f"first day: {', '.join(tables)}", f"{seconds:.1f}", written, f"{seconds / facts.transfers * 1e6:.1f}")
    whole = sum(first["seconds"][step] for step in STEPS)
    row("first day: all steps", f"{whole:.1f}", "", f"{whole / facts.transfers * 1e6:.1f}")
    row("first day: with blocking checks and Dagster", f"{first['seconds']['all']:.1f}")
    row("of which the processor was busy (both cores)", f"{first['cpu_seconds']:.1f}")
    row("next day: all", f"{second['seconds']['all']:.1f}")
    row("the bare driver writing the same rows", f"{bare:.1f}")
    row("ratio of the first day's steps to the bare driver", f"{whole / bare:.2f}")
    row("peak memory, GiB", f"{second['peak_gib']:.2f}")
    size = "million_transfers" if options.transfers >= MILLION else f"{options.transfers}_transfers"
    figures = {
        f"{size}_seconds": whole,
        f"{size}_gib": second["peak_gib"],
        "reconciliation_breaks": first["breaks"] + second["breaks"],
        "transfers_stored": first["rows"][TRANSFERS],
        "with_checks_seconds": first["seconds"]["all"],
        "next_day_seconds": second["seconds"]["all"],
        "cpu_seconds": first["cpu_seconds"],
        "ratio_to_bare_driver": whole / bare,
    }
    return finish("ledger", figures)


if __name__ == "__main__":
    sys.exit(main())
