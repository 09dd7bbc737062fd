"""Corrections: whatever becomes known later, the books end where they would be had it been known all along.

Not here: books in a warehouse, day after day (orchestration/test_books.py).
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.booking import Bookkeeper
from defiyield_assets.domain.ledger.checks import find_unbalanced
from defiyield_assets.domain.ledger.corrections import (
    changed_addresses,
    facts_of,
    find_corrections,
    fingerprint,
    has_other_wallets,
)
from defiyield_assets.domain.ledger.postings import PostingRow, PostingWriter, post
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.transactions import Transaction, read_transactions
from defiyield_assets.domain.ledger.trial_balance import TrialBalance, adopt
from defiyield_assets.domain.policy import Wallet
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    START,
    STRANGER,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    golden_chain,
    make_contracts,
    make_policy,
    make_prices,
    mint,
    usd,
)
from defiyield_assets_tests.domain.ledger.test_trial_balance import DRAWN, TRANSACTIONS, random_chain

POLICY = make_policy()
CONTRACTS = make_contracts()
PRICES = make_prices(POLICY)
FIX = START + timedelta(days=9)


def book_of(pools: Iterable[str], wallets: Iterable[str] = (COLD, WARM)) -> AddressBook:
    """The address book with some of the pools and wallets."""
    policy = replace(POLICY, wallets=tuple(Wallet(at, 1, at, investable=False) for at in wallets))
    return AddressBook.of(policy, CONTRACTS[CONTRACTS["pool_id"].isin(list(pools))])


class Ledger:
    """Books as they were kept: postings, what the accounts hold, corrections so far."""

    def __init__(self) -> None:
        self.rows: list[PostingRow] = []
        self.corrected: list[PostingRow] = []
        self.written = TrialBalance()

    def book(self, transactions: Iterable[Transaction], book: AddressBook) -> None:
        """Book everything under its own day."""
        keeper, writer = Bookkeeper(book, PRICES.is_trusted), PostingWriter(book, PRICES)
        for transaction in transactions:
            own = list(writer.rows(transaction, keeper.book(transaction)))
            post(self.written, own)
            self.rows += own

    def correct(self, transactions: list[Transaction], book: AddressBook, day: date) -> list[PostingRow]:
        """Correct what would be booked otherwise now; the books then remember what they should."""
        keeper = Bookkeeper(book, PRICES.is_trusted)
        made = find_corrections(
            in_order(transactions),
            sorted(self.rows, key=lambda row: (row[5], row[0], row[6])),
            self.corrected,
            keeper=keeper,
            writer=PostingWriter(book, PRICES),
            day=day,
        )
        post(self.written, made)
        self.corrected += made
        assert adopt(self.written, keeper.balances) == []
        return made


def in_order(transactions: Iterable[Transaction]) -> list[Transaction]:
    return sorted(transactions, key=lambda one: (one.day, one.chain_id, one.block_number))


def held(balances: TrialBalance) -> dict[tuple[int, str, str, str, str], tuple[int, bool]]:
    """What is held where and whether it was debited; without accounts that hold nothing and never got anything."""
    found = {account: balances.get(account) for account in balances}
    return {at: (one.amount, one.was_debited) for at, one in found.items() if one and (one.amount or one.was_debited)}


def from_scratch(transactions: Iterable[Transaction], book: AddressBook) -> TrialBalance:
    keeper = Bookkeeper(book, PRICES.is_trusted)
    for transaction in transactions:
        keeper.book(transaction)
    return keeper.balances


POOLS = st.sets(st.sampled_from(["vault", "other", "pair"]))
WALLETS = st.sampled_from([(COLD, WARM), (WARM,), (COLD, WARM, BANK)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=TRANSACTIONS, pools=st.tuples(POOLS, POOLS), wallets=st.tuples(WALLETS, WALLETS), data=st.data())
def test_whatever_becomes_known_later_ends_as_if_it_had_been_known(
    drawn: DRAWN,
    pools: tuple[set[str], set[str]],
    wallets: tuple[tuple[str, ...], tuple[str, ...]],
    data: st.DataObject,
) -> None:
    frame = random_chain(drawn).frame()
    books = [book_of(*known) for known in zip(pools, wallets, strict=True)]
    late = data.draw(st.sets(st.integers(0, max(0, len(frame) - 1)), max_size=4))
    at_first = frame.iloc[[at for at in range(len(frame)) if at not in late]]
    ledger = Ledger()
    ledger.book(read_transactions(at_first, books[0]), books[0])
    transactions = [list(read_transactions(frame, book)) for book in books]
    made = ledger.correct(transactions[1], books[1], FIX)
    assert held(ledger.written) == held(from_scratch(transactions[1], books[1]))
    assert find_unbalanced(make_frame(LEDGER_POSTINGS, made)) == []
    assert {row[1] for row in made} == {f"correction:{FIX}:{row[18]}" for row in made}
    assert ledger.correct(transactions[1], books[1], FIX + timedelta(days=1)) == [], "once is enough"
    back = FIX + timedelta(days=2)
    ledger.correct(transactions[0], books[0], back)
    assert held(ledger.written) == held(from_scratch(transactions[0], books[0]))


def test_a_correction_names_what_it_corrects_and_where_that_stands() -> None:
    chain, few = golden_chain(), book_of(["other"])
    transactions = list(read_transactions(chain.frame(), few))
    ledger = Ledger()
    ledger.book(transactions, few)
    made = make_frame(LEDGER_POSTINGS, ledger.correct(transactions, book_of(["other", "vault"]), FIX))
    deposit = next(one for one in transactions if any(move.receiver == VAULT for move in one.movements))
    assert set(made["corrects"]) == {deposit.tx_hash}
    assert set(made["tx_hash"]) == {f"correction:{FIX}:{deposit.tx_hash}"}
    assert (set(made["kind"]), set(made["classification"])) == ({"correction"}, {"deposit"})
    assert (set(made["date"]), set(made["block_number"])) == ({FIX}, {deposit.block_number})
    assert (set(made["block_time"]), set(made["pool_id"].dropna())) == ({pd.Timestamp(deposit.block_time)}, {"vault"})
    assert list(made["leg"]) == list(range(len(made)))
    at = made.set_index(["account", "token_address"])
    assert at.loc[("assets:pool:vault", USDC), ["amount", "valued_usd", "decimals"]].tolist() == [usd(4_000), 4_000, 6]
    assert at.loc[("assets:pool:vault", VAULT_SHARE), ["amount", "valued_usd"]].tolist() == [3_800 * 10**18, 0]
    assert at.loc[(f"assets:wallet:{WARM}", VAULT_SHARE), "amount"] == -3_800 * 10**18
    assert (f"assets:wallet:{WARM}", USDC) not in at.index, "what was right is not booked again"


def test_what_was_paid_before_a_pool_was_listed_is_forgotten_as_unexplained() -> None:
    chain = Chain()
    chain.send((USDC, BANK, WARM, usd(10)))
    chain.send((USDC, WARM, STRANGER, usd(10)), mint(VAULT_SHARE, WARM, 5), sender=WARM)
    few, both = book_of([]), book_of(["vault"])
    ledger = Ledger()
    ledger.book(read_transactions(chain.frame(), few), few)
    assert ledger.written.was_debited(1, "equity:unexplained", STRANGER)
    ledger.correct(list(read_transactions(chain.frame(), both)), both, FIX)
    assert not ledger.written.was_debited(1, "equity:unexplained", STRANGER)


def test_transactions_that_a_later_day_corrected_stay_as_they_were() -> None:
    chain, few, both = golden_chain(), book_of(["other"]), book_of(["other", "vault"])
    transactions = list(read_transactions(chain.frame(), few))
    ledger = Ledger()
    ledger.book(transactions, few)
    deposit = next(one for one in transactions if any(move.receiver == VAULT for move in one.movements))
    kept = {(1, deposit.tx_hash): [row for row in ledger.rows if row[1] == deposit.tx_hash]}
    keeper = Bookkeeper(both, PRICES.is_trusted)
    made = find_corrections(
        transactions, ledger.rows, [], keeper=keeper, writer=PostingWriter(both, PRICES), day=FIX, kept=kept
    )
    assert made == []
    assert held(keeper.balances) == held(ledger.written)


@pytest.mark.parametrize("is_known_at_first", [True, False])
def test_a_transaction_that_is_told_no_more_is_taken_back(is_known_at_first: bool) -> None:
    chain, book = golden_chain(), book_of(["vault", "other"])
    extra = chain.send((USDC, BANK, COLD, usd(7)))
    every = list(read_transactions(chain.frame(), book))
    fewer = [one for one in every if one.tx_hash != extra]
    ledger = Ledger()
    ledger.book(every if is_known_at_first else fewer, book)
    for number, known in enumerate([every, fewer, every, fewer]):
        made = ledger.correct(known, book, FIX + timedelta(days=number))
        assert {row[18] for row in made} <= {extra}
        assert held(ledger.written) == held(from_scratch(known, book))
    assert made, "the last telling took it back again"


# --- what days rest on ---------------------------------------------------------------------------------------------
def test_facts_tell_apart_what_matters_and_name_the_addresses() -> None:
    tokens = [("Ethereum", USDC)]
    before, after = facts_of(book_of(["vault"]), tokens), facts_of(book_of(["vault", "other"]), tokens)
    assert fingerprint(before) == fingerprint(facts_of(book_of(["vault"]), list(tokens)))
    assert fingerprint(before) != fingerprint(after)
    contracts = CONTRACTS.set_index("pool_id")
    assert changed_addresses(before, after) == set(contracts.loc["other", ["share_token", "contract"]])
    assert not has_other_wallets(before, after)
    assert has_other_wallets(before, facts_of(book_of(["vault"], [COLD]), tokens))
    assert changed_addresses(before, facts_of(book_of(["vault"]), [])) == {USDC}
