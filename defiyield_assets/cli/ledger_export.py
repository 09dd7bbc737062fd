"""`defiyield ledger export`: the ledger as a beancount file.

Lives here: reading the tables, writing the file. Not here: its lines (domain/ledger/beancount.py).
"""

import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console
from rich.text import Text

from defiyield_assets.cli.output import write_json
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.beancount import beancount_lines
from defiyield_assets.errors import ConfigurationError, NotFound
from defiyield_assets.orchestration.assets.ledger import prices_of
from defiyield_assets.orchestration.partitions import day_before
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema


def export_ledger(
    warehouse: WarehouseResource,
    folder: Path,
    *,
    first: date | None,
    last: date | None,
    output: Path | None,
    console: Console,
    is_json: bool = False,
) -> int:
    """Write the ledger of the days (default: all that there are) to `output`, readable by its owner only.

    Without `output` the file lies in `folder` and bears the last day's name.
    """
    days = days_of_ledger(warehouse.engine, first, last)
    path = output or folder / f"ledger-{days.end}.beancount"
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigurationError(f"--output {path} is no place for a file; name a file in a folder that exists")
    with console.status(f"writing {days.start} to {days.end}") if console.is_terminal else nullcontext():
        written = write_privately(path, ledger_lines(warehouse, days))
    if is_json:
        write_json({"path": path, "first": days.start, "last": days.end, "lines": written})
        return 0
    console.print(Text(f"{path}: {days.start} to {days.end}, {written:,} lines"))
    console.print(Text(f"bean-check {path}  checks every transaction and every balance that the chain told"))
    return 0


def days_of_ledger(engine: sa.Engine, first: date | None, last: date | None) -> DayRange:
    """The days that were asked for, inside those that the ledger has; ConfigurationError says which these are, NotFound
    that there are none."""
    closed = reads.days_with_rows(engine, schema.ledger_closings)
    posted = reads.days_with_rows(engine, schema.ledger_postings)
    if closed is None:
        raise NotFound("the warehouse holds no ledger yet: run `defiyield run --date D`")
    start = min(closed.start, posted.start) if posted is not None else closed.start
    if last is not None and not start <= last <= closed.end:
        raise ConfigurationError(f"the ledger runs from {start} to {closed.end}; --to {last} is not one of these days")
    end = last or closed.end
    if first is not None and not start <= first <= end:
        raise ConfigurationError(
            f"the ledger runs from {start} to {closed.end}; --from {first} must lie in {start}..{end}"
        )
    return DayRange(first or start, end)


def ledger_lines(warehouse: WarehouseResource, days: DayRange) -> Iterable[str]:
    """Lines of the file, from the tables of the days."""
    engine = warehouse.engine
    policy, contracts = warehouse.policy(days.end), warehouse.contracts(days.end)
    return beancount_lines(
        days,
        postings=reads.read_days(engine, schema.ledger_postings, days),
        carried=reads.trial_balance(engine, day_before(days.start)),
        closing=reads.trial_balance(engine, days.end),
        balances=reads.read_days(engine, schema.daily_balances, days),
        chain_balances=reads.read_days(engine, schema.chain_balances, days),
        prices=prices_of(warehouse, days),
        claimed_symbols=_claimed_symbols(engine, days.end),
        book=AddressBook.of(policy, contracts),
    )


def _claimed_symbols(engine: sa.Engine, through: date) -> dict[tuple[int, str], str]:
    """What each token calls itself, by (chain, token)."""
    table = schema.account_transactions
    claims = reads.distinct(engine, table, ("chain_id", "token_address", "symbol_claimed"), through)
    return {(int(chain_id), token): symbol for chain_id, token, symbol in claims if symbol}


def write_privately(path: Path, lines: Iterable[str]) -> int:
    """Write the lines to a file that only its owner may read, all or nothing; returns how many."""
    count = 0
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            for line in lines:
                file.write(line + "\n")
                count += 1
        except BaseException:
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)
    return count
