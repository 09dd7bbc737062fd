"""Positions: replayed to the base unit, in agreement with a plain re-computation and with the simulated chain."""

from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.positions import pool_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets_tests.domain.ledger.facts import (
    COLD,
    CRV,
    DAI,
    PAIR,
    PAIR_SHARE,
    START,
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


def apys(**by_pool: dict[int, float]) -> pd.DataFrame:
    rows = [
        (pool_id, START + timedelta(days=day), apy) for pool_id, found in by_pool.items() for day, apy in found.items()
    ]
    return pd.DataFrame(rows, columns=["pool_id", "date", "apy"])


def positions(chain: Chain, day: int, known: pd.DataFrame) -> pd.DataFrame:
    postings = build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=PRICES)
    return pool_positions(
        postings, policy=POLICY, contracts=CONTRACTS, apys=known, prices=PRICES, day=START + timedelta(days=day)
    )


def underlying(chain: Chain, day: int, known: pd.DataFrame) -> dict[tuple[str, str, str], int]:
    frame = positions(chain, day, known)
    keys = zip(frame["wallet"], frame["pool_id"], frame["token_address"], strict=True)
    return dict(zip(keys, frame["underlying_amount"], strict=True))


def test_growth_at_the_end_of_each_day_at_the_last_known_apy() -> None:
    chain, known = golden_chain(), apys(vault={1: 0.05, 2: float("nan"), 3: 0.10})
    expected = [usd(4_000)]
    for apy in (0.05, 0.05, 0.10):
        expected.append(accrue(expected[-1], apy))
    assert [underlying(chain, day, known)[WARM, "vault", USDC] for day in range(4)] == expected
    assert underlying(chain, 3, known)[WARM, "other", USDC] == usd(1_000)


def test_a_deposit_earns_on_its_own_day_and_a_withdrawal_does_not() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    chain.send((USDC, WARM, VAULT, usd(100)), mint(VAULT_SHARE, WARM, 10**18), sender=WARM, day=1)
    chain.send((USDC, VAULT, WARM, usd(40)), burn(VAULT_SHARE, WARM, 10**18), sender=WARM, day=1)
    first = accrue(usd(4_000), 0.08)
    assert underlying(chain, 1, known)[WARM, "vault", USDC] == accrue(first + usd(60), 0.08)


def test_full_exit_leaves_nothing_and_a_new_deposit_starts_afresh() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    chain.send((USDC, VAULT, WARM, usd(4_001)), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM, day=1)
    assert (WARM, "vault", USDC) not in underlying(chain, 1, known)
    chain.send((USDC, WARM, VAULT, usd(5)), mint(VAULT_SHARE, WARM, 5), sender=WARM, day=2)
    assert underlying(chain, 2, known)[WARM, "vault", USDC] == accrue(usd(5), 0.08)


def test_a_burn_waits_for_the_mints_of_its_block() -> None:
    for first, second in ((0, 1), (1, 0)):
        chain = golden_chain()
        sends = [
            ((USDC, VAULT, WARM, usd(4_010)), burn(VAULT_SHARE, WARM, 3_810 * 10**18)),
            ((USDC, WARM, VAULT, usd(10)), mint(VAULT_SHARE, WARM, 10 * 10**18)),
        ]
        for at in (first, second):
            chain.send(*sends[at], sender=WARM, block=500)
        assert (WARM, "vault", USDC) not in underlying(chain, 0, apys())


def test_a_chain_that_pays_more_than_we_thought_leaves_no_debt() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(5_000)), burn(VAULT_SHARE, WARM, 10**18), sender=WARM, day=1)
    assert underlying(chain, 1, apys())[WARM, "vault", USDC] == 0


def test_pair_holds_each_token_and_may_pay_out_only_one() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, PAIR, usd(100)), (DAI, WARM, PAIR, 10**20), mint(PAIR_SHARE, WARM, 2 * 10**20), sender=WARM)
    chain.send((DAI, PAIR, WARM, 4 * 10**19), burn(PAIR_SHARE, WARM, 4 * 10**19), sender=WARM, day=1)
    found = underlying(chain, 1, apys())
    assert (found[WARM, "pair", USDC], found[WARM, "pair", DAI]) == (usd(100), 6 * 10**19)
    postings = build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=PRICES)
    assert not postings["account"].isin(["income:yield:pair", "equity:conversions"]).any()


def test_shares_moved_between_wallets_and_pools_take_the_grown_part_along() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    chain.send((VAULT_SHARE, WARM, COLD, 950 * 10**18), sender=WARM, day=1)
    chain.send(burn(VAULT_SHARE, WARM, 2_850 * 10**18), mint(PAIR_SHARE, WARM, 7), sender=WARM, day=2)
    grown = accrue(usd(4_000), 0.08)
    quarter = grown * 950 // 3_800
    at_one = underlying(chain, 1, known)
    assert at_one[COLD, "vault", USDC] == accrue(quarter, 0.08)
    assert at_one[WARM, "vault", USDC] == accrue(grown - quarter, 0.08)
    at_two = underlying(chain, 2, known)
    assert at_two[WARM, "pair", USDC] == accrue(grown - quarter, 0.08)
    assert (WARM, "vault", USDC) not in at_two


def test_rate_its_source_and_its_age() -> None:
    chain = golden_chain()
    today, later = (positions(chain, day, apys(vault={0: 0.08})).set_index("pool_id").loc["other"] for day in (0, 5))
    assert (today["rate_source"], today["rate_age_days"]) == ("mint_ratio", 0)
    assert (later["rate_source"], later["rate_age_days"]) == ("apy_growth", 5)
    assert today["exchange_rate"] == Decimal(usd(1_000)) / Decimal(950 * 10**18) or abs(
        today["exchange_rate"] * 950 * 10**18 - usd(1_000)
    ) < Decimal("1e-15")
    assert (today["shares"], today["value_usd"], today["decimals"]) == (950 * 10**18, Decimal(1_000), 6)


def test_untrusted_underlying_is_held_and_worth_nothing() -> None:
    chain = golden_chain()
    chain.send((CRV, "0x" + "99" * 20, WARM, 50))
    chain.send((CRV, WARM, PAIR, 50), mint(PAIR_SHARE, WARM, 9), sender=WARM)
    row = positions(chain, 0, apys()).set_index("pool_id").loc["pair"]
    assert (row["underlying_amount"], row["value_usd"], row["price_usd"]) == (50, 0, None)


def test_later_facts_change_nothing() -> None:
    chain = golden_chain()
    before = positions(chain, 2, apys(vault={0: 0.05, 1: 0.06, 2: 0.04}))
    chain.send((USDC, VAULT, WARM, usd(1)), burn(VAULT_SHARE, WARM, 10**18), sender=WARM, day=3)
    after = positions(chain, 2, apys(vault={0: 0.05, 1: 0.06, 2: 0.04, 3: 9.0, 4: -1.0}))
    pd.testing.assert_frame_equal(before, after)


def test_no_postings_no_positions() -> None:
    assert positions(Chain(), 0, apys()).empty


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10**12), st.integers(1, 100)), min_size=1, max_size=10),
    rates=st.lists(st.floats(-0.2, 3.0), min_size=1, max_size=40),
)
def test_replay_equals_a_plain_loop(steps: list[tuple[int, int, int]], rates: list[float]) -> None:
    chain, day, amount, shares = Chain(), 0, 0, 0
    plan: dict[int, list[int]] = {}
    for wait, size, percent in steps:
        for _ in range(wait):
            amount = accrue(sum_of(plan, day, amount), rates[min(day, len(rates) - 1)])
            plan.pop(day, None)
            day += 1
        held = sum_of(plan, day, amount)
        if percent > 50 and held * 9 // 10 > 0 and shares > 1:
            burnt, taken = shares // 2, held * 9 // 10
            chain.send((USDC, VAULT, WARM, taken), burn(VAULT_SHARE, WARM, burnt), sender=WARM, day=day)
            shares -= burnt
            plan.setdefault(day, []).append(-taken)
        else:
            chain.send((USDC, WARM, VAULT, size), mint(VAULT_SHARE, WARM, size), sender=WARM, day=day)
            shares += size
            plan.setdefault(day, []).append(size)
    expected = accrue(sum_of(plan, day, amount), rates[min(day, len(rates) - 1)])
    known = apys(vault=dict(enumerate(rates)))
    assert underlying(chain, day, known)[WARM, "vault", USDC] == expected


def sum_of(plan: dict[int, list[int]], day: int, amount: int) -> int:
    return amount + sum(plan.get(day, []))


def test_dates_are_dates() -> None:
    assert type(positions(golden_chain(), 0, apys())["date"].iloc[0]) is date
