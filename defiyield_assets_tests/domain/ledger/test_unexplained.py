"""`unexplained_transactions`: what stays, what is resolved, and the hints."""

from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest

from defiyield_assets.domain.ledger.accounts import CLASSIFICATIONS, NATIVE, UNEXPLAINED_ACCOUNT
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.unexplained import hint_for, unexplained_transactions
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    CRV,
    START,
    STRANGER,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
    golden_chain,
    make_contracts,
    make_policy,
    make_prices,
    mint,
    usd,
)

POLICY = make_policy()
CONTRACTS = make_contracts()
PRICES = make_prices(POLICY)
NEXT = START + timedelta(days=1)


def book(chain: Chain) -> pd.DataFrame:
    return build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=PRICES)


def listed(postings: pd.DataFrame, contracts: pd.DataFrame = CONTRACTS) -> pd.DataFrame:
    return unexplained_transactions(NEXT, postings=postings, policy=POLICY, contracts=contracts)


def correction(of: pd.DataFrame, amount: int, token: str) -> pd.DataFrame:
    """A posting of the next day that takes something off equity:unexplained."""
    row = of[(of["account"] == UNEXPLAINED_ACCOUNT) & (of["token_address"] == token)].head(1)
    old = row["tx_hash"].iloc[0]
    value = Decimal(amount).scaleb(-6) if token == USDC else Decimal(0)
    return row.assign(
        tx_hash=f"correction:{NEXT}:{old}",
        corrects=old,
        date=NEXT,
        amount=pd.Series([amount], index=row.index, dtype=object),
        valued_usd=pd.Series([value], index=row.index, dtype=object),
        classification="deposit",
    )


def test_money_in_a_pool_that_nobody_listed_is_there_every_day_with_a_hint() -> None:
    chain = golden_chain()
    tx = chain.send((USDC, WARM, STRANGER, usd(100)), mint(CRV, WARM, 5), sender=WARM)
    rows = listed(book(chain))
    assert list(zip(rows["tx_hash"], rows["token_address"], rows["amount"], strict=True)) == [
        (tx, USDC, -usd(100)),
        (tx, CRV, 5),
    ]
    money = rows.iloc[0]
    assert money["valued_usd"] == Decimal(-100)
    assert (money["symbol"], money["decimals"], money["booked_on"]) == ("USDC", 6, START)
    assert money["counterparty"] == STRANGER
    assert (money["classification"], set(rows["date"])) == ("unlisted_deposit", {NEXT})
    assert STRANGER in money["hint"]
    assert CRV in money["hint"]
    assert "pool_contracts" in money["hint"]
    assert (rows.iloc[1]["symbol"], rows.iloc[1]["valued_usd"]) == (None, 0)


def test_what_a_correction_explains_is_gone_and_what_it_leaves_stays_under_the_old_name() -> None:
    chain = golden_chain()
    tx = chain.send((USDC, WARM, STRANGER, usd(100)), mint(CRV, WARM, 5), sender=WARM)
    postings = book(chain)
    part = pd.concat([postings, correction(postings, -usd(40), USDC)], ignore_index=True)
    rows = listed(part)
    assert list(rows.loc[rows["token_address"] == USDC, "tx_hash"]) == [tx]
    assert list(rows.loc[rows["token_address"] == USDC, "amount"]) == [-usd(60)]
    assert list(rows.loc[rows["token_address"] == USDC, "valued_usd"]) == [Decimal(-60)]
    assert list(rows.loc[rows["token_address"] == USDC, "booked_on"]) == [START]
    whole = pd.concat(
        [correction(postings, 5, CRV), postings, correction(postings, -usd(100), USDC)], ignore_index=True
    )
    assert listed(whole).empty
    before = unexplained_transactions(START, postings=whole, policy=POLICY, contracts=CONTRACTS)
    assert len(before) == 2


def test_values_that_are_not_known_are_null_and_several_counterparties_too() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, STRANGER, usd(60)), (USDC, WARM, BANK, usd(40)), mint(CRV, WARM, 5), sender=WARM)
    postings = book(chain)
    rows = listed(postings)
    assert rows.iloc[0]["counterparty"] is None
    assert rows.iloc[0]["valued_usd"] == Decimal(-100)
    assert "several addresses" in rows.iloc[0]["hint"]
    unpriced = postings.assign(valued_usd=pd.Series([None] * len(postings), dtype=object))
    assert listed(unpriced).iloc[0]["valued_usd"] is None


def test_shares_without_their_underlying_ask_for_an_opening_and_other_accounts_are_not_listed() -> None:
    chain = golden_chain()
    assert listed(book(chain)).empty
    chain.send((VAULT_SHARE, STRANGER, WARM, 5))
    rows = listed(book(chain))
    assert list(rows["token_address"]) == [VAULT_SHARE]
    assert "opening" in rows.iloc[0]["hint"]
    late = golden_chain()
    late.send((USDC, VAULT, WARM, usd(5)), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM)
    late.send(sender=WARM, internal=[(STRANGER, WARM, 9)])
    rows = listed(book(late))
    assert list(zip(rows["token_address"], rows["amount"], strict=True)) == [(NATIVE, 9)]
    assert STRANGER in rows.iloc[0]["hint"]


@pytest.mark.parametrize("classification", CLASSIFICATIONS)
@pytest.mark.parametrize("gained", [1, -1])
def test_every_classification_has_a_hint_that_names_who_and_what(classification: str, gained: int) -> None:
    hint = hint_for(classification, gained, STRANGER, [CRV])
    assert STRANGER in hint
    assert hint_for(classification, gained, None, [])
    if classification in {"unlisted_deposit", "unlisted_withdrawal", "untrusted_swap", "borrow", "repay", "wrap"}:
        assert CRV in hint


def test_hints_tell_money_that_came_from_money_that_went() -> None:
    assert "came from" in hint_for("unexplained", 1, STRANGER, [])
    assert "went to" in hint_for("unexplained", -1, STRANGER, [])
    assert "opening" in hint_for("withdrawal", 1, VAULT, [])
    assert "debts" in hint_for("repay", -1, STRANGER, [])
