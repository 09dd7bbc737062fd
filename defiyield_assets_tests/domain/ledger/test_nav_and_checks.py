"""NAV explains itself exactly, and every check fails when its rule is broken on purpose."""

import math
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.accounts import (
    EXTERNAL_PREFIX,
    NATIVE,
    OPENING_ACCOUNT,
    UNEXPLAINED_ACCOUNT,
    AddressBook,
)
from defiyield_assets.domain.ledger.balances import daily_balances
from defiyield_assets.domain.ledger.checks import (
    find_differences_with_chain,
    find_nav_gap,
    find_negative_balances,
    find_unbalanced,
)
from defiyield_assets.domain.ledger.nav import nav_daily
from defiyield_assets.domain.ledger.positions import pool_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.domain.ledger.unexplained_shares import worth_of_unexplained_shares
from defiyield_assets.domain.ledger.valuation import eth_prices, exact_sum, exact_value, tidy
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets_tests.domain.ledger.books import (
    CONTRACTS,
    EMPTY_NAV,
    POLICY,
    Book,
    flat_apys,
    run,
    trial_balance_of,
)
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    CRV,
    DAI,
    FAKE_USDC,
    GAS_WEI,
    OTHER,
    OTHER_SHARE,
    ROUTER,
    START,
    STRANGER,
    SUSD,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
    golden_chain,
    make_prices,
    mint,
    usd,
)


def test_first_day_is_a_flow_then_growth_is_income() -> None:
    book = run(golden_chain(), days=3)
    first, second = book.nav.iloc[0], book.nav.iloc[1]
    eth = 2000 * (2 - Decimal(4 * GAS_WEI) / 10**18)
    grown = accrue(usd(4_000), 0.05)
    assert first["nav_usd"] == first["flows_usd"] == 10_000 + eth + Decimal(grown - usd(4_000)) / 10**6
    assert (first["wallets_usd"], first["eth_usd"], first["income_usd"]) == (5_000, eth, 0)
    assert math.isnan(first["return_1d"]), "nothing was measured on the first day"
    assert math.isnan(first["realised_yield_1d"])
    income = Decimal(accrue(grown, 0.05) - grown) / 10**6
    assert (second["income_usd"], second["flows_usd"], second["price_change_usd"]) == (income, 0, 0)
    assert second["return_1d"] == second["realised_yield_1d"] == float(income / first["nav_usd"])
    assert second["idle_share"] == float((second["nav_usd"] - second["pools_usd"]) / second["nav_usd"])


def test_each_kind_of_move_lands_in_its_part() -> None:
    chain = golden_chain()
    chain.send((USDC, BANK, COLD, usd(500)), day=1)
    chain.send((USDC, COLD, BANK, usd(200)), sender=COLD, day=1)
    chain.send((USDC, WARM, ROUTER, usd(1_000)), (DAI, ROUTER, WARM, 999 * 10**18), sender=WARM, day=1)
    chain.send((DAI, VAULT, WARM, 7 * 10**18), day=1)
    chain.send((USDC, VAULT, WARM, usd(3)), day=1)
    chain.send((FAKE_USDC, STRANGER, WARM, usd(10**6)), day=1)
    book = run(chain, days=2, apys=flat_apys(0.0), ETH=[2000.0, 1900.0], USDC=[1.0, 0.999])
    row = book.nav.iloc[1]
    price = Decimal("0.999")
    gas = Decimal(2 * GAS_WEI) / 10**18 * 1900
    assert row["flows_usd"] == 300 * price
    assert row["income_usd"] == 7
    assert row["expenses_usd"] == gas + 1_000 * price - 999
    assert row["unexplained_usd"] == 3 * price
    held_eth = 2 - Decimal(4 * GAS_WEI) / 10**18
    assert row["price_change_usd"] == -100 * held_eth - 10_000 * Decimal("0.001")
    opening = book.nav.iloc[0]["nav_usd"]
    worked = opening + row["flows_usd"]
    assert row["return_1d"] == pytest.approx(float((row["nav_usd"] - worked) / worked), rel=1e-15)


def test_withdrawn_yield_is_not_counted_twice() -> None:
    chain = golden_chain()
    grown = accrue(usd(4_000), 0.05)
    chain.send((USDC, VAULT, WARM, grown), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM, day=1)
    row = run(chain, days=2).nav.iloc[1]
    assert row["income_usd"] == 0
    assert row["expenses_usd"] == Decimal(GAS_WEI) / 10**18 * 2000


def test_returns_chain_within_month_and_year() -> None:
    book = run(golden_chain(), days=40)
    nav = book.nav.set_index("date")
    june = nav[[day.month == 6 for day in nav.index]]["return_1d"]
    assert nav.loc[date(2025, 6, 30), "return_mtd"] == pytest.approx((1 + june).prod() - 1, rel=1e-12)
    assert nav.loc[date(2025, 7, 1), "return_mtd"] == nav.loc[date(2025, 7, 1), "return_1d"]
    assert nav.loc[date(2025, 7, 2), "return_mtd"] > nav.loc[date(2025, 7, 2), "return_1d"]
    assert nav.loc[date(2025, 7, 11), "return_ytd"] == pytest.approx((1 + nav["return_1d"]).prod() - 1, rel=1e-12)


def test_year_and_month_begin_anew() -> None:
    base = run(golden_chain(), days=1)
    before = base.nav.assign(date=date(2025, 12, 31), return_mtd=0.5, return_ytd=0.5)
    row = nav_daily(
        date(2026, 1, 1),
        balances=base.balances[START],
        positions=base.positions[START],
        previous_balances=base.balances[START],
        previous_positions=base.positions[START],
        postings=base.postings,
        previous_nav=before,
        policy=POLICY,
        contracts=CONTRACTS,
        prices=make_prices(POLICY, days=300),
    ).iloc[0]
    assert (row["return_1d"], row["return_mtd"], row["return_ytd"]) == (0.0, 0.0, 0.0)


def test_realised_yield_is_income_over_what_was_at_work_chained_like_returns() -> None:
    chain = golden_chain()
    chain.send((USDC, BANK, COLD, usd(1_000_000)), day=1)
    chain.send((DAI, VAULT, WARM, 7 * 10**18), day=2)
    nav = run(chain, days=40).nav.set_index("date")
    second = nav.loc[START + timedelta(days=1)]
    opening = nav.loc[START, "nav_usd"]
    assert second["realised_yield_1d"] == float(second["income_usd"] / (opening + 1_000_000))
    third = nav.loc[START + timedelta(days=2)]
    assert third["realised_yield_1d"] == float(third["income_usd"] / second["nav_usd"])
    assert third["income_usd"] > 7
    daily = nav["realised_yield_1d"]
    june = daily[[day.month == 6 for day in nav.index]]
    assert nav.loc[date(2025, 6, 30), "realised_yield_mtd"] == pytest.approx((1 + june).prod() - 1, rel=1e-12)
    assert nav.loc[date(2025, 7, 1), "realised_yield_mtd"] == nav.loc[date(2025, 7, 1), "realised_yield_1d"]
    assert nav.loc[date(2025, 7, 11), "realised_yield_ytd"] == pytest.approx((1 + daily).prod() - 1, rel=1e-12)


def test_a_month_so_far_counts_days_that_were_stored_before_it_was() -> None:
    book = run(golden_chain(), days=4)
    upgraded = book.nav.head(3).assign(realised_yield_mtd=math.nan, realised_yield_ytd=math.nan, return_mtd=math.nan)
    day = START + timedelta(days=3)
    before = day - timedelta(days=1)
    row = nav_daily(
        day,
        balances=book.balances[day],
        positions=book.positions[day],
        previous_balances=book.balances[before],
        previous_positions=book.positions[before],
        postings=book.postings,
        previous_nav=upgraded,
        policy=POLICY,
        contracts=CONTRACTS,
        prices=book.prices,
    )
    pd.testing.assert_frame_equal(row, book.nav.tail(1).reset_index(drop=True))


def test_a_day_on_which_all_capital_left_measures_nothing_and_the_month_goes_on() -> None:
    chain = Chain()
    chain.send((USDC, BANK, WARM, usd(0.8)))
    chain.send((USDC, WARM, BANK, usd(0.8)), sender=WARM, gas=0, day=2)
    nav = run(chain, days=4, USDC=[1.0, 0.5]).nav
    assert nav["nav_usd"].tolist() == [Decimal("0.8"), Decimal("0.4"), 0, 0]
    assert nav["return_1d"].tolist()[1] == nav["return_mtd"].tolist()[2] == nav["return_ytd"].tolist()[3] == -0.5
    assert nav["return_1d"].isna().tolist() == nav["realised_yield_1d"].isna().tolist() == [True, False, True, True]
    assert nav["realised_yield_mtd"].tolist()[1:] == [0.0, 0.0, 0.0]


def test_an_opening_is_capital_and_a_correction_moves_value_to_where_it_belongs() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(3)), day=1)
    book = run(chain, days=2)
    day = START + timedelta(days=1)

    def nav_of(postings: pd.DataFrame) -> pd.Series:
        return nav_daily(
            day,
            balances=book.balances[day],
            positions=book.positions[day],
            previous_balances=book.balances[START],
            previous_positions=book.positions[START],
            postings=postings,
            previous_nav=book.nav.head(1),
            policy=POLICY,
            contracts=CONTRACTS,
            prices=book.prices,
        ).iloc[0]

    assert nav_of(book.postings)["unexplained_usd"] == 3
    opened = nav_of(book.postings.replace({"account": {UNEXPLAINED_ACCOUNT: OPENING_ACCOUNT}}))
    assert (opened["flows_usd"], opened["unexplained_usd"]) == (3, 0)
    unexplained = book.postings[book.postings["account"] == UNEXPLAINED_ACCOUNT]
    back = unexplained.assign(kind="correction", corrects="0x1")
    back["amount"] = [-amount for amount in unexplained["amount"]]
    back["valued_usd"] = [-value for value in unexplained["valued_usd"]]
    there = unexplained.assign(kind="correction", corrects="0x1", account=EXTERNAL_PREFIX + VAULT)
    corrected = nav_of(pd.concat([book.postings, back, there], ignore_index=True))
    assert (corrected["flows_usd"], corrected["unexplained_usd"]) == (3, 0)
    assert find_nav_gap(corrected.to_frame().T, book.nav.head(1)) == []


def test_nothing_held_is_all_idle() -> None:
    row = run(Chain(), days=1).nav.iloc[0]
    assert (row["nav_usd"], row["idle_share"]) == (0, 1.0)
    assert math.isnan(row["return_1d"])


def test_an_approved_share_token_is_never_valued_beside_its_underlying() -> None:
    contracts = CONTRACTS.assign(share_token=CONTRACTS["share_token"].replace(VAULT_SHARE, SUSD))
    shared = {"policy": POLICY, "contracts": contracts, "prices": make_prices(POLICY, SUSD=[1.0, 2.0])}
    chain = Chain()
    chain.send((USDC, BANK, WARM, usd(100)))
    chain.send((USDC, WARM, VAULT, usd(40)), mint(SUSD, WARM, 38 * 10**18))
    postings = build_postings(chain.frame(), **shared)
    days = [START, START + timedelta(days=1)]
    assert set(postings.loc[postings["token_address"] == SUSD, "valued_usd"]) == {Decimal(0)}
    balances = [daily_balances(trial_balance_of(postings, day), day=day, **shared) for day in days]
    positions = [pool_positions(postings, apys=flat_apys(0.0), day=day, **shared) for day in days]
    shares = balances[1].set_index("token_address").loc[SUSD]
    assert (shares["balance"], shares["value_usd"], shares["is_trusted"]) == (38 * 10**18, 0, False)
    nav = EMPTY_NAV
    for at, day in enumerate(days):
        nav = nav_daily(
            day,
            balances=balances[at],
            positions=positions[at],
            previous_balances=balances[0].head(3 * at),
            previous_positions=positions[0].head(3 * at),
            postings=postings,
            previous_nav=nav,
            **shared,
        )
        assert (nav["nav_usd"].iloc[0], nav["price_change_usd"].iloc[0]) == (100, 0)


def test_a_posting_without_a_value_is_an_error_that_names_it() -> None:
    chain = golden_chain()
    sent = chain.send((USDC, BANK, WARM, usd(1)), day=1)
    book, day = run(chain, days=2), START + timedelta(days=1)
    with pytest.raises(SuspiciousDataError, match=f"2 postings of {day} have no value.*{USDC} in {sent}"):
        nav_daily(
            day,
            balances=book.balances[day],
            positions=book.positions[day],
            previous_balances=book.balances[START],
            previous_positions=book.positions[START],
            postings=book.postings.assign(valued_usd=None),
            previous_nav=book.nav[book.nav["date"] == START],
            policy=POLICY,
            contracts=CONTRACTS,
            prices=book.prices,
        )


def test_a_missing_yesterday_is_an_error_that_names_it() -> None:
    book = run(golden_chain(), days=1)
    with pytest.raises(SuspiciousDataError, match="none for 2025-06-03"):
        nav_daily(
            START + timedelta(days=2),
            balances=book.balances[START],
            positions=book.positions[START],
            previous_balances=book.balances[START],
            previous_positions=book.positions[START],
            postings=book.postings,
            previous_nav=book.nav,
            policy=POLICY,
            contracts=CONTRACTS,
            prices=book.prices,
        )


MOVES = st.sampled_from(["in", "out", "swap", "deposit", "withdraw", "exit", "reward", "lost", "spam", "share_gift"])


@settings(max_examples=25, deadline=None)
@given(
    days=st.lists(st.lists(st.tuples(MOVES, st.integers(1, 10**9)), max_size=4), min_size=1, max_size=5),
    closes=st.lists(st.floats(0.5, 1.5), min_size=1, max_size=6),
    apy=st.floats(-0.5, 5.0),
)
def test_nav_identity_is_exact_for_anything(days: list[list[tuple[str, int]]], closes: list[float], apy: float) -> None:
    chain, shares = golden_chain(), 3_800 * 10**18
    for day, moves in enumerate(days, start=1):
        for kind, size in moves:
            sends: dict[str, list[tuple[str, str, str, int]]] = {
                "in": [(USDC, BANK, WARM, size)],
                "out": [(USDC, WARM, BANK, size)],
                "swap": [(USDC, WARM, ROUTER, size), (DAI, ROUTER, WARM, size * 10**12 - 7)],
                "deposit": [(USDC, WARM, VAULT, size), mint(VAULT_SHARE, WARM, size)],
                "withdraw": [(USDC, VAULT, WARM, size), burn(VAULT_SHARE, WARM, max(1, shares // 3))],
                "exit": [(USDC, VAULT, WARM, size), burn(VAULT_SHARE, WARM, shares)],
                "reward": [(DAI, VAULT, WARM, size)],
                "lost": [(USDC, WARM, VAULT, size)],
                "spam": [(CRV, STRANGER, WARM, size)],
                "share_gift": [(VAULT_SHARE, STRANGER, WARM, size)],
            }
            if shares <= 0 and kind in ("withdraw", "exit"):
                continue
            chain.send(*sends[kind], sender=WARM if kind in ("out", "swap", "deposit", "withdraw") else None, day=day)
            shares += {"deposit": size, "share_gift": size, "withdraw": -max(1, shares // 3), "exit": -shares}.get(
                kind, 0
            )
    book = run(chain, days=len(days) + 2, apys=flat_apys(apy), USDC=closes, DAI=closes[::-1], ETH=[2000.0, 1999.99])
    assert len(book.nav) == len(days) + 2


# --- shares that nobody explains ---
def pool_part(book: Book, day: int) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Unexplained and income of the NAV; flows and income of the attribution of all pools."""
    row, rows = book.nav.iloc[day], book.attribution(START + timedelta(days=day))
    return row["unexplained_usd"], row["income_usd"], exact_sum(rows["flows_usd"]), exact_sum(rows["income_usd"])


def test_the_worth_of_shares_that_nobody_explains_is_no_income() -> None:
    chain = golden_chain()
    chain.send((VAULT_SHARE, STRANGER, WARM, 1_900 * 10**18), day=1)
    assert pool_part(run(chain, days=2, apys=flat_apys(0.0)), 1) == (2_000, 0, 2_000, 0)


def test_shares_whose_worth_becomes_known_later_are_unexplained_on_that_day() -> None:
    chain = golden_chain()
    chain.send((OTHER_SHARE, STRANGER, COLD, 50 * 10**18), day=1)
    chain.send((USDC, COLD, OTHER, usd(11)), mint(OTHER_SHARE, COLD, 10 * 10**18), sender=COLD, day=3)
    book = run(chain, days=4, apys=flat_apys(0.0))
    assert [pool_part(book, day)[0] for day in range(4)] == [0, 0, 0, 55]
    assert pool_part(book, 3) == (55, 0, 66, 0)


def test_shares_that_come_when_all_others_have_gone_are_worth_nothing_yet() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(4_000)), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM, day=1)
    chain.send((VAULT_SHARE, STRANGER, WARM, 950 * 10**18), day=1)
    assert pool_part(run(chain, days=2, apys=flat_apys(0.0)), 1) == (0, 0, -4_000, 0)


def test_unknown_shares_are_worth_what_those_are_that_join_them_and_that_is_unexplained() -> None:
    chain = golden_chain()
    chain.send((VAULT_SHARE, STRANGER, COLD, 950 * 10**18), day=1)
    chain.send((VAULT_SHARE, WARM, COLD, 1_900 * 10**18), sender=WARM, day=2)
    assert pool_part(run(chain, days=3, apys=flat_apys(0.0)), 2) == (1_000, 0, 1_000, 0)


def test_unknown_shares_that_were_paid_out_are_not_unexplained_twice() -> None:
    chain = golden_chain()
    chain.send((VAULT_SHARE, STRANGER, COLD, 950 * 10**18), day=1)
    chain.send((USDC, VAULT, COLD, usd(1_000)), burn(VAULT_SHARE, COLD, 950 * 10**18), sender=COLD, day=2)
    chain.send((USDC, COLD, VAULT, usd(500)), mint(VAULT_SHARE, COLD, 475 * 10**18), sender=COLD, day=2)
    assert pool_part(run(chain, days=3, apys=flat_apys(0.0)), 2)[:2] == (1_000, 0)


def test_shares_that_go_unexplained_take_what_they_earned_and_no_income() -> None:
    chain, grown = golden_chain(), accrue(usd(4_000), 0.05)
    chain.send((VAULT_SHARE, WARM, STRANGER, 1_900 * 10**18), sender=WARM, day=1)
    chain.send((VAULT_SHARE, WARM, STRANGER, 1_900 * 10**18), sender=WARM, day=2)
    book = run(chain, days=3)
    left = grown - grown // 2
    later = accrue(left, 0.05)
    earned = Decimal(later - left) / 10**6
    gone = Decimal(grown // 2) / 10**6
    assert pool_part(book, 1) == (-gone, earned, -gone, earned)
    rest = Decimal(later) / 10**6
    assert pool_part(book, 2) == (-rest, 0, -rest, 0)


def test_a_correction_that_explains_shares_takes_their_worth_back() -> None:
    chain = golden_chain()
    gift = chain.send((VAULT_SHARE, STRANGER, WARM, 1_900 * 10**18), day=1)
    book, day = run(chain, days=3, apys=flat_apys(0.0)), START + timedelta(days=2)
    shares = book.postings[(book.postings["tx_hash"] == gift) & (book.postings["account"] == UNEXPLAINED_ACCOUNT)]
    late = shares.assign(date=day, kind="correction", corrects=gift, tx_hash="correction:0x1")
    back = late.assign(amount=[-amount for amount in late["amount"]])
    there = late.assign(account="equity:shares:vault")
    worth = worth_of_unexplained_shares(
        pd.concat([back, there]),
        positions=book.positions[day],
        previous_positions=book.positions[day - timedelta(days=1)],
        book=AddressBook.of(POLICY, CONTRACTS),
        prices=book.prices,
        day=day,
    )
    assert worth == {"vault": -2_000}


# --- checks, each broken on purpose ---
def chain_says(book: Book, day: date) -> pd.DataFrame:
    """`chain_balances` that agree with the ledger."""
    columns = ["date", "chain_id", "wallet", "token_address", "balance", "decimals"]
    return book.balances[day][columns].assign(source="test", observed_at=None)


def test_balanced_ledger_has_no_violation_and_a_changed_unit_has_two() -> None:
    postings = run(golden_chain(), days=1).postings
    assert find_unbalanced(postings) == []
    broken = postings.assign(amount=[amount + (at == 3) for at, amount in enumerate(postings["amount"])])
    assert [found.name for found in find_unbalanced(broken)] == ["transaction_not_balanced", "ledger_not_balanced"]
    offset = postings.assign(
        amount=[a + (at == 0) - (at == len(postings) - 1) for at, a in enumerate(postings["amount"])]
    )
    assert {found.name for found in find_unbalanced(offset)} >= {"transaction_not_balanced"}
    assert postings["tx_hash"].iloc[3] in str(find_unbalanced(broken)[0])


def test_chain_and_ledger_agree_to_the_unit_or_say_where_not() -> None:
    chain = golden_chain()
    chain.send((FAKE_USDC, STRANGER, WARM, 5))
    book = run(chain, days=1)
    shared = {"policy": POLICY, "contracts": CONTRACTS, "prices": book.prices}
    ledger, truth = book.balances[START], chain_says(book, START)
    assert find_differences_with_chain(ledger, truth, **shared) == []

    def names(ours: pd.DataFrame, theirs: pd.DataFrame) -> list[str]:
        return [found.name for found in find_differences_with_chain(ours, theirs, **shared)]

    for token, prefix in ((USDC, ""), (NATIVE, ""), (VAULT_SHARE, ""), (FAKE_USDC, "untrusted_")):
        at = (ledger["token_address"] == token) & (ledger["wallet"] == WARM)
        off = truth.assign(balance=[b + int(hit) for b, hit in zip(truth["balance"], at, strict=True)])
        assert names(ledger, off) == [f"{prefix}balance_differs"]
        assert names(ledger, truth[~at]) == [f"{prefix}balance_only_in_ledger"]
        assert names(ledger[~at], truth) == [f"{prefix}balance_only_on_chain"]
    zero = truth.head(1).assign(token_address=DAI, balance=0)
    assert names(ledger, pd.concat([truth, zero])) == []


def test_a_debt_at_any_block_is_found_even_when_paid_back() -> None:
    chain = Chain()
    chain.send((USDC, WARM, BANK, 5), block=7)
    chain.send((USDC, BANK, WARM, 5), block=8)
    chain.send((DAI, WARM, BANK, 5), block=9)
    chain.send((DAI, BANK, WARM, 5), block=9)
    found = find_negative_balances(run(chain, days=1).postings)
    assert [(one.name, one.detail) for one in found] == [("negative_balance", "-5 after block 7")]
    assert WARM in found[0].subject
    assert USDC in found[0].subject


def test_nav_that_is_off_by_the_smallest_part_is_found() -> None:
    book = run(golden_chain(), days=2)
    row, before = book.nav.iloc[[1]], book.nav.iloc[[0]]
    for column in ("flows_usd", "income_usd", "expenses_usd", "price_change_usd", "unexplained_usd"):
        off = row.assign(**{column: [row[column].iloc[0] + Decimal("1e-40")]})
        if off[column].iloc[0] != row[column].iloc[0]:
            assert [found.name for found in find_nav_gap(off, before)] == ["nav_not_explained"]
    tiny = row.assign(expenses_usd=[Decimal("1e-40")])
    assert [found.name for found in find_nav_gap(tiny, before)] == ["nav_not_explained"]
    parts = row.assign(pools_usd=[row["pools_usd"].iloc[0] + 1])
    assert [found.name for found in find_nav_gap(parts, before)] == ["nav_parts_differ"]


def test_restated_history_breaks_the_identity_instead_of_being_absorbed() -> None:
    chain = golden_chain()
    stale = run(chain, days=1)
    chain.send((USDC, BANK, COLD, usd(1)), day=0)
    fresh = run(chain, days=2)
    row = nav_daily(
        START + timedelta(days=1),
        balances=fresh.balances[START + timedelta(days=1)],
        positions=fresh.positions[START + timedelta(days=1)],
        previous_balances=stale.balances[START],
        previous_positions=stale.positions[START],
        postings=fresh.postings,
        previous_nav=stale.nav,
        policy=POLICY,
        contracts=CONTRACTS,
        prices=fresh.prices,
    )
    assert [found.name for found in find_nav_gap(row, stale.nav)] == ["nav_not_explained"]


# --- exact money ---
@given(
    amounts=st.lists(st.tuples(st.integers(-(2**256), 2**256), st.integers(0, 36), st.floats(1e-12, 1e12)), max_size=6)
)
def test_money_is_never_rounded(amounts: list[tuple[int, int, float]]) -> None:
    from fractions import Fraction

    total = exact_sum(exact_value(amount, places, Decimal(repr(price))) for amount, places, price in amounts)
    exact = sum((Fraction(a, 10**places) * Fraction(repr(price)) for a, places, price in amounts), Fraction(0))
    assert Fraction(total) == exact


def test_one_spelling_per_number() -> None:
    assert [str(tidy(Decimal(text))) for text in ("1.500", "2E+3", "0E-9", "-0", "7")] == ["1.5", "2000", "0", "0", "7"]


def test_eth_price_is_the_first_that_is_known() -> None:
    day = START
    rows = [(day, "gas_price", "a", 3.0), (day, "base_fee", "b", None), (day + timedelta(days=1), "base_fee", "b", 2.5)]
    frame = pd.DataFrame(rows, columns=["date", "kind", "source", "eth_price_usd"]).assign(n_hours=24)
    assert eth_prices(frame) == {day: Decimal("3.0"), day + timedelta(days=1): Decimal("2.5")}


def test_nothing_is_worth_nothing_without_a_price() -> None:
    assert make_prices(POLICY).value(1, USDC, 0, date(1999, 1, 1)) == 0
