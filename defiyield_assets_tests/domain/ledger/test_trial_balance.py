"""The trial balance is all that booking remembers: whatever the ranges and chunks, the rows are the same.

Not here: what a transaction is booked as (test_postings.py), books in a warehouse (orchestration/test_books.py).
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.booking import LARGEST, Bookkeeper
from defiyield_assets.domain.ledger.checks import find_negative_balances, find_unbalanced, find_unbalanced_accounts
from defiyield_assets.domain.ledger.postings import PostingRow, PostingWriter, book_days, build_postings, close_day
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.transactions import Transaction, read_transactions
from defiyield_assets.domain.ledger.trial_balance import Balance, TrialBalance, adopt, advance
from defiyield_assets_tests.domain.ledger.books import trial_balance_of
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    CRV,
    DAI,
    FAKE_USDC,
    GAS_WEI,
    NATIVE,
    OTHER,
    OTHER_SHARE,
    ROUTER,
    START,
    STRANGER,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    ZERO_ADDRESS,
    Chain,
    golden_chain,
    make_contracts,
    make_policy,
    make_prices,
    mint,
    totals,
    usd,
)

POLICY = make_policy()
CONTRACTS = make_contracts()
PRICES = make_prices(POLICY)
BOOK = AddressBook.of(POLICY, CONTRACTS)
KEY = ["chain_id", "tx_hash", "kind", "ordinal", "leg"]
KEY_OF_BALANCE = ["chain_id", "account", "wallet", "counterparty", "token_address"]

ADDRESSES = [COLD, WARM, BANK, STRANGER, ROUTER, VAULT, OTHER, ZERO_ADDRESS]
TOKENS = [USDC, DAI, CRV, FAKE_USDC, VAULT_SHARE, OTHER_SHARE, NATIVE]
MOVES = st.tuples(
    st.sampled_from(TOKENS), st.sampled_from(ADDRESSES), st.sampled_from(ADDRESSES), st.integers(0, 2**256 - 1)
)
DRAWN = list[tuple[list[tuple[str, str, str, int]], str | None, int, int, int]]
TRANSACTIONS = st.lists(
    st.tuples(
        st.lists(MOVES, max_size=4),
        st.sampled_from([None, COLD, WARM, BANK]),
        st.integers(0, 3),
        st.integers(0, 2),
        st.sampled_from([1, 10]),
    ),
    max_size=10,
)


def random_chain(drawn: DRAWN) -> Chain:
    """Transactions of two chains, some of them in one block."""
    chain = Chain()
    for moves, sender, day, together, chain_id in sorted(drawn, key=lambda item: item[2]):
        block = 1_000 * day + 100 + together
        chain.send(*moves, sender=sender, day=day, block=block, chain_id=chain_id, success=together != 1)
    return chain


def writer() -> PostingWriter:
    return PostingWriter(BOOK, PRICES)


def in_order(chain: Chain) -> list[Transaction]:
    return list(read_transactions(chain.frame(), BOOK))


def from_scratch(chain: Chain) -> pd.DataFrame:
    return build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=PRICES)


def as_frame(rows: Sequence[PostingRow]) -> pd.DataFrame:
    return make_frame(LEDGER_POSTINGS, sorted(rows, key=lambda row: row[:5]))


# --- ranges --------------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=TRANSACTIONS, data=st.data())
def test_booking_that_resumes_anywhere_makes_the_same_rows(drawn: DRAWN, data: st.DataObject) -> None:
    chain = random_chain(drawn)
    transactions, whole = in_order(chain), from_scratch(chain)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(transactions)))))
    known, rows = TrialBalance().frame(START), list[PostingRow]()
    for first, last in pairwise([0, *cuts, len(transactions)]):
        keeper = Bookkeeper.resume(BOOK, PRICES.is_trusted, known)
        for transaction in transactions[first:last]:
            rows += writer().rows(transaction, keeper.book(transaction))
        stored = keeper.balances.frame(START).sample(frac=1, random_state=len(rows))
        known = stored.reset_index(drop=True)
    pd.testing.assert_frame_equal(as_frame(rows), whole)
    assert find_unbalanced_accounts(known) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=TRANSACTIONS, size=st.integers(1, 40), data=st.data())
def test_chunks_of_any_size_hold_the_same_rows_and_balances(drawn: DRAWN, size: int, data: st.DataObject) -> None:
    chain = random_chain(drawn)
    ordered = sorted(in_order(chain), key=lambda one: (one.day, one.chain_id, one.block_number))
    keeper = Bookkeeper(BOOK, PRICES.is_trusted)
    last = START + timedelta(days=data.draw(st.integers(max([0, *((one.day - START).days for one in ordered)]), 4)))
    chunks = list(
        book_days(ordered, keeper=keeper, writer=writer(), written=keeper.balances, last=last, chunk_rows=size)
    )
    chunks.append(close_day(last, [], writer=writer(), written=keeper.balances))
    whole = from_scratch(chain)
    assert_same_rows([chunk.postings for chunk in chunks], [whole], KEY)
    shuffled = whole.iloc[data.draw(st.permutations(range(len(whole))))]
    trial = TrialBalance()
    expected = [advance(trial, shuffled[shuffled["date"] == day], day) for day in sorted(set(whole["date"]))]
    assert_same_rows([chunk.trial_balance for chunk in chunks], expected, [*KEY_OF_BALANCE, "date"])


def assert_same_rows(mine: Sequence[pd.DataFrame], theirs: Sequence[pd.DataFrame], key: list[str]) -> None:
    """The same rows in key order, however they are divided."""
    left, right = (
        pd.concat(frames, ignore_index=True).sort_values(key, ignore_index=True) if any(map(len, frames)) else None
        for frames in (mine, theirs)
    )
    if left is None or right is None:
        assert left is right
    else:
        pd.testing.assert_frame_equal(left, right)


def test_a_trial_balance_survives_being_stored() -> None:
    keeper = Bookkeeper(BOOK, PRICES.is_trusted)
    for transaction in in_order(golden_chain()):
        keeper.book(transaction)
    again = TrialBalance.of(keeper.balances.frame(START))
    assert {account: again.get(account) for account in again} == {
        account: keeper.balances.get(account) for account in keeper.balances
    }
    assert set(again.in_pool(1, WARM, "vault")) == {USDC, VAULT_SHARE}
    assert set(again.taken_by_pool(1, "vault")) == {USDC, VAULT_SHARE}
    assert again.held(1, USDC) == usd(10_000)
    assert not again.was_debited(1, f"equity:external:{BANK}", BANK)


def test_accounts_name_pool_counterparty_and_whether_something_was_booked_into_them() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, STRANGER, usd(5)), sender=WARM)
    chain.send((USDC, WARM, VAULT, usd(6)), sender=WARM)
    trial = trial_balance_of(from_scratch(chain), START).set_index(["account", "token_address"])
    paid = trial.loc[(f"equity:external:{STRANGER}", USDC)]
    assert (paid["counterparty"], paid["balance"], paid["was_debited"]) == (STRANGER, usd(5), True)
    lost = trial.loc[("equity:unexplained", USDC)]
    assert (lost["counterparty"], lost["balance"], lost["was_debited"]) == (VAULT, usd(6), True)
    assert not trial.loc[(f"equity:external:{BANK}", USDC), "was_debited"]
    assert trial.loc[("assets:pool:vault", USDC), "pool_id"] == "vault"
    assert trial.loc[("assets:pool:vault", USDC), "wallet"] == WARM
    assert trial.loc[("expenses:gas", NATIVE), "pool_id"] is None
    assert (trial.loc[("expenses:gas", NATIVE), "wallet"], trial.loc[("expenses:gas", NATIVE), "counterparty"]) == (
        "",
        "",
    )


@pytest.mark.parametrize(("legs", "is_debited"), [([10, -3], True), ([3, -3], False), ([-10, 3], False), ([], False)])
def test_an_account_was_debited_when_a_transaction_left_something_in_it(legs: list[int], is_debited: bool) -> None:
    account, trial = (1, f"equity:external:{BANK}", "", BANK, USDC), TrialBalance()
    trial.post(account, -50, 6, None)
    trial.end_transaction()
    for amount in legs:
        trial.post(account, amount, 6, None)
    trial.end_transaction()
    found = trial.get(account)
    assert found is not None
    assert (found.was_debited, trial.was_debited(1, account[1], BANK)) == (is_debited, is_debited)


def test_who_was_paid_in_one_token_is_remembered_when_another_is_forgotten() -> None:
    trial, name = TrialBalance(), f"equity:external:{BANK}"
    for token in (USDC, DAI):
        trial.set((1, name, "", BANK, token), Balance(1, was_debited=True))
    trial.set((1, name, "", BANK, USDC), Balance(4))
    assert trial.was_debited(1, name, BANK)
    assert (trial.held(1, USDC), trial.held(1, DAI)) == (4, 1)


def test_decimals_are_the_most_that_were_claimed_in_whatever_order() -> None:
    account, found = (1, "assets:wallet:x", "x", "", FAKE_USDC), []
    for claims in ([6, 18, 9], [18, 6, 9]):
        trial = TrialBalance()
        for claimed in claims:
            trial.post(account, 1, claimed, None)
        found += trial.end_day(START)
    assert [row[6:] for row in found] == [(3, False, 18, None)] * 2


def test_adopting_tells_what_cannot_be_explained_and_takes_over_who_was_paid() -> None:
    account, other = (1, "equity:unexplained", "", VAULT, USDC), (1, "assets:wallet:x", "x", "", USDC)
    written, right = TrialBalance(), TrialBalance()
    written.set(account, Balance(0, was_debited=True))
    right.set(other, Balance(5))
    assert adopt(written, right) == [(other, 0, 5)]
    assert not written.was_debited(1, "equity:unexplained", VAULT)
    assert [row[1:5] for row in written.end_day(START)] == [("equity:unexplained", "", VAULT, USDC)]


# --- hostile tokens ------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(
    moves=st.lists(
        st.tuples(
            st.sampled_from([COLD, WARM, BANK, STRANGER, VAULT]),
            st.sampled_from([COLD, WARM, BANK, STRANGER, VAULT]),
            st.sampled_from([1, LARGEST // 2, LARGEST - 1, LARGEST]),
            st.sampled_from([None, WARM]),
        ),
        max_size=12,
    )
)
def test_a_hostile_token_never_overflows_an_account_nor_a_wallet_below_zero(
    moves: list[tuple[str, str, int, str | None]],
) -> None:
    chain = Chain()
    chain.send((NATIVE, BANK, WARM, 10**18))
    for giver, taker, value, sender in moves:
        chain.send((FAKE_USDC, giver, taker, value), sender=sender)
    postings = from_scratch(chain)
    assert find_unbalanced(postings) == []
    running: dict[tuple[str, str], int] = {}
    for account, token, amount in zip(postings["account"], postings["token_address"], postings["amount"], strict=True):
        assert abs(amount) <= LARGEST
        running[account, token] = running.get((account, token), 0) + amount
    assert all(abs(amount) <= LARGEST for amount in running.values())
    assert find_negative_balances(postings) == []


# --- golden, with everything that may stand beside it ----------------------------------------------------------------
def crowded_golden_chain() -> Chain:
    """The golden case among a failed transaction, a spoofed dollar, a router of several legs, transfers to oneself."""
    chain = golden_chain()
    chain.send((USDC, WARM, VAULT, usd(3_999)), sender=WARM, success=False)
    chain.send((FAKE_USDC, STRANGER, WARM, usd(1_000_000)))
    chain.send((FAKE_USDC, WARM, STRANGER, usd(2_000_000)))
    chain.send((USDC, WARM, WARM, usd(123)), (NATIVE, WARM, WARM, 10**17), sender=WARM)
    chain.send((USDC, COLD, COLD, usd(1_000)))
    chain.send((VAULT_SHARE, WARM, WARM, 10**18), sender=WARM)
    chain.send(
        (USDC, WARM, ROUTER, usd(700)),
        (USDC, ROUTER, STRANGER, usd(20)),
        (USDC, STRANGER, ROUTER, usd(20)),
        (USDC, ROUTER, VAULT, usd(600)),
        (USDC, ROUTER, WARM, usd(100)),
        (VAULT_SHARE, ZERO_ADDRESS, ROUTER, 500 * 10**18),
        (VAULT_SHARE, ROUTER, WARM, 500 * 10**18),
        sender=WARM,
    )
    chain.send(
        (USDC, ROUTER, WARM, usd(600)),
        (VAULT_SHARE, WARM, ROUTER, 500 * 10**18),
        (VAULT_SHARE, ROUTER, ZERO_ADDRESS, 500 * 10**18),
        sender=WARM,
    )
    return chain


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(len(crowded_golden_chain().rows))), cut=st.integers(0, 20))
def test_golden_wealth_among_everything_else_in_any_order_and_any_split(order: Sequence[int], cut: int) -> None:
    frame = crowded_golden_chain().frame(order)
    transactions = list(read_transactions(frame, BOOK))
    first = Bookkeeper(BOOK, PRICES.is_trusted)
    rows = [row for one in transactions[:cut] for row in writer().rows(one, first.book(one))]
    second = Bookkeeper.resume(BOOK, PRICES.is_trusted, first.balances.frame(START))
    rows += [row for one in transactions[cut:] for row in writer().rows(one, second.book(one))]
    postings = as_frame(rows)
    sums = totals(postings)
    assert sums[f"assets:wallet:{COLD}", USDC] == usd(1_000)
    assert sums["assets:pool:other", USDC] == usd(1_000)
    assert sums[f"assets:wallet:{WARM}", USDC] == usd(4_000)
    assert sums["assets:pool:vault", USDC] + sums["income:yield:vault", USDC] == usd(4_000), "cost and what it earned"
    assert sums["income:yield:vault", USDC] < 0
    assert sums[f"equity:external:{BANK}", USDC] == -usd(10_000)
    assert sums["assets:pool:vault", VAULT_SHARE] == 3_800 * 10**18
    assert sums["expenses:gas", NATIVE] == 9 * GAS_WEI
    assert (f"assets:wallet:{WARM}", FAKE_USDC) not in sums
    assert set(postings["classification"]) >= {"failed", "UNTRUSTED_TOKEN", "wallet_transfer", "deposit", "withdrawal"}
    assert ("equity:unexplained", USDC) not in sums
    assert find_unbalanced(postings) == []
    assert find_negative_balances(postings) == []


def test_a_share_minted_to_a_router_and_handed_on_is_a_deposit() -> None:
    chain = golden_chain()
    through = chain.send(
        (USDC, WARM, ROUTER, usd(10)),
        (USDC, ROUTER, VAULT, usd(10)),
        (VAULT_SHARE, ZERO_ADDRESS, ROUTER, 10**18),
        (VAULT_SHARE, ROUTER, WARM, 10**18),
        mint(VAULT_SHARE, STRANGER, 10**17),
        sender=WARM,
    )
    postings = from_scratch(chain)
    own = postings[postings["tx_hash"] == through]
    assert set(own["classification"]) == {"deposit"}
    assert totals(own)["assets:pool:vault", USDC] == usd(10)
    assert totals(own)["assets:pool:vault", VAULT_SHARE] == 10**18
