"""Frames have the columns of their tables; rebasing tokens accrue up to the chain's balance."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger import tables
from defiyield_assets.domain.ledger.accruals import build_accruals
from defiyield_assets.domain.ledger.balances import daily_balances
from defiyield_assets.domain.ledger.checks import find_unbalanced
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    START,
    SUSD,
    USDC,
    WARM,
    Chain,
    make_contracts,
    make_policy,
    make_prices,
)


@pytest.mark.parametrize(
    "name", ["ledger_postings", "daily_balances", "pool_positions", "nav_daily", "yield_attribution"]
)
def test_columns_are_those_of_the_schema(name: str) -> None:
    columns = getattr(tables, name.upper())
    assert list(columns) == [column.name for column in schema.metadata.tables[name].columns]
    empty = tables.make_frame(columns, [])
    assert list(empty.columns) == list(columns)
    assert empty.empty


def test_rebasing_tokens_accrue_once_a_day_up_to_the_chain() -> None:
    plain = make_policy()
    policy = replace(plain, tokens=tuple(replace(token, rebasing=token.address == SUSD) for token in plain.tokens))
    contracts, prices = make_contracts(), make_prices(policy, SUSD=[1.0, 2.0])
    chain = Chain()
    chain.send((SUSD, BANK, WARM, 1_000), (USDC, BANK, WARM, 50))
    chain.send((SUSD, WARM, COLD, 300), day=1)
    postings = build_postings(chain.frame(), policy=policy, contracts=contracts, prices=prices)
    days = [START + timedelta(days=at) for at in range(3)]
    seen = [
        (0, WARM, SUSD, 1_000),
        (1, WARM, SUSD, 710),
        (1, COLD, SUSD, 301),
        (2, WARM, SUSD, 705),
        (2, COLD, SUSD, 301),
    ]
    seen.append((1, WARM, USDC, 99))
    observed = pd.DataFrame(
        [(days[at], 1, wallet, token, balance) for at, wallet, token, balance in seen],
        columns=["date", "chain_id", "wallet", "token_address", "balance"],
    )
    accruals = build_accruals(postings, observed, prices=prices)
    assert list(accruals["amount"]) == [10, -10, 1, -1, -5, 5] or sorted(accruals["amount"]) == [-10, -5, -1, 1, 5, 10]
    assert find_unbalanced(accruals) == []
    assert set(accruals.loc[accruals["leg"] == 1, "account"]) == {f"income:yield:{SUSD}"}
    ten = accruals[(accruals["amount"] == 10)].iloc[0]
    assert (ten["valued_usd"], ten["date"], ten["kind"]) == (Decimal(10) / 10**18 * 2, days[1], "accrual")
    everything = pd.concat([postings, accruals], ignore_index=True)
    for at, wallet, token, balance in seen:
        if token == SUSD:
            frame = daily_balances(everything, policy=policy, contracts=contracts, prices=prices, day=days[at])
            held = frame[(frame["wallet"] == wallet) & (frame["token_address"] == token)]
            assert list(held["balance"]) == [balance]
    last = build_accruals(postings, observed, prices=prices, days=DayRange.of(days[2]))
    pd.testing.assert_frame_equal(last, accruals[accruals["date"] == days[2]].reset_index(drop=True))
