"""Reading the ledger: the newest balance of each account, and whether an address occurs.

Not here: streaming and long histories (test_long_histories.py), what balances mean (domain/ledger).
"""

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.store.frames import FIRST, example_frame

LARGEST = 2**256 - 1
NAMES = [column.name for column in schema.trial_balance.columns]


def balance(account: str, day: int, amount: int, **changes: Any) -> dict[str, Any]:
    """A row of `trial_balance`."""
    row = {"chain_id": 1, "account": account, "wallet": "", "counterparty": "", "token_address": "native"}
    held = {"date": FIRST + timedelta(days=day), "balance": amount, "was_debited": amount > 0, "decimals": 18}
    return {**row, **held, "pool_id": None, **changes}


@pytest.fixture
def books(warehouse: sa.Engine) -> sa.Engine:
    """Balances of three days, on both databases."""
    rows = [
        balance("assets:wallet:a", 0, LARGEST, wallet="a"),
        balance("assets:wallet:a", 2, 0, wallet="a"),
        balance("assets:wallet:a", 1, 9, wallet="a", token_address="0xt"),
        balance("assets_wallet:a", 1, 4),
        balance("equity:unexplained", 0, -LARGEST),
        balance("equity:unexplained", 1, 5, counterparty="0xc"),
        balance("equity:unexplained", 1, 6, chain_id=10),
    ]
    writes.upsert(warehouse, schema.trial_balance, pd.DataFrame(rows, columns=NAMES, dtype=object))
    return warehouse


def held(engine: sa.Engine, day: int, prefix: str = "") -> list[tuple[Any, ...]]:
    frame = reads.trial_balance(engine, FIRST + timedelta(days=day), prefix)
    assert list(frame.columns) == NAMES
    columns = ("chain_id", "account", "counterparty", "token_address", "balance")
    return list(frame[list(columns)].itertuples(index=False, name=None))


def test_the_newest_row_of_each_account_up_to_the_day_holds(books: sa.Engine) -> None:
    assert held(books, -1) == []
    assert held(books, 0) == [
        (1, "assets:wallet:a", "", "native", LARGEST),
        (1, "equity:unexplained", "", "native", -LARGEST),
    ]
    assert held(books, 1) == [
        (1, "assets:wallet:a", "", "0xt", 9),
        (1, "assets:wallet:a", "", "native", LARGEST),
        (1, "assets_wallet:a", "", "native", 4),
        (1, "equity:unexplained", "", "native", -LARGEST),
        (1, "equity:unexplained", "0xc", "native", 5),
        (10, "equity:unexplained", "", "native", 6),
    ]
    assert (1, "assets:wallet:a", "", "native", 0) in held(books, 2)


def test_accounts_are_chosen_by_the_beginning_of_their_name_and_not_by_a_pattern(books: sa.Engine) -> None:
    assert [row[1] for row in held(books, 2, "assets:")] == ["assets:wallet:a"] * 2
    assert [row[1] for row in held(books, 2, "assets_")] == ["assets_wallet:a"]
    assert held(books, 2, "%") == []


@pytest.mark.parametrize("column", ["token_address", "from_address", "to_address"])
def test_an_address_is_found_wherever_it_stands_up_to_the_day(warehouse: sa.Engine, column: str) -> None:
    rows = example_frame(schema.account_transactions, 3)
    rows[column] = ["0x1", "0x2", "0x3"]
    writes.upsert(warehouse, schema.account_transactions, rows)
    many = [f"0x{number}" for number in range(100, 900)]
    assert reads.moved_with(warehouse, FIRST + timedelta(days=1), [*many, "0x2"])
    assert not reads.moved_with(warehouse, FIRST + timedelta(days=1), [*many, "0x3"])
    assert not reads.moved_with(warehouse, FIRST + timedelta(days=9), [])
    assert reads.count_through(warehouse, schema.account_transactions, FIRST + timedelta(days=1)) == 2
