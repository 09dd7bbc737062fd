"""What a node is asked about shares, what becomes of its answers, and what must hold of positions beside the chain."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.classify import Holding
from defiyield_assets.domain.ledger.position_checks import find_positions_beside_the_chain, find_rate_jumps
from defiyield_assets.domain.ledger.rates import daily_factor
from defiyield_assets.domain.ledger.share_rates import (
    ShareAnswer,
    ShareQuestion,
    ShareToken,
    ToldRates,
    share_questions,
    share_rates,
    share_tokens,
)
from defiyield_assets.domain.ledger.tables import SHARE_RATES
from defiyield_assets.store import schema
from defiyield_assets.store.validation import frame_schema
from defiyield_assets_tests.domain.ledger.facts import (
    COLD,
    DAI,
    OTHER_SHARE,
    PAIR_SHARE,
    START,
    USDC,
    VAULT_SHARE,
    WARM,
    make_contracts,
    make_policy,
)

STAMP = datetime(2025, 6, 3, 0, 30, tzinfo=UTC)
NO_APYS = pd.DataFrame(columns=["pool_id", "date", "apy"])
BOOK = AddressBook.of(make_policy(), make_contracts())
MOST = 2**256 - 1


def contracts_with_a_rebasing_pool() -> pd.DataFrame:
    contracts = make_contracts()
    contracts["is_rebasing"] = contracts["pool_id"] == "other"
    return contracts


def balances(*rows: tuple[int, str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chain_id", "wallet", "token_address", "balance"], dtype=object)


# --- questions and rows ----------------------------------------------------------------------------------------------
def test_shares_that_are_held_on_the_nodes_chain_are_asked_about_wallet_by_wallet() -> None:
    held = balances(
        (1, WARM, VAULT_SHARE, 5),
        (1, COLD, VAULT_SHARE, MOST),
        (1, WARM, PAIR_SHARE, 7),
        (1, WARM, OTHER_SHARE, 8),
        (1, WARM, USDC, 9),
        (10, WARM, VAULT_SHARE, 10),
    )
    assert share_questions(held, contracts_with_a_rebasing_pool(), 1) == [
        ShareQuestion(1, WARM, VAULT_SHARE, "vault", 5),
        ShareQuestion(1, WARM, PAIR_SHARE, "pair", 7),
        ShareQuestion(1, COLD, VAULT_SHARE, "vault", MOST),
    ]


def test_a_pool_with_two_share_tokens_has_no_one_share() -> None:
    contracts = contracts_with_a_rebasing_pool()
    second = contracts[contracts["pool_id"] == "vault"].assign(share_token="0x" + "13" * 20)
    found = share_tokens(pd.concat([contracts, second, contracts], ignore_index=True))
    assert sorted(pool_id for _, pool_id in found) == ["other", "pair"]
    assert found[1, "other"] == ShareToken(OTHER_SHARE, 18, is_rebasing=True)


def test_answers_are_rows_of_the_table() -> None:
    question = ShareQuestion(1, WARM, VAULT_SHARE, "vault", MOST)
    frame = share_rates(START, [ShareAnswer(question, USDC, MOST - 1, 7, STAMP)])
    assert list(frame) == [column.name for column in schema.share_rates.columns] == list(SHARE_RATES)
    frame_schema(schema.share_rates).validate(frame)
    assert frame.iloc[0][["shares", "assets"]].tolist() == [MOST, MOST - 1]
    assert share_rates(START, []).empty


def test_only_the_very_shares_have_the_very_answer() -> None:
    question = ShareQuestion(1, WARM, VAULT_SHARE, "vault", 3)
    told = ToldRates(share_rates(START, [ShareAnswer(question, USDC, 11, 7, STAMP)]))
    vault, holding = ShareToken(VAULT_SHARE, 18, is_rebasing=False), Holding(1, WARM, "vault")
    assert [told.worth(START, holding, vault, USDC, shares) for shares in (3, 2, 6, 0)] == [11, 7, 22, 0]
    assert told.worth(START + timedelta(days=1), holding, vault, USDC, 3) is None
    assert told.worth(START, holding, vault, DAI, 3) is None


# --- jumps of rates --------------------------------------------------------------------------------------------------
def held_at(rate: Decimal, source: str = "chain", wallet: str = WARM) -> pd.DataFrame:
    row = (1, wallet, "vault", USDC, rate, source)
    names = ["chain_id", "wallet", "pool_id", "token_address", "exchange_rate", "rate_source"]
    return pd.DataFrame([row], columns=names, dtype=object)


def apy(value: float) -> pd.DataFrame:
    return pd.DataFrame([("vault", START, value)], columns=["pool_id", "date", "apy"])


@pytest.mark.parametrize(
    ("change", "jumps"), [("0.0099999", 0), ("0.0100001", 1), ("-0.0099999", 0), ("-0.0100001", 1), ("0", 0)]
)
def test_a_rate_may_differ_by_a_hundredth_from_its_growth(change: str, jumps: int) -> None:
    expected = Decimal(2) * daily_factor(0.5)
    found = find_rate_jumps(held_at(expected * (1 + Decimal(change))), held_at(Decimal(2)), apy(0.5), START)
    assert len(found) == jumps
    assert {item.name for item in found} <= {"rate_jumped"}


def test_growth_is_no_jump_and_its_absence_is_one() -> None:
    """At 4,900 % a year a day is worth more than a hundredth."""
    grown = Decimal(2) * daily_factor(49.0)
    assert find_rate_jumps(held_at(grown), held_at(Decimal(2)), apy(49.0), START) == []
    assert len(find_rate_jumps(held_at(grown), held_at(Decimal(2)), NO_APYS, START)) == 1


def test_rebasing_shares_do_not_jump_and_new_positions_have_nothing_to_jump_from() -> None:
    one = held_at(Decimal(1), "rebasing")
    assert find_rate_jumps(one, one, apy(49.0), START) == []
    assert find_rate_jumps(held_at(Decimal(9)), held_at(Decimal(1), wallet=COLD), apy(0.0), START) == []
    assert find_rate_jumps(held_at(Decimal(9)), held_at(Decimal(0)), apy(0.0), START) == []


def test_a_jump_names_pool_wallet_size_and_source() -> None:
    (jump,) = find_rate_jumps(held_at(Decimal("1.05"), "mint_ratio"), held_at(Decimal(1)), NO_APYS, START)
    assert str(jump) == (
        f"rate_jumped: pool vault of wallet {WARM} on chain 1, token {USDC}: +5.00 % against its growth, by mint_ratio"
    )


# --- shares beside the chain -----------------------------------------------------------------------------------------
def position(shares: int, wallet: str = WARM) -> tuple[int, str, str, int]:
    return (1, wallet, "vault", shares)


def beside(
    ours: list[tuple[int, str, str, int]], chain: pd.DataFrame, unexplained: dict[str, int] | None = None
) -> list[str]:
    positions = pd.DataFrame(ours, columns=["chain_id", "wallet", "pool_id", "shares"], dtype=object)
    rows = [(1, "equity:unexplained", token, -amount) for token, amount in (unexplained or {}).items()]
    rows += [(1, "equity:shares:vault", VAULT_SHARE, -100)]
    trial = pd.DataFrame(rows, columns=["chain_id", "account", "token_address", "balance"], dtype=object)
    return [item.name for item in find_positions_beside_the_chain(positions, chain, trial, BOOK)]


def test_shares_on_the_chain_are_those_of_the_positions() -> None:
    chain = balances((1, WARM, VAULT_SHARE, MOST), (1, WARM, USDC, 9), (1, COLD, VAULT_SHARE, 0))
    assert beside([position(MOST), position(MOST)], chain) == []
    assert beside([position(MOST - 1)], chain) == ["position_differs"]


def test_a_share_without_a_position_and_a_position_without_a_share_break() -> None:
    chain = balances((1, WARM, VAULT_SHARE, 5))
    assert beside([], chain) == ["position_differs"]
    assert beside([position(5, COLD)], chain) == ["position_differs"] * 2
    assert beside([position(5)], balances()) == ["position_differs"]


def test_shares_that_are_unexplained_as_a_whole_are_a_doubt() -> None:
    chain = balances((1, WARM, VAULT_SHARE, 5))
    assert beside([], chain, {VAULT_SHARE: 5}) == ["untrusted_position_missing"]
    assert beside([], chain, {VAULT_SHARE: 4}) == ["position_differs"]
    assert beside([], chain, {PAIR_SHARE: 5}) == ["position_differs"]
    assert beside([position(4)], chain, {VAULT_SHARE: 5}) == ["position_differs"], "where there is one it is whole"


def test_a_missing_position_says_what_to_do() -> None:
    positions = pd.DataFrame(columns=["chain_id", "wallet", "pool_id", "shares"], dtype=object)
    trial = pd.DataFrame(columns=["chain_id", "account", "token_address", "balance"], dtype=object)
    (found,) = find_positions_beside_the_chain(positions, balances((1, WARM, VAULT_SHARE, 5)), trial, BOOK)
    assert str(found) == (
        f"position_differs: pool vault of wallet {WARM} on chain 1: position of 0 shares, 5 on the chain; "
        "name what they stand for under `opening` in accounts.yaml"
    )
