"""The books in a warehouse: any split of the days, any order of telling, re-runs and corrections come to the same.

Not here: legs (domain/ledger/test_postings.py), chunks and corrections as pure functions
(domain/ledger/test_trial_balance.py, test_corrections.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Policy, Wallet
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.assets.ledger import book_open_days
from defiyield_assets.orchestration.verification import posting_violations
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    FAKE_USDC,
    NATIVE,
    OTHER_SHARE,
    ROUTER,
    STRANGER,
    SUSD,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
    golden_chain,
    mint,
    usd,
)
from defiyield_assets_tests.orchestration.kept_books import KeptBooks, day_at, facts_of, listed, open_books

LAST = 5
THIRD = "0x" + "7d" * 20


def busy_chain() -> Chain:
    """Four days: the golden case, spam, a router, exits, a claim, a failed and a lost transaction; then silence."""
    chain = golden_chain()
    chain.send((FAKE_USDC, STRANGER, WARM, usd(5_000)), day=1)
    chain.send((NATIVE, WARM, BANK, 10**17), sender=WARM, success=False, day=1)
    chain.send((USDC, VAULT, WARM, usd(1_050)), burn(VAULT_SHARE, WARM, 950 * 10**18), sender=WARM, day=2)
    chain.send((NATIVE, COLD, COLD, 10**16), sender=COLD, day=2)
    chain.send((FAKE_USDC, WARM, STRANGER, usd(9_000)), day=3)
    chain.send(
        (USDC, WARM, ROUTER, usd(300)), (USDC, ROUTER, WARM, usd(7)), (OTHER_SHARE, ROUTER, WARM, 280 * 10**18),
        sender=WARM, day=3,
    )  # fmt: skip
    chain.send(
        (USDC, WARM, ROUTER, usd(11)), mint(VAULT_SHARE, WARM, 10), mint(OTHER_SHARE, WARM, 10), sender=WARM, day=3
    )
    chain.send((USDC, ROUTER, WARM, usd(11)), day=3)
    chain.send((USDC, WARM, BANK, usd(500)), sender=WARM, day=3)
    chain.send((USDC, BANK, WARM, usd(200)), sender=WARM, day=3)
    return chain


@pytest.fixture
def kept(sqlite_warehouse: sa.Engine) -> KeptBooks:
    return KeptBooks(sqlite_warehouse)


def corrections(books: KeptBooks, number: int | None = None) -> pd.DataFrame:
    postings = books.postings(number)
    return postings[postings["kind"] == "correction"]


def of(engine: sa.Engine) -> KeptBooks:
    return KeptBooks(engine)


# --- the same whatever the split -----------------------------------------------------------------------------------
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.sets(st.integers(0, LAST - 1)))
def test_books_kept_on_any_days_equal_those_made_at_once(
    days: set[int], sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chain, folder = busy_chain(), tmp_path_factory.mktemp("split")
    split = open_books(folder / "split", sqlite_template).run(chain, [*sorted(days), LAST])
    whole = open_books(folder / "whole", sqlite_template).run(chain, [LAST])
    mine, theirs = split.fingerprints(valued=False), whole.fingerprints(valued=False)
    assert mine["ledger_postings"] == theirs["ledger_postings"]
    assert mine["trial_balance"] == theirs["trial_balance"]
    assert corrections(split).empty
    assert posting_violations(split.warehouse, day_at(LAST)) == []


def test_books_are_the_same_on_every_database(warehouse: sa.Engine, kept: KeptBooks) -> None:
    other = of(warehouse).run(busy_chain(), range(LAST + 1))
    assert other.fingerprints() == kept.run(busy_chain(), range(LAST + 1)).fingerprints()
    other.book(2)
    assert other.fingerprints() == kept.fingerprints()


@pytest.mark.parametrize("again", [[LAST], [3, 1], [0, 1, 2, 3, 4, LAST]])
def test_booking_any_day_again_changes_nothing(kept: KeptBooks, again: Sequence[int]) -> None:
    chain = busy_chain()
    before = kept.run(chain, range(LAST + 1)).fingerprints()
    for number in again:
        kept.tell(chain, LAST)
        kept.book(number)
        assert kept.fingerprints() == before


def test_a_day_that_nobody_booked_is_booked_with_the_next_under_its_own_date(kept: KeptBooks) -> None:
    booked = kept.run(busy_chain(), [0, 3]).book(3)
    assert (booked.basis.open, booked.basis.doubt) == (DayRange(day_at(1), day_at(3)), None)
    assert set(kept.postings()["date"]) == {day_at(0), day_at(1), day_at(2), day_at(3)}
    unvalued = kept.postings(2)["valued_usd"].isna()
    assert unvalued.all(), "nobody stored the closes of a day that did not run"


def test_a_token_without_a_close_is_booked_in_units_and_told_of(kept: KeptBooks) -> None:
    kept.tell(busy_chain(), LAST)
    kept.prepare(0)
    bars = reads.read_all(kept.engine, schema.daily_bars)
    others = bars[~bars["instrument_id"].str.endswith(USDC)]
    writes.replace_slice(kept.engine, schema.daily_bars, others, DayRange.of(day_at(0)))
    lacking = book_open_days(kept.warehouse, day_at(0)).lacking
    assert lacking == f"no close of USDC on {day_at(0)}: what moved of it is booked in units, without a value"
    in_units = kept.postings(0)
    assert in_units["valued_usd"].isna().tolist() == (in_units["token_address"] == USDC).tolist()
    assert kept.book(0).lacking is None, "the close has come"
    healed = kept.postings(0)
    assert healed["valued_usd"].notna().all()
    assert healed.drop(columns="valued_usd").equals(in_units.drop(columns="valued_usd"))


def test_a_first_day_that_was_lost_is_booked_as_it_was(kept: KeptBooks) -> None:
    """What was booked along with it, of days before, is still there, and does not pass for books of its own."""
    before = kept.run(busy_chain(), [3]).fingerprints()
    for table in (schema.ledger_postings, schema.trial_balance, schema.ledger_closings):
        empty = pd.DataFrame(columns=[column.name for column in table.columns])
        writes.replace_slice(kept.engine, table, empty, DayRange.of(day_at(3)))
    kept.book(3)
    assert kept.fingerprints() == before


def test_an_interrupted_booking_leaves_the_books_as_they_were(kept: KeptBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = busy_chain()
    before = kept.run(chain, [0, 1]).fingerprints()
    kept.tell(chain, 2)
    with monkeypatch.context() as patch:
        patch.setattr(
            "defiyield_assets.orchestration.assets.ledger.close_day",
            lambda *_, **__: (_ for _ in ()).throw(OSError("cut")),
        )
        with pytest.raises(OSError, match="cut"):
            kept.book(2)
    assert kept.fingerprints() == before
    kept.book(2)
    assert not kept.postings(2).empty


# --- what is known later -------------------------------------------------------------------------------------------
def from_scratch(chain: Chain, number: int, policy: Policy, template: Path, folder: Path) -> KeptBooks:
    """Books of somebody who knew it all from the beginning."""
    return open_books(folder / "scratch", template).run(chain, [number], policy)


def test_a_pool_that_is_listed_later_is_made_up_for(kept: KeptBooks, sqlite_template: Path, tmp_path: Path) -> None:
    chain, few = busy_chain(), listed(["other"])
    for number in range(3):
        kept.tell(chain, number)
        kept.book(number, few)
    before = kept.postings()
    deposit = before.loc[before["account"] == "equity:unexplained", "tx_hash"].iloc[0]
    kept.tell(chain, 3)
    booked = kept.book(3, listed())
    assert booked.basis.doubt is not None
    made = corrections(kept, 3)
    assert set(made["kind"]) == {"correction"}
    assert set(made["tx_hash"]) == {f"correction:{day_at(3)}:{old}" for old in made["corrects"]}
    mine = made[made["corrects"] == deposit].set_index(["account", "token_address"])
    original = before[before["tx_hash"] == deposit]
    assert mine.loc[("assets:pool:vault", USDC), "amount"] == usd(4_000)
    assert mine.loc[("equity:unexplained", USDC), "amount"] == -usd(4_000)
    assert (mine.loc[("equity:unexplained", USDC), "counterparty"], set(mine["wallet"].dropna())) == (VAULT, {WARM})
    assert set(mine["block_number"]) == set(original["block_number"])
    assert set(mine["block_time"]) == set(original["block_time"])
    assert set(mine["classification"]) == {"deposit"}
    assert kept.postings()[kept.postings()["date"] < day_at(3)].equals(before), "what is booked is never edited"
    assert kept.balances(3) == from_scratch(chain, 3, listed(), sqlite_template, tmp_path).balances(3)
    assert posting_violations(kept.warehouse, day_at(3)) == []
    kept.tell(chain, 4)
    assert kept.book(4).basis.doubt is None, "one pass is enough"
    scratch = open_books(tmp_path / "later", sqlite_template).run(chain, [4])
    assert kept.balances(4) == scratch.balances(4)


def test_a_wallet_that_is_added_later_brings_its_history_along(
    kept: KeptBooks, sqlite_template: Path, tmp_path: Path
) -> None:
    chain = busy_chain()
    moved = chain.send((USDC, COLD, THIRD, usd(100)), sender=COLD, day=2)
    later = listed(wallets=(*listed().wallets, Wallet("third", 1, THIRD, investable=False)))
    own = Chain(block=900)
    own.send((USDC, BANK, THIRD, usd(40)), day=1)
    own.rows += chain.rows
    kept.run(chain, range(4))
    kept.tell(own, 4)
    kept.book(4, later)
    made = corrections(kept, 4)
    assert moved in set(made["corrects"])
    assert kept.balances(4) == from_scratch(own, 4, later, sqlite_template, tmp_path).balances(4)
    assert kept.balances(4)[1, f"assets:wallet:{THIRD}", THIRD, "", USDC][0] == usd(140)
    assert posting_violations(kept.warehouse, day_at(4)) == []


def test_a_row_that_was_told_late_is_booked_when_it_is_known(
    kept: KeptBooks, sqlite_template: Path, tmp_path: Path
) -> None:
    late = busy_chain()
    hidden = late.send((USDC, BANK, COLD, usd(77)), day=1)
    prompt = late.frame()[late.frame()["tx_hash"] != hidden]
    kept.run(prompt, range(4))
    kept.tell(late, 4)
    booked = kept.book(4)
    assert "the chain told" in str(booked.basis.doubt)
    made = corrections(kept)
    assert set(zip(made["date"], made["corrects"], made["classification"], strict=True)) == {
        (day_at(4), hidden, "external_in")
    }
    assert sorted(made["amount"]) == [-usd(77), usd(77)]
    assert kept.balances(4) == from_scratch(late, 4, listed(), sqlite_template, tmp_path).balances(4)


@pytest.mark.parametrize("again", [1, 2, 3, 4])
def test_a_corrected_transaction_is_not_booked_twice_when_its_day_runs_again(kept: KeptBooks, again: int) -> None:
    late = busy_chain()
    hidden = late.send((USDC, BANK, COLD, usd(77)), day=1)
    for number in range(LAST + 1):
        kept.tell(late if number >= 3 else late.frame()[late.frame()["tx_hash"] != hidden], number)
        kept.book(number, listed(["other"]) if number < 3 else None)
    assert not corrections(kept, 3).empty
    assert corrections(kept, 4).empty
    before = kept.fingerprints()
    kept.book(again, listed(["other"]) if again < 3 else None)
    after = kept.fingerprints()
    assert (after["ledger_postings"], after["trial_balance"]) == (before["ledger_postings"], before["trial_balance"])


@pytest.mark.parametrize("number", [1, 2])
def test_corrections_outlast_the_repair_of_a_day_before_them(kept: KeptBooks, number: int) -> None:
    """A day that ran again is closed with what is known today: nothing about it looks as if it had been corrected."""
    late = busy_chain()
    hidden = late.send((USDC, BANK, COLD, usd(77)), day=1)
    kept.run(late.frame()[late.frame()["tx_hash"] != hidden], range(3))
    kept.run(late, [3])
    assert not corrections(kept, 3).empty
    before = kept.fingerprints()["ledger_postings"]
    for again in [*range(number, 4), 3]:
        kept.book(again)
        assert kept.fingerprints()["ledger_postings"] == before


def test_a_pool_that_is_listed_and_unlisted_again_ends_where_it_began(kept: KeptBooks) -> None:
    chain, few = busy_chain(), listed(["other"])
    for number, policy in enumerate([few, few, listed(), few, few]):
        kept.tell(chain, number)
        kept.book(number, policy)
    plain = Chain(rows=chain.rows)
    made = corrections(kept)
    assert set(made["date"]) == {day_at(2), day_at(3)}
    sums = made.groupby(["corrects", "account", "token_address"])["amount"].sum()
    old = [at for at in sums.index if at[0] in set(plain.frame().loc[plain.frame()["date"] < day_at(2), "tx_hash"])]
    assert set(sums[old]) == {0}


def test_a_pass_over_the_whole_history_keeps_the_accruals(kept: KeptBooks) -> None:
    chain, few = busy_chain(), listed(["other"])
    chain.send((SUSD, BANK, WARM, 10**20), day=1)
    growing = tuple(replace(token, rebasing=token.address == SUSD) for token in few.tokens)
    for number, policy in enumerate([few, few, few, listed(), listed()]):
        kept.tell(chain, number)
        kept.observe(number, {(WARM, SUSD): 10**20 + number * 10**15 if number else 0})
        booked = kept.book(number, replace(policy, tokens=growing))
    assert booked.basis.doubt is None
    accrued = kept.postings()[lambda rows: rows["kind"] == "accrual"]
    assert list(accrued.loc[accrued["account"] == f"assets:wallet:{WARM}", "amount"]) == [10**15] * 4
    assert kept.balances(4)[1, f"assets:wallet:{WARM}", WARM, "", SUSD][0] == 10**20 + 4 * 10**15
    assert not corrections(kept, 3).empty
    before = kept.fingerprints()
    kept.book(3, replace(listed(), tokens=growing))
    assert kept.fingerprints() == before
    assert posting_violations(kept.warehouse, day_at(3)) == []


def test_what_matters_to_nothing_that_happened_costs_no_pass(kept: KeptBooks) -> None:
    chain = busy_chain()
    kept.run(chain, [0, 1], listed(["vault", "other"]))
    kept.tell(chain, 2)
    assert kept.book(2, listed()).basis.doubt is None


def test_an_earlier_day_that_comes_out_otherwise_is_noticed_by_the_next(
    kept: KeptBooks, sqlite_template: Path, tmp_path: Path
) -> None:
    chain = busy_chain()
    kept.run(chain, range(4))
    replaced = facts_of(chain)
    less = [usd(1_040) if value == usd(1_050) else value for value in replaced["value"]]
    replaced["value"] = pd.Series(less, dtype=object)
    own = replaced[replaced["date"] == day_at(2)].reset_index(drop=True)
    writes.replace_slice(kept.engine, schema.account_transactions, own, DayRange.of(day_at(2)))
    kept.book(2)
    closings = reads.read_all(kept.engine, schema.ledger_closings).set_index("date")
    assert list(closings["is_overtaken"]) == [False, False, False, True]
    kept.tell(replaced, 4)
    assert "booked otherwise" in str(kept.book(4).basis.doubt)
    scratch = open_books(tmp_path, sqlite_template).run(replaced, [4])
    assert kept.balances(4) == scratch.balances(4)


def test_later_balances_follow_when_an_earlier_day_changes(kept: KeptBooks) -> None:
    chain = busy_chain()
    kept.run(chain, range(LAST + 1))
    extra = Chain(block=50)
    extra.send((USDC, BANK, WARM, usd(3)), day=2)
    writes.insert_missing(kept.engine, schema.account_transactions, facts_of(extra))
    before = kept.balances(LAST)
    kept.book(2)
    at = (1, f"assets:wallet:{WARM}", WARM, "", USDC)
    assert kept.balances(LAST)[at][0] == before[at][0] + usd(3)
    frame = reads.trial_balance(kept.engine, day_at(LAST))
    for _, own in frame.groupby("token_address"):
        assert sum(own["balance"]) == 0


def test_pending_postings_become_final_when_their_block_is_deep_enough(kept: KeptBooks) -> None:
    chain = busy_chain()
    kept.run(chain, [0, 1])
    kept.tell(chain, 2, is_pending=True)
    kept.book(2)
    assert kept.postings(2)["is_pending"].all()
    assert not kept.postings(0)["is_pending"].any()
    rows = reads.read_days(kept.engine, schema.account_transactions, DayRange.of(day_at(2)))
    writes.upsert(kept.engine, schema.account_transactions, rows.assign(is_pending=False))
    kept.tell(chain, 3)
    assert kept.book(3).basis.doubt is None
    assert not kept.postings()["is_pending"].any()
    before = kept.fingerprints()
    kept.book(2)
    assert kept.fingerprints() == before


# --- books from before the trial balance -----------------------------------------------------------------------------
def test_books_without_a_trial_balance_are_given_one(kept: KeptBooks, sqlite_template: Path, tmp_path: Path) -> None:
    chain = busy_chain()
    kept.run(chain, range(3))
    old = kept.postings().assign(counterparty=None)
    everything = DayRange(day_at(-9), day_at(9))
    writes.replace_slice(kept.engine, schema.ledger_postings, old, everything)
    for table in (schema.trial_balance, schema.ledger_closings):
        empty = pd.DataFrame(columns=[column.name for column in table.columns])
        writes.replace_slice(kept.engine, table, empty, everything)
    kept.tell(chain, 3)
    assert kept.book(3).basis.doubt is not None
    scratch = open_books(tmp_path, sqlite_template).run(chain, [3])
    assert kept.balances(3) == scratch.balances(3)
    assert corrections(kept).empty
    assert kept.book(3).basis.doubt is not None
    assert kept.balances(3) == scratch.balances(3)
    kept.tell(chain, 4)
    assert kept.book(4).basis.doubt is None


# --- checks, each broken on purpose --------------------------------------------------------------------------------
def spoil(books: KeptBooks, number: int, account: str, by: int, *, also: str | None = None) -> None:
    """Change a stored posting of the day (and another one back) behind everybody's back."""
    own = books.postings(number)
    for name, amount in ((account, by), (also, -by)):
        at = own.index[own["account"] == name]
        if len(at):
            own.loc[at[0], "amount"] += amount
    writes.replace_slice(books.engine, schema.ledger_postings, own, DayRange.of(day_at(number)))


def names(books: KeptBooks, number: int) -> set[str]:
    return {found.name for found in posting_violations(books.warehouse, day_at(number))}


def test_a_posting_that_is_off_by_one_unit_is_found(kept: KeptBooks) -> None:
    kept.run(busy_chain(), range(3))
    assert names(kept, 2) == set()
    spoil(kept, 2, "income:yield:vault", 1)
    assert names(kept, 2) == {"transaction_not_balanced"}


def test_a_balance_that_is_off_by_one_unit_is_found(kept: KeptBooks) -> None:
    kept.run(busy_chain(), range(3))
    rows = reads.read_days(kept.engine, schema.trial_balance, DayRange.of(day_at(2)))
    rows.loc[rows.index[0], "balance"] += 1
    writes.replace_slice(kept.engine, schema.trial_balance, rows, DayRange.of(day_at(2)))
    assert names(kept, 2) == {"ledger_not_balanced"}


def test_a_debt_within_the_day_is_found_although_it_is_paid_back(kept: KeptBooks) -> None:
    chain = golden_chain()
    chain.send((USDC, COLD, BANK, usd(1_001)), day=1)
    chain.send((USDC, BANK, COLD, usd(500)), day=1)
    kept.run(chain, range(2))
    assert names(kept, 0) == set()
    found = posting_violations(kept.warehouse, day_at(1))
    assert [(item.name, item.detail) for item in found] == [
        ("negative_balance", f"-1000000 after block {chain.block - 1}")
    ]


def test_the_first_booking_is_checked_back_to_the_first_block(kept: KeptBooks) -> None:
    chain = golden_chain()
    chain.send((USDC, COLD, BANK, usd(1_001)), day=1)
    chain.send((USDC, BANK, COLD, usd(500)), day=1)
    kept.run(chain, [3])
    assert names(kept, 3) == {"negative_balance"}


def test_books_that_nothing_explains_are_not_corrected_in_silence(kept: KeptBooks) -> None:
    chain = busy_chain()
    kept.run(chain, range(3), listed(["other"]))
    rows = reads.read_days(kept.engine, schema.trial_balance, DayRange.of(day_at(2)))
    rows.loc[rows.index[0], "balance"] += 1
    writes.replace_slice(kept.engine, schema.trial_balance, rows, DayRange.of(day_at(2)))
    before = kept.fingerprints()
    kept.tell(chain, 3)
    with pytest.raises(SuspiciousDataError, match="cannot be corrected"):
        kept.book(3, listed())
    assert kept.fingerprints() == before
