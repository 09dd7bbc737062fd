"""NAV explains itself exactly, attribution adds up, and every check fails when its rule is broken on purpose."""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.accounts import NATIVE
from defiyield_assets.domain.ledger.attribution import annualise, yield_attribution
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
from defiyield_assets.domain.ledger.tables import NAV_DAILY, make_frame
from defiyield_assets.domain.ledger.valuation import Prices, eth_prices, exact_sum, exact_value, tidy
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    CRV,
    DAI,
    FAKE_USDC,
    GAS_WEI,
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
    make_contracts,
    make_policy,
    make_prices,
    mint,
    usd,
)

POLICY = make_policy()
CONTRACTS = make_contracts()
EMPTY_NAV = make_frame(NAV_DAILY, [])


class Book:
    """All tables of a chain, day by day."""

    def __init__(self, chain: Chain, prices: Prices, apys: pd.DataFrame, days: int) -> None:
        self.prices = prices
        shared = {"policy": POLICY, "contracts": CONTRACTS, "prices": prices}
        self.postings = build_postings(chain.frame(), **shared)
        self.balances: dict[date, pd.DataFrame] = {}
        self.positions: dict[date, pd.DataFrame] = {}
        self.nav = EMPTY_NAV
        for day in (START + timedelta(days=at) for at in range(days)):
            before = day - timedelta(days=1)
            self.balances[day] = daily_balances(self.postings, day=day, **shared)
            self.positions[day] = pool_positions(self.postings, apys=apys, day=day, **shared)
            row = nav_daily(
                day,
                balances=self.balances[day],
                positions=self.positions[day],
                previous_balances=self.balances.get(before, self.balances[day].head(0)),
                previous_positions=self.positions.get(before, self.positions[day].head(0)),
                postings=self.postings,
                previous_nav=self.nav,
                **shared,
            )
            assert find_nav_gap(row, self.nav) == []
            self.nav = pd.concat([self.nav, row], ignore_index=True) if len(self.nav) else row


def flat_apys(apy: float = 0.05) -> pd.DataFrame:
    return pd.DataFrame([("vault", START, apy)], columns=["pool_id", "date", "apy"])


def run(chain: Chain, days: int = 4, apys: pd.DataFrame | None = None, **closes: Sequence[float]) -> Book:
    return Book(chain, make_prices(POLICY, **closes), flat_apys() if apys is None else apys, days)


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
    balances = [daily_balances(postings, day=day, **shared) for day in days]
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


# --- attribution ---
def attribute(book: Book, at: int, **inputs: dict[str, float]) -> pd.DataFrame:
    day = START + timedelta(days=at)
    return yield_attribution(
        day,
        positions=book.positions[day],
        previous_positions=book.positions[day - timedelta(days=1)],
        postings=book.postings,
        prices=book.prices,
        **{"advertised": {}, "forecasts": {}, **inputs},
    ).set_index("pool_id")


def test_realised_is_the_apy_when_nothing_else_happened() -> None:
    rows = attribute(run(golden_chain()), 2, advertised={"vault": 0.05}, forecasts={"vault": 0.06})
    vault = rows.loc["vault"]
    assert vault["realised_apy"] == pytest.approx(0.05, abs=1e-5)
    assert (vault["advertised_apy"], vault["forecast_apy"]) == (0.05, 0.06)
    assert vault["gap_rate"] == vault["realised_apy"] - 0.06
    assert (vault["gap_dilution"], vault["gap_price"], vault["gap_cost"]) == (0.0, 0.0, 0.0)
    assert vault["opening_usd"] == Decimal(accrue(accrue(usd(4_000), 0.05), 0.05)) / 10**6
    other = rows.loc["other"]
    assert other["realised_apy"] == 0.0
    assert math.isnan(other["forecast_apy"])
    assert math.isnan(other["gap_rate"])


def test_gap_splits_into_rate_dilution_price_and_cost_that_add_up() -> None:
    chain = golden_chain()
    chain.send(
        (USDC, WARM, VAULT, usd(1_000)), mint(VAULT_SHARE, WARM, 10**20), sender=WARM, day=1, gas=21_000 * 10**11
    )
    book = run(chain, USDC=[1.0, 0.9999])
    vault = attribute(book, 1, forecasts={"vault": 0.06}, diluted={"vault": 0.055}).loc["vault"]
    parts = [vault[f"gap_{name}"] for name in ("rate", "dilution", "price", "cost")]
    assert math.isclose(math.fsum(parts), vault["realised_apy"] - 0.06, rel_tol=1e-12)
    assert vault["gap_dilution"] == pytest.approx(-0.005)
    assert vault["gap_rate"] == pytest.approx(0.05 - 0.055, abs=1e-5)
    worked = (Decimal(accrue(usd(4_000), 0.05)) / 10**6 + 1_000) * Decimal("0.9999")
    price = -Decimal(accrue(usd(4_000), 0.05)) / 10**6 * Decimal("0.0001")
    cost = Decimal(21_000 * 10**11) / 10**18 * 2000
    daily = (vault["income_usd"] + price - cost) / worked
    assert vault["realised_apy"] == pytest.approx(annualise(float(daily)), rel=1e-12)
    assert vault["gap_price"] < 0
    assert vault["gap_cost"] < 0


def test_a_pool_that_was_left_has_no_realised_apy() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(4_000)), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM, day=1)
    vault = attribute(run(chain, apys=flat_apys(0.0)), 1, forecasts={"vault": 0.06}).loc["vault"]
    assert math.isnan(vault["realised_apy"])
    assert (vault["opening_usd"], vault["income_usd"]) == (4_000, 0)


def test_annualise_by_compounding_within_what_a_float_can_say() -> None:
    assert annualise(0.0) == 0.0
    assert annualise(0.001) == pytest.approx(1.001**365 - 1)
    assert annualise(-2.0) == -1.0
    assert annualise(1e9) is None


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
