"""Positions: replayed to the base unit, in agreement with a plain re-computation, step by step as from scratch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.positions import advance_positions, pool_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.domain.ledger.share_rates import ShareAnswer, ShareQuestion, share_rates
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    CRV,
    DAI,
    NATIVE,
    OTHER_SHARE,
    PAIR,
    PAIR_SHARE,
    ROUTER,
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


def apys(**by_pool: dict[int, float]) -> pd.DataFrame:
    rows = [
        (pool_id, START + timedelta(days=day), apy) for pool_id, found in by_pool.items() for day, apy in found.items()
    ]
    return pd.DataFrame(rows, columns=["pool_id", "date", "apy"])


def book(chain: Chain) -> pd.DataFrame:
    return build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=PRICES)


def positions(
    chain: Chain | pd.DataFrame,
    day: int,
    known: pd.DataFrame,
    rates: pd.DataFrame | None = None,
    contracts: pd.DataFrame = CONTRACTS,
) -> pd.DataFrame:
    return pool_positions(
        book(chain) if isinstance(chain, Chain) else chain,
        policy=POLICY,
        contracts=contracts,
        apys=known,
        prices=PRICES,
        day=START + timedelta(days=day),
        rates=rates,
    )


def underlying(
    chain: Chain | pd.DataFrame,
    day: int,
    known: pd.DataFrame,
    rates: pd.DataFrame | None = None,
    contracts: pd.DataFrame = CONTRACTS,
) -> dict[tuple[str, str, str], int]:
    frame = positions(chain, day, known, rates, contracts)
    keys = zip(frame["wallet"], frame["pool_id"], frame["token_address"], strict=True)
    return dict(zip(keys, frame["underlying_amount"], strict=True))


def told(*answers: tuple[int, int, int], wallet: str = WARM, token: str = USDC) -> pd.DataFrame:
    """`share_rates` of the vault from (day, shares, assets)."""
    rows = [
        share_rates(
            START + timedelta(days=day),
            [
                ShareAnswer(
                    ShareQuestion(1, wallet, VAULT_SHARE, "vault", shares),
                    token,
                    assets,
                    7,
                    datetime(2025, 6, 3, tzinfo=UTC),
                )
            ],
        )
        for day, shares, assets in answers
    ]
    return pd.concat(rows, ignore_index=True)


def row_of(frame: pd.DataFrame, pool_id: str) -> Mapping[str, Any]:
    return frame.set_index("pool_id").loc[pool_id].to_dict()


HELD = 3_800 * 10**18
"""Shares of the vault in the golden case; they cost 4,000 USDC."""


def test_growth_at_the_end_of_each_day_at_the_last_known_apy() -> None:
    chain, known = golden_chain(), apys(vault={1: 0.05, 2: float("nan"), 3: 0.10})
    expected = [usd(4_000)]
    for apy in (0.05, 0.05, 0.10):
        expected.append(accrue(expected[-1], apy))
    assert [underlying(chain, day, known)[WARM, "vault", USDC] for day in range(4)] == expected
    assert underlying(chain, 3, known)[WARM, "other", USDC] == usd(1_000)


def test_a_deposit_earns_on_its_own_day_and_a_withdrawal_does_not() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    first = accrue(usd(4_000), 0.08)
    into, out = usd(100) * HELD // first, usd(40) * HELD // first
    chain.send((USDC, WARM, VAULT, usd(100)), mint(VAULT_SHARE, WARM, into), sender=WARM, day=1)
    chain.send((USDC, VAULT, WARM, usd(40)), burn(VAULT_SHARE, WARM, out), sender=WARM, day=1)
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


# --- what a mint or burn shows ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("off", [-2, -1, 0, 1, 2])
def test_within_rounding_the_exact_replay_stays(off: int) -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(1_000) + off), burn(VAULT_SHARE, WARM, HELD // 4), sender=WARM, day=1)
    assert underlying(chain, 1, apys())[WARM, "vault", USDC] == usd(3_000) - off


@pytest.mark.parametrize(
    ("paid", "left"), [(usd(1_000) + 3, 3_000_000_009), (usd(1_010), usd(3_030)), (usd(9), 27_000_000)]
)
def test_beyond_rounding_every_share_is_worth_what_the_burnt_ones_were(paid: int, left: int) -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, paid), burn(VAULT_SHARE, WARM, HELD // 4), sender=WARM, day=1)
    found = row_of(positions(chain, 1, apys()), "vault")
    assert (found["underlying_amount"], found["rate_source"], found["rate_age_days"]) == (left, "mint_ratio", 0)
    assert positions(chain, 3, apys()).set_index("pool_id").loc["vault", "rate_age_days"] == 2


def test_a_mint_shows_the_rate_too() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, VAULT, usd(100)), mint(VAULT_SHARE, WARM, HELD // 50), sender=WARM, day=1)
    assert underlying(chain, 1, apys())[WARM, "vault", USDC] == usd(5_100)


def test_rounding_is_of_the_coarser_of_shares_and_underlying() -> None:
    """One base unit of a share may be worth many of the underlying: that much is no news."""
    chain = Chain()
    chain.send((DAI, WARM, VAULT, 10**18), mint(VAULT_SHARE, WARM, 1_000), sender=WARM)
    chain.send((DAI, VAULT, WARM, 10**15), burn(VAULT_SHARE, WARM, 2), sender=WARM)
    assert underlying(chain, 0, apys())[WARM, "vault", DAI] == 999 * 10**15


def test_a_rate_never_rises_by_more_than_half_at_once() -> None:
    """A payment that held a reward or another pool's money says nothing about the shares that stayed."""
    for paid, left in ((usd(1_500), usd(4_500)), (usd(1_500) + 1, usd(2_500) - 1)):
        chain = golden_chain()
        chain.send((USDC, VAULT, WARM, paid), burn(VAULT_SHARE, WARM, HELD // 4), sender=WARM, day=1)
        assert underlying(chain, 1, apys())[WARM, "vault", USDC] == left


def test_a_mint_that_was_partly_paid_in_something_else_tells_no_rate() -> None:
    anchored = HELD * 5 // 2 * usd(4_000) // (HELD * 3 // 2)
    for paid, left in ((usd(4_000), anchored), (usd(4_000) - 1, usd(8_000) - 1)):
        chain = golden_chain()
        chain.send((USDC, BANK, WARM, usd(5_000)), sender=BANK)
        chain.send(
            (USDC, WARM, ROUTER, paid),
            (USDC, ROUTER, VAULT, paid),
            (NATIVE, WARM, ROUTER, 10**18),
            mint(VAULT_SHARE, WARM, HELD * 3 // 2),
            sender=WARM,
            day=1,
        )
        assert underlying(chain, 1, apys())[WARM, "vault", USDC] == left


def test_one_payment_does_not_tell_what_a_pair_holds() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, PAIR, usd(100)), (DAI, WARM, PAIR, 10**20), mint(PAIR_SHARE, WARM, 2 * 10**20), sender=WARM)
    chain.send((USDC, PAIR, WARM, usd(30)), burn(PAIR_SHARE, WARM, 10**18), sender=WARM, day=1)
    found = underlying(chain, 1, apys())
    assert (found[WARM, "pair", USDC], found[WARM, "pair", DAI]) == (usd(70), 10**20)


def test_shares_that_nobody_explains_bring_and_take_their_part_at_the_known_rate() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    chain.send((VAULT_SHARE, STRANGER, WARM, 200 * 10**18), day=1)
    grown = accrue(usd(4_000), 0.08)
    grown = accrue(grown + grown * 200 // 3_800, 0.08)
    found = row_of(positions(chain, 1, known), "vault")
    assert (found["underlying_amount"], found["shares"]) == (grown, 4_000 * 10**18)
    assert (found["rate_source"], found["rate_age_days"]) == ("apy_growth", 1), "nothing was seen of the rate"
    chain.send((VAULT_SHARE, WARM, STRANGER, 1_000 * 10**18), sender=WARM, day=2)
    assert underlying(chain, 2, known)[WARM, "vault", USDC] == accrue(grown - grown // 4, 0.08)


def test_shares_that_the_pool_paid_in_another_token_take_their_grown_part() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    chain.send((DAI, VAULT, WARM, 10**21), burn(VAULT_SHARE, WARM, HELD // 4), sender=WARM, day=1)
    grown = accrue(usd(4_000), 0.08)
    assert underlying(chain, 1, known)[WARM, "vault", USDC] == accrue(grown - grown // 4, 0.08)


def test_shares_without_a_known_underlying_have_no_row_until_a_rate_is_seen() -> None:
    chain = Chain()
    chain.send((VAULT_SHARE, STRANGER, WARM, 50 * 10**18))
    assert positions(chain, 1, apys()).empty
    chain.send((USDC, WARM, VAULT, usd(11)), mint(VAULT_SHARE, WARM, 10 * 10**18), sender=WARM, day=2)
    assert underlying(chain, 2, apys())[WARM, "vault", USDC] == usd(66)


# --- what the chain itself tells -------------------------------------------------------------------------------------
def test_the_chains_rate_counts_and_goes_on_growing() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    rates = told((1, HELD, usd(4_007)))
    found = [row_of(positions(chain, day, known, rates), "vault") for day in (0, 1, 3)]
    assert [row["underlying_amount"] for row in found] == [
        accrue(usd(4_000), 0.08),
        usd(4_007),
        accrue(accrue(usd(4_007), 0.08), 0.08),
    ]
    assert [(row["rate_source"], row["rate_age_days"]) for row in found] == [
        ("mint_ratio", 0),
        ("chain", 0),
        ("chain", 2),
    ]


def test_a_mint_after_the_chains_rate_is_newer() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, VAULT, usd(101)), mint(VAULT_SHARE, WARM, HELD // 40), sender=WARM, day=2)
    found = [row_of(positions(chain, day, apys(), told((1, HELD, usd(4_020)))), "vault") for day in (2, 3)]
    assert [row["underlying_amount"] for row in found] == [usd(101) * 41] * 2
    assert [(row["rate_source"], row["rate_age_days"]) for row in found] == [("mint_ratio", 0), ("apy_growth", 1)]


def test_other_shares_than_those_asked_about_are_worth_their_part() -> None:
    found = underlying(golden_chain(), 1, apys(), told((1, HELD * 2 + 1, usd(9_000) + 7)))
    assert found[WARM, "vault", USDC] == (usd(9_000) + 7) * HELD // (HELD * 2 + 1)


@pytest.mark.parametrize("rates", [told((1, HELD, 9), token=DAI), told((1, HELD, 9), wallet=COLD), told((2, HELD, 9))])
def test_a_rate_of_another_token_wallet_or_day_is_not_ours(rates: pd.DataFrame) -> None:
    assert underlying(golden_chain(), 1, apys(), rates)[WARM, "vault", USDC] == usd(4_000)


def test_the_chain_may_say_that_all_is_lost() -> None:
    assert underlying(golden_chain(), 1, apys(), told((1, HELD, 0)))[WARM, "vault", USDC] == 0


def rebasing(decimals: int = 6) -> pd.DataFrame:
    contracts = make_contracts()
    is_other = contracts["pool_id"] == "other"
    contracts.loc[is_other, "is_rebasing"] = True
    contracts.loc[is_other, "share_decimals"] = decimals
    return contracts


def test_a_rebasing_share_is_its_underlying() -> None:
    chain = golden_chain()
    frame = positions(chain, 2, apys(other={0: 0.5}), contracts=rebasing())
    found = row_of(frame, "other")
    assert found["underlying_amount"] == found["shares"] == 950 * 10**18
    assert (found["rate_source"], found["rate_age_days"], found["exchange_rate"]) == ("rebasing", 0, 1)
    grown = accrue(accrue(accrue(usd(1_000), 0.5), 0.5), 0.5)
    apart = row_of(positions(chain, 2, apys(other={0: 0.5}), contracts=rebasing(18)), "other")
    assert (apart["underlying_amount"], apart["rate_source"]) == (grown, "apy_growth"), "not in the same base units"


def test_pools_with_two_share_tokens_are_not_asked_which_one_a_rate_is_of() -> None:
    contracts = make_contracts()
    second = contracts[contracts["pool_id"] == "vault"].assign(share_token="0x" + "13" * 20)
    both = pd.concat([contracts, second], ignore_index=True)
    found = underlying(golden_chain(), 1, apys(), told((1, HELD, usd(9_000))), contracts=both)
    assert found[WARM, "vault", USDC] == usd(4_000)


# --- corrections -----------------------------------------------------------------------------------------------------
def corrected(postings: pd.DataFrame, tx_hash: str, day: int) -> pd.DataFrame:
    """The postings with those of one transaction booked as a correction of a later day."""
    late, booked = postings.copy(), START + timedelta(days=day)
    is_late = late["tx_hash"] == tx_hash
    late.loc[is_late, "kind"] = "correction"
    late.loc[is_late, "corrects"] = tx_hash
    late.loc[is_late, "date"] = pd.Series([booked] * len(late), index=late.index, dtype=object)
    late.loc[is_late, "tx_hash"] = f"correction:{booked}:{tx_hash}"
    return late


def test_a_deposit_that_is_told_late_has_grown_since_its_block() -> None:
    chain, known = Chain(), apys(vault={0: 0.08, 2: 0.3, 4: 0.01})
    first = chain.send((USDC, WARM, VAULT, usd(4_000)), mint(VAULT_SHARE, WARM, HELD), sender=WARM, day=1)
    postings = corrected(book(chain), first, 4)
    assert positions(postings, 3, known).empty
    for day in (4, 6):
        assert underlying(postings, day, known) == underlying(chain, day, known)
    found = row_of(positions(postings, 4, known), "vault")
    assert (found["rate_source"], found["rate_age_days"]) == ("apy_growth", 3)


def test_a_correction_of_the_day_itself_has_not_grown_yet() -> None:
    chain, known = Chain(), apys(vault={0: 0.08})
    late = chain.send((USDC, WARM, VAULT, usd(100)), mint(VAULT_SHARE, WARM, HELD), sender=WARM, day=2)
    same_day = underlying(corrected(book(chain), late, 2), 2, known)
    assert same_day[WARM, "vault", USDC] == accrue(usd(100), 0.08)


def test_a_withdrawal_that_is_told_late_takes_what_it_would_have_earned() -> None:
    chain, known = golden_chain(), apys(vault={0: 0.08})
    taken = accrue(usd(4_000), 0.08) // 4
    late = chain.send((USDC, VAULT, WARM, taken), burn(VAULT_SHARE, WARM, HELD // 4), sender=WARM, day=1)
    postings = corrected(book(chain), late, 5)
    for day in (5, 7):
        ours, theirs = underlying(postings, day, known), underlying(chain, day, known)
        assert abs(ours[WARM, "vault", USDC] - theirs[WARM, "vault", USDC]) <= 5, "but for a rounding a day"
    assert row_of(positions(postings, 5, known), "vault")["shares"] == HELD - HELD // 4


def test_a_correction_that_only_moves_cost_changes_no_position() -> None:
    chain = golden_chain()
    postings = book(chain)
    deposit = postings[(postings["account"] == "assets:pool:vault") & (postings["token_address"] == USDC)]
    moved = pd.concat([deposit, deposit.assign(account="income:yield:vault", amount=-usd(4_000), leg=9)])
    late = corrected(pd.concat([postings, moved.assign(tx_hash="0xlate")], ignore_index=True), "0xlate", 2)
    assert underlying(late, 3, apys()) == underlying(chain, 3, apys())


def test_what_a_correction_takes_back_is_gone() -> None:
    chain = golden_chain()
    postings = book(chain)
    undone = postings[postings["pool_id"] == "vault"]
    undone = undone.assign(amount=[-amount for amount in undone["amount"]], tx_hash="0xundone")
    late = corrected(pd.concat([postings, undone], ignore_index=True), "0xundone", 2)
    assert (WARM, "vault", USDC) in underlying(late, 1, apys())
    assert (WARM, "vault", USDC) not in underlying(late, 2, apys(vault={0: 0.08}))


# --- several tokens, several holders ---------------------------------------------------------------------------------
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


def test_shares_that_go_to_two_wallets_at_once_are_parted_by_size() -> None:
    third = "0x" + "7d" * 20
    policy, chain = make_policy((COLD, WARM, third)), golden_chain()
    chain.send((VAULT_SHARE, WARM, COLD, HELD // 2), (VAULT_SHARE, WARM, third, HELD // 4), sender=WARM, day=1)
    prices = make_prices(policy)
    postings = build_postings(chain.frame(), policy=policy, contracts=CONTRACTS, prices=prices)
    day = START + timedelta(days=1)
    frame = pool_positions(postings, policy=policy, contracts=CONTRACTS, apys=apys(), prices=prices, day=day)
    of_vault = frame[frame["pool_id"] == "vault"].set_index("wallet")["underlying_amount"]
    assert of_vault.to_dict() == {WARM: usd(1_000), third: usd(1_000), COLD: usd(2_000)}


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


def test_a_later_rate_changes_nothing() -> None:
    early, late = told((1, HELD, usd(4_001))), told((1, HELD, usd(4_001)), (3, HELD, 1))
    chain = golden_chain()
    pd.testing.assert_frame_equal(positions(chain, 2, apys(), early), positions(chain, 2, apys(), late))


# --- step by step as from scratch ------------------------------------------------------------------------------------
DAYS = 7
SHARES = {"vault": (VAULT_SHARE, VAULT), "pair": (PAIR_SHARE, PAIR), "other": (OTHER_SHARE, VAULT)}


@dataclass
class Life:
    """A random history: what happens to the pools of two wallets over some days, and how many shares each holds."""

    chain: Chain = field(default_factory=Chain)
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    late: list[tuple[str, int]] = field(default_factory=list)

    def add(self, wallet: str, pool: str, shares: int) -> None:
        self.held[wallet, pool] = self.held.get((wallet, pool), 0) + shares

    def happen(self, what: str, day: int, wallet: str, pool: str, size: int, part: int) -> str | None:
        """One transaction; None when it cannot be."""
        (share, contract), held = SHARES[pool], self.held.get((wallet, pool), 0)
        burnt, send = held * part // 100, self.chain.send
        if what == "mint":
            paid = [(USDC, wallet, contract, size), *([(DAI, wallet, contract, size * 7)] if pool == "pair" else [])]
            shares = max(1, size * 10**12 * part // 50)
            self.add(wallet, pool, shares)
            return send(*paid, mint(share, wallet, shares), sender=wallet, day=day)
        if what == "gift":
            self.add(wallet, pool, size)
            return send((share, STRANGER, wallet, size), day=day)
        if not burnt:
            return None
        self.add(wallet, pool, -burnt)
        if what == "burn":
            return send((USDC, contract, wallet, size), burn(share, wallet, burnt), sender=wallet, day=day)
        if what == "exit":
            self.held[wallet, pool] = 0
            return send((USDC, contract, wallet, size), burn(share, wallet, held), sender=wallet, day=day)
        if what == "in kind":
            return send((CRV, contract, wallet, size), burn(share, wallet, burnt), sender=wallet, day=day)
        if what == "lose":
            return send((share, wallet, STRANGER, burnt), sender=wallet, day=day)
        if what == "move":
            self.add(COLD if wallet == WARM else WARM, pool, burnt)
            return send((share, wallet, COLD if wallet == WARM else WARM, burnt), sender=wallet, day=day)
        self.add(wallet, "vault" if pool == "other" else "other", size)
        target = SHARES["vault" if pool == "other" else "other"][0]
        return send(burn(share, wallet, burnt), mint(target, wallet, size), sender=wallet, day=day)


EVENTS = st.tuples(
    st.sampled_from(["mint", "mint", "burn", "exit", "gift", "lose", "move", "migrate", "in kind"]),
    st.integers(0, 1),
    st.sampled_from([WARM, WARM, COLD]),
    st.sampled_from(list(SHARES)),
    st.integers(1, 10**9),
    st.integers(1, 100),
    st.sampled_from([0, 0, 0, 1, 3]),
)


def trial_balance_before(postings: pd.DataFrame, day: date) -> pd.DataFrame:
    """Balances of all accounts that belong to wallets, of postings before the day."""
    earlier = postings[(postings["date"] < day) & postings["wallet"].notna()]
    at = ["chain_id", "wallet", "account", "pool_id", "token_address"]
    summed = earlier.groupby(at, dropna=False, sort=True)["amount"].agg(lambda values: sum(values)).reset_index()
    return summed.rename(columns={"amount": "balance"})


@settings(max_examples=25, deadline=None)
@given(
    events=st.lists(EVENTS, min_size=1, max_size=14),
    answers=st.dictionaries(
        st.integers(0, DAYS), st.tuples(st.integers(1, 10**24), st.integers(0, 10**12)), max_size=3
    ),
    rates=st.lists(st.one_of(st.floats(-0.2, 3.0), st.none()), min_size=1, max_size=DAYS),
)
def test_every_day_goes_on_from_the_stored_rows_of_the_day_before(
    events: list[tuple[str, int, str, str, int, int, int]],
    answers: dict[int, tuple[int, int]],
    rates: list[float | None],
) -> None:
    life, day = Life(), 0
    for what, wait, wallet, pool, size, part, late in events:
        day = min(day + wait, DAYS)
        tx_hash = life.happen(what, day, wallet, pool, size, part)
        if tx_hash is not None and late:
            life.late.append((tx_hash, min(day + late, DAYS)))
    postings = book(life.chain)
    for tx_hash, booked in life.late:
        postings = corrected(postings, tx_hash, booked)
    known = apys(**{pool: {at: rate for at, rate in enumerate(rates) if rate is not None} for pool in SHARES})
    told_rates = told(*((at, *answer) for at, answer in answers.items())) if answers else None
    contracts = rebasing()
    previous = positions(Chain(), 0, known)
    for at in range(DAYS + 1):
        today = START + timedelta(days=at)
        previous = advance_positions(
            previous,
            postings[postings["date"] == today],
            trial_balance=trial_balance_before(postings, today),
            policy=POLICY,
            contracts=contracts,
            apys=known,
            prices=PRICES,
            day=today,
            rates=told_rates,
        )
        pd.testing.assert_frame_equal(previous, positions(postings, at, known, told_rates, contracts))


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10**12), st.integers(1, 100)), min_size=1, max_size=10),
    rates=st.lists(st.floats(-0.2, 3.0), min_size=1, max_size=40),
)
def test_replay_equals_a_plain_loop_over_a_vault_that_keeps_its_word(
    steps: list[tuple[int, int, int]], rates: list[float]
) -> None:
    """The vault mints and burns at the very rate of the position, as ERC-4626 vaults do: rounded in its own favour."""
    chain, day, amount, shares = Chain(), 0, 0, 0
    for wait, size, percent in steps:
        for _ in range(wait):
            amount, day = accrue(amount, rates[min(day, len(rates) - 1)]), day + 1
        taken = amount * percent // 200
        if percent > 50 and taken:
            burnt = -(-taken * shares // amount)
            chain.send((USDC, VAULT, WARM, taken), burn(VAULT_SHARE, WARM, burnt), sender=WARM, day=day)
            amount, shares = amount - taken, shares - burnt
        else:
            assume(amount or not shares)  # shares of nothing have no rate at which the next could be minted
            minted = size * shares // amount if shares else size * 10**12
            chain.send((USDC, WARM, VAULT, size), mint(VAULT_SHARE, WARM, max(minted, 1)), sender=WARM, day=day)
            amount, shares = amount + size, shares + max(minted, 1)
    expected = accrue(amount, rates[min(day, len(rates) - 1)])
    known = apys(vault=dict(enumerate(rates)))
    assert underlying(chain, day, known)[WARM, "vault", USDC] == expected


def test_dates_are_dates() -> None:
    assert type(positions(golden_chain(), 0, apys())["date"].iloc[0]) is date
