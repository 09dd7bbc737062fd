"""`open_lots` and `realised_gains` as assets: day by day as from scratch, and what happens when the books change.

Not here: the rules of lots (domain/ledger/test_lots.py).
"""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import ASSETS_PREFIX, AddressBook
from defiyield_assets.domain.ledger.lots import LotBook, asset_balances, by_day, fold
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import write_transaction
from defiyield_assets_tests.installations import FIRST, LOOP_DAYS, Installation, Loop, day_after, failed_steps

LAST = day_after(FIRST, LOOP_DAYS - 1)
STEP = ["open_lots", "realised_gains"]


@pytest.fixture
def after_loop(closed_loop: Loop, tmp_path: Path) -> Installation:
    """A copy of the state after the closed loop, to change it."""
    return closed_loop.installation.copy_to(tmp_path / "state")


def hashes(installation: Installation, day: date | None = None) -> tuple[str, str]:
    """Content of both tables."""
    return installation.fingerprint(schema.open_lots, day), installation.fingerprint(schema.realised_gains, day)


def test_lots_add_up_to_the_asset_accounts_after_every_day(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    for day in closed_loop.days:
        books = asset_balances(reads.trial_balance(installation.engine, day, ASSETS_PREFIX))
        held: dict[tuple[int, str], int] = {}
        for row in installation.rows(schema.open_lots, day).to_dict("records"):
            at = (row["chain_id"], row["token_address"])
            held[at] = held.get(at, 0) + row["amount"]
            assert row["acquired_on"] <= day
            assert row["amount"] > 0
        assert held
        assert held == {key: units for key, units in books.items() if key in held}
        prices = Prices(installation.warehouse.policy(day).token_by_address(), {}, {})
        assert set(held) == {key for key, units in books.items() if units and prices.is_trusted(*key)}


def test_days_one_by_one_give_what_a_single_pass_over_all_postings_gives(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    policy, contracts = installation.warehouse.policy(LAST), installation.warehouse.contracts(LAST)
    prices, book = Prices(policy.token_by_address(), {}, {}), AddressBook.of(policy, contracts)
    whole = LotBook(lambda chain, token: prices.is_trusted(chain, token) and not book.pool_of_share(chain, token))
    gains = fold(whole, by_day(installation.rows(schema.ledger_postings)))
    columns = [column.name for column in schema.open_lots.columns]
    assert installation.rows(schema.open_lots, LAST)[columns].values.tolist() == whole.open_lots(LAST).values.tolist()
    stored = installation.rows(schema.realised_gains)
    key = ["date", "disposal_id", "lot_id"]
    assert (
        stored.sort_values(key)[list(gains.columns)].values.tolist()
        == gains.sort_values(key)[list(gains.columns)].values.tolist()
    )


def test_gas_of_the_days_is_what_was_disposed_of(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    postings, gains = installation.rows(schema.ledger_postings), installation.rows(schema.realised_gains)
    for day in closed_loop.days:
        spent = postings[(postings["date"] == day) & (postings["account"] == "expenses:gas")]
        gone = gains[(gains["date"] == day) & (gains["disposed_by"] == "gas")]
        assert sum(gone["amount"]) == sum(spent["amount"])
        assert sum(gone["proceeds_usd"], Decimal(0)) == sum(spent["valued_usd"], Decimal(0))
    assert sum(postings.loc[postings["date"] > FIRST, "account"] == "expenses:gas") > 10


def test_a_day_again_changes_nothing(after_loop: Installation) -> None:
    before = hashes(after_loop)
    for day in (FIRST, day_after(FIRST, 2), LAST):
        after_loop.run(day, STEP)
        assert hashes(after_loop) == before


def test_lots_that_are_not_those_of_the_books_start_over(after_loop: Installation) -> None:
    """Lost, or wrong by a unit: both are found by the trial balance and made again from the first posting."""
    before, gains = hashes(after_loop, LAST), after_loop.fingerprint(schema.realised_gains)
    lots = after_loop.rows(schema.open_lots, day_after(LAST, -1))
    lots.at[0, "amount"] += 1
    writes.upsert(after_loop.engine, schema.open_lots, lots.head(1))
    after_loop.run(LAST, STEP)
    assert hashes(after_loop, LAST) == before
    with write_transaction(after_loop.engine, "open_lots") as connection:
        connection.execute(schema.open_lots.delete())
        connection.execute(schema.realised_gains.delete())
    after_loop.run(LAST, STEP)
    assert hashes(after_loop, LAST) == before
    assert after_loop.fingerprint(schema.realised_gains) == gains, "of the days before, too"


def test_lots_that_do_not_add_up_are_refused(after_loop: Installation) -> None:
    """A trial balance that is not the sum of the postings: nothing is written."""
    balances = after_loop.rows(schema.trial_balance).sort_values("date")
    own = balances[(balances["account"].str.startswith(ASSETS_PREFIX)) & (balances["token_address"] == "native")]
    newest = own.tail(1)
    writes.upsert(after_loop.engine, schema.trial_balance, newest.assign(balance=newest["balance"] + 1))
    before = hashes(after_loop)
    result = after_loop.run(LAST, STEP, raise_on_error=False)
    assert failed_steps(result) == {"lots"}
    assert hashes(after_loop) == before
    outcome = after_loop.rows(schema.asset_outcomes, LAST)
    reasons = outcome.loc[outcome["asset"] == "lots", "reason"].tolist()
    assert any("do not add up to the asset accounts" in reason for reason in reasons), reasons


def reversed_posting(row: dict[str, Any], day: date, leg: int, account: str) -> dict[str, Any]:
    """A leg that takes another one back, booked on a day."""
    return {
        **row,
        "tx_hash": f"correction:{day}:{row['tx_hash']}",
        "kind": "correction",
        "ordinal": 0,
        "leg": leg,
        "date": day,
        "account": account,
        "amount": -row["amount"] if account == row["account"] else row["amount"],
        "corrects": row["tx_hash"],
    }


def test_a_correction_goes_back_into_the_lots_that_are_stored(after_loop: Installation) -> None:
    """Gas that was none, as if the vendor had told it wrongly: its ETH is in its lots again, its gain is taken back."""
    engine = after_loop.engine
    postings = after_loop.rows(schema.ledger_postings, day_after(FIRST, 1))
    gas = postings[postings["account"] == "expenses:gas"].iloc[[0]]
    row = gas.to_dict("records")[0]
    wallet = postings[(postings["tx_hash"] == row["tx_hash"]) & (postings["amount"] == -row["amount"])].to_dict(
        "records"
    )[0]
    legs = [
        reversed_posting(row, LAST, 0, row["account"]),
        reversed_posting(wallet, LAST, 1, wallet["account"]),
    ]
    rows = [tuple(leg[name] for name in LEDGER_POSTINGS) for leg in legs]
    writes.upsert(engine, schema.ledger_postings, make_frame(LEDGER_POSTINGS, rows))
    balances = reads.trial_balance(engine, LAST)
    for leg in legs:
        own = (balances["account"] == leg["account"]) & (balances["token_address"] == "native")
        at = balances[own].index[0]
        balances.at[at, "balance"] += leg["amount"]
        balances.at[at, "date"] = LAST
        writes.upsert(engine, schema.trial_balance, balances.loc[[at]])
    before = after_loop.rows(schema.realised_gains)
    undone = before[before["disposal_id"].str.startswith(row["tx_hash"]) & (before["disposed_by"] == "gas")]
    result = after_loop.run(LAST, STEP)
    assert result.success
    back = after_loop.rows(schema.realised_gains, LAST)
    back = back[back["disposal_id"].str.startswith("correction:")]
    assert sum(back["amount"]) == -row["amount"] == -sum(undone["amount"])
    assert sorted(back["lot_id"]) == sorted(undone["lot_id"])
    made = result.asset_materializations_for_node("lots")
    notes = [item.metadata["notes"].value for item in made if "notes" in item.metadata]
    assert any(f"{row['amount']} of them back into their lots" in note for listed in notes for note in listed)
    assert reads.read_days(engine, schema.open_lots, DayRange.of(LAST)).empty is False
