"""What each pool promised, was expected to earn and earned: dollars and gap add up exactly, and a break is found."""

import math
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.accounts import NATIVE
from defiyield_assets.domain.ledger.attribution import annualise, decided_rates, yield_attribution
from defiyield_assets.domain.ledger.checks import find_attribution_gaps
from defiyield_assets.domain.ledger.nav import income_outside_pools
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, POOL_POSITIONS, make_frame
from defiyield_assets.domain.ledger.valuation import exact_sum
from defiyield_assets_tests.domain.ledger.books import CONTRACTS, POLICY, Book, flat_apys, run
from defiyield_assets_tests.domain.ledger.facts import (
    DAI,
    ROUTER,
    START,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    burn,
    golden_chain,
    make_prices,
    mint,
    usd,
)

NEXT = START + timedelta(days=1)
GAPS = ("gap_rate", "gap_dilution", "gap_price", "gap_cost")
DOLLARS = ("opening_usd", "flows_usd", "income_usd", "price_change_usd", "closing_usd", "cost_usd")


def attribute(book: Book, at: int, **rates: dict[str, float]) -> pd.DataFrame:
    return book.attribution(START + timedelta(days=at), **rates).set_index("pool_id")


def exactly(apy: float) -> Decimal:
    return Decimal(repr(float(apy)))


def test_realised_is_the_apy_when_nothing_else_happened() -> None:
    rows = attribute(run(golden_chain()), 2, advertised={"vault": 0.05}, forecasts={"vault": 0.06})
    vault = rows.loc["vault"]
    assert vault["realised_apy"] == pytest.approx(0.05, abs=1e-5)
    assert (vault["advertised_apy"], vault["forecast_apy"]) == (0.05, 0.06)
    assert vault["gap_rate"] == exactly(vault["realised_apy"]) - Decimal("0.06")
    assert (vault["gap_dilution"], vault["gap_price"], vault["gap_cost"]) == (0, 0, 0)
    assert vault["opening_usd"] == Decimal(accrue(accrue(usd(4_000), 0.05), 0.05)) / 10**6
    assert vault["closing_usd"] == vault["opening_usd"] + vault["income_usd"]
    assert (vault["flows_usd"], vault["price_change_usd"], vault["cost_usd"]) == (0, 0, 0)
    other = rows.loc["other"]
    assert other["realised_apy"] == 0.0
    assert math.isnan(other["forecast_apy"])
    assert [other[name] for name in GAPS] == [None] * 4


def test_gap_splits_into_rate_dilution_price_and_cost_that_add_up_exactly() -> None:
    chain = golden_chain()
    chain.send(
        (USDC, WARM, VAULT, usd(1_000)), mint(VAULT_SHARE, WARM, 10**20), sender=WARM, day=1, gas=21_000 * 10**11
    )
    book = run(chain, USDC=[1.0, 0.9999])
    vault = attribute(book, 1, forecasts={"vault": 0.06}, diluted={"vault": 0.055}).loc["vault"]
    assert exact_sum([*(vault[name] for name in GAPS), Decimal("0.06")]) == exactly(vault["realised_apy"])
    assert vault["gap_dilution"] == Decimal("-0.005")
    assert float(vault["gap_rate"]) == pytest.approx(0.05 - 0.055, abs=1e-5)
    opening = Decimal(accrue(usd(4_000), 0.05)) / 10**6
    worked = (opening + 1_000) * Decimal("0.9999")
    price = -opening * Decimal("0.0001")
    cost = Decimal(21_000 * 10**11) / 10**18 * 2000
    assert (vault["opening_usd"], vault["flows_usd"], vault["cost_usd"]) == (opening, Decimal("999.9"), cost)
    assert vault["price_change_usd"] == price
    grown = accrue(accrue(usd(4_000), 0.05) + usd(1_000), 0.05)
    assert vault["closing_usd"] == Decimal(grown) / 10**6 * Decimal("0.9999")
    assert vault["income_usd"] == vault["closing_usd"] - worked
    daily = (vault["income_usd"] + price - cost) / worked
    assert vault["realised_apy"] == pytest.approx(annualise(float(daily)), rel=1e-12)
    assert float(vault["gap_price"] + vault["gap_cost"]) == pytest.approx(
        vault["realised_apy"] - annualise(float(vault["income_usd"] / worked)), rel=1e-9
    )
    assert vault["gap_price"] < 0
    assert vault["gap_cost"] < 0


def test_a_pool_that_was_left_has_no_realised_apy_but_all_its_dollars() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(4_001)), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM, day=1)
    vault = attribute(run(chain, apys=flat_apys(0.0)), 1, forecasts={"vault": 0.06}).loc["vault"]
    assert math.isnan(vault["realised_apy"])
    assert [vault[name] for name in GAPS] == [None] * 4
    assert [vault[name] for name in DOLLARS[:5]] == [4_000, -4_001, 1, 0, 0]
    assert vault["cost_usd"] > 0


def test_a_pool_that_was_entered_and_left_within_a_day_has_a_row() -> None:
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(4_000)), burn(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM, day=1)
    chain.send((USDC, WARM, VAULT, usd(500)), mint(VAULT_SHARE, WARM, 10**20), sender=WARM, day=2)
    chain.send((USDC, VAULT, WARM, usd(503)), burn(VAULT_SHARE, WARM, 10**20), sender=WARM, day=2)
    book = run(chain, apys=flat_apys(0.0))
    vault = attribute(book, 2).loc["vault"]
    assert [vault[name] for name in DOLLARS[:5]] == [0, -3, 3, 0, 0]
    assert set(attribute(book, 3).index) == {"other"}


def test_a_reward_of_a_pools_own_transaction_is_its_income_and_was_paid_out() -> None:
    chain = golden_chain()
    chain.send(
        (USDC, WARM, VAULT, usd(1_000)),
        mint(VAULT_SHARE, WARM, 10**20),
        (DAI, VAULT, WARM, 7 * 10**18),
        sender=WARM,
        day=1,
    )
    chain.send((DAI, VAULT, WARM, 2 * 10**18), day=1)
    book = run(chain, apys=flat_apys(0.0))
    vault = attribute(book, 1).loc["vault"]
    assert [vault[name] for name in DOLLARS[:5]] == [4_000, 991, 9, 0, 5_000]
    assert book.nav.iloc[1]["income_usd"] == 9
    gas = vault["cost_usd"]
    assert vault["realised_apy"] == pytest.approx(annualise(float((9 - gas) / 5_000)), rel=1e-12)


def test_rewards_and_rebases_that_name_no_pool_are_income_outside_of_pools() -> None:
    at = (1, "0x1", "token", 0, 0, NEXT, 7, pd.Timestamp("2025-06-03", tz="UTC"))
    legs = (
        ("income:rewards", None, Decimal(-2)),
        ("income:rewards", "vault", Decimal(-4)),
        (f"income:yield:{USDC}", None, Decimal(-8)),
        ("income:yield:vault", "vault", Decimal(-16)),
        ("equity:unexplained", None, Decimal(-32)),
    )
    postings = make_frame(
        LEDGER_POSTINGS,
        [(*at, account, None, None, USDC, 1, 6, value, "reward", pool, False, None) for account, pool, value in legs],
    )
    assert income_outside_pools(postings) == 10
    positions = _held(START, 5, make_prices(POLICY, days=2))
    rows = yield_attribution(
        NEXT,
        positions=positions,
        previous_positions=positions,
        postings=postings,
        policy=POLICY,
        contracts=CONTRACTS,
        prices=make_prices(POLICY, days=2),
        advertised={},
        forecasts={},
    )
    assert rows["pool_id"].tolist() == ["vault"]
    assert rows["flows_usd"].tolist() == [-20]
    assert rows["income_usd"].tolist() == [20]


def test_a_position_of_cents_is_measured_like_any_other() -> None:
    prices = make_prices(POLICY, days=2)
    rows = yield_attribution(
        NEXT,
        positions=_held(NEXT, 10_001, prices),
        previous_positions=_held(START, 10_000, prices),
        postings=make_frame(LEDGER_POSTINGS, []),
        policy=POLICY,
        contracts=CONTRACTS,
        prices=prices,
        advertised={},
        forecasts={},
    )
    assert rows["realised_apy"].tolist() == [pytest.approx(1.0001**365 - 1)]


def test_on_the_first_day_all_that_is_held_is_a_flow() -> None:
    rows = attribute(run(golden_chain()), 0, forecasts={"vault": 0.06})
    vault = rows.loc["vault"]
    held = Decimal(accrue(usd(4_000), 0.05)) / 10**6
    assert [vault[name] for name in DOLLARS[:5]] == [0, held, 0, 0, held]
    assert math.isnan(vault["realised_apy"])
    assert vault["gap_rate"] is None


def test_positions_of_days_without_a_nav_are_a_flow_of_the_first_day_that_has_one() -> None:
    book = run(golden_chain(), days=2, apys=flat_apys(0.0))
    found = yield_attribution(
        NEXT,
        positions=book.positions[NEXT],
        previous_positions=book.positions[START],
        postings=book.postings,
        policy=POLICY,
        contracts=CONTRACTS,
        prices=book.prices,
        advertised={},
        forecasts={},
        is_first_day=True,
    ).set_index("pool_id")
    assert [found.loc["vault", name] for name in DOLLARS[:5]] == [0, 4_000, 0, 0, 4_000]


def test_a_correction_pays_in_what_was_put_there_before_and_measures_no_day() -> None:
    book = run(golden_chain(), days=2)
    deposit = book.postings[book.postings["pool_id"] == "vault"].copy()
    deposit["tx_hash"] = "correction:2025-06-03:" + deposit["tx_hash"]
    deposit = deposit.assign(kind="correction", date=NEXT, corrects="0x1")
    rows = yield_attribution(
        NEXT,
        positions=book.positions[NEXT],
        previous_positions=book.positions[START].iloc[:0],
        postings=deposit,
        policy=POLICY,
        contracts=CONTRACTS,
        prices=book.prices,
        advertised={},
        forecasts={"vault": 0.05},
    ).set_index("pool_id")
    vault = rows.loc["vault"]
    growth = Decimal(accrue(accrue(usd(4_000), 0.05), 0.05) - usd(4_000)) / 10**6
    assert [vault[name] for name in DOLLARS[:5]] == [0, 4_000, growth, 0, 4_000 + growth]
    assert math.isnan(vault["realised_apy"]), "two days' growth is not a day's return"
    assert vault["gap_rate"] is None


def test_what_two_tokens_of_a_pool_earn_is_added_up() -> None:
    chain = golden_chain()
    pair = "0x" + "31" * 20
    share = "0x" + "32" * 20
    chain.send((DAI, ROUTER, WARM, 50 * 10**18))
    chain.send((USDC, WARM, pair, usd(100)), (DAI, WARM, pair, 50 * 10**18), mint(share, WARM, 10**18), sender=WARM)
    apys = pd.DataFrame([("pair", START, 0.1)], columns=["pool_id", "date", "apy"])
    book = run(chain, apys=apys, USDC=[1.0, 0.99], DAI=[1.0, 1.01])
    row = attribute(book, 1).loc["pair"]
    dollars, dai = accrue(usd(100), 0.1), accrue(50 * 10**18, 0.1)
    assert row["price_change_usd"] == (Decimal(dai) / 10**18 - Decimal(dollars) / 10**6) / 100
    grown = Decimal(accrue(dollars, 0.1) - dollars) / 10**6 * Decimal("0.99")
    assert row["income_usd"] == grown + Decimal(accrue(dai, 0.1) - dai) / 10**18 * Decimal("1.01")


@pytest.mark.parametrize("total", [-2.0, -1.0])
def test_a_total_loss_is_minus_one(total: float) -> None:
    assert annualise(total) == -1.0


def test_annualise_by_compounding_within_what_a_float_can_say() -> None:
    assert annualise(0.0) == 0.0
    assert annualise(0.001) == pytest.approx(1.001**365 - 1)
    assert annualise(1e9) is None


# --- what was decided ---
def plan(*rows: tuple[str, int, float | None, float | None]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=["pool_id", "amount", "forecast_apy", "diluted_apy"])


FORECASTS = pd.DataFrame([("vault", 0.06), ("other", 0.04)], columns=["pool_id", "mean"])


def test_the_plan_says_what_we_expected_and_how_our_size_dilutes_it() -> None:
    decided = plan(("vault", 1, 0.055, 0.05), ("other", 0, 0.04, 0.045), ("IDLE", 7, None, None))
    assert decided_rates(FORECASTS, decided) == ({"vault": 0.055, "other": 0.04}, {"vault": 0.05})


def test_what_the_plan_made_do_with_is_no_forecast() -> None:
    assert decided_rates(FORECASTS.head(1), plan(("other", 5, 0.0, 0.0))) == ({"vault": 0.06}, {})


def test_without_a_plan_the_forecasts_stand_undiluted() -> None:
    assert decided_rates(FORECASTS, plan()) == ({"vault": 0.06, "other": 0.04}, {})


# --- the check, broken on purpose ---
def test_each_break_of_the_attribution_is_found_by_its_name() -> None:
    chain = golden_chain()
    chain.send((USDC, WARM, VAULT, usd(1_000)), mint(VAULT_SHARE, WARM, 10**20), sender=WARM, day=1)
    book = run(chain, days=2, USDC=[1.0, 0.9999])
    nav = book.nav.iloc[[1]]
    rows = book.attribution(NEXT, forecasts={"vault": 0.06}, diluted={"vault": 0.055})
    assert book.attribution_gaps(NEXT, nav, rows) == []
    at = int(rows.index[rows["pool_id"] == "vault"][0])

    def off(column: str, by: Decimal) -> list[str]:
        broken = rows.copy()
        broken[column] = [exact_sum([value, by]) if here == at else value for here, value in enumerate(rows[column])]
        return book.attribution_gaps(NEXT, nav, broken)

    tiny = Decimal("1e-40")
    assert off("flows_usd", tiny) == off("price_change_usd", tiny) == ["position_not_explained"]
    assert off("opening_usd", tiny) == off("closing_usd", tiny) == ["position_not_explained", "positions_differ"]
    assert off("income_usd", tiny) == ["position_not_explained", "income_differs"]
    for column in GAPS:
        assert off(column, tiny) == ["gap_not_explained"]
        lost = rows.assign(**{column: [None if here == at else value for here, value in enumerate(rows[column])]})
        assert book.attribution_gaps(NEXT, nav, lost) == ["gap_not_explained"]
    unknown = rows.assign(realised_apy=math.nan)
    assert book.attribution_gaps(NEXT, nav, unknown) == ["gap_not_explained"]
    gone = rows.assign(closing_usd=None)
    assert book.attribution_gaps(NEXT, nav, gone) == [*["position_not_explained"] * 2, "positions_differ"]
    assert book.attribution_gaps(NEXT, nav, rows.drop(at)) == ["positions_differ", "positions_differ", "income_differs"]
    elsewhere = nav.assign(income_usd=[exact_sum([*nav["income_usd"], tiny])])
    assert book.attribution_gaps(NEXT, elsewhere, rows) == ["income_differs"]
    assert book.attribution_gaps(NEXT, nav.head(0), rows) == [], "without a NAV there is nothing to compare with"


def test_a_shift_of_income_between_pools_that_cancels_out_is_found_by_position() -> None:
    book = run(golden_chain(), days=2)
    rows = book.attribution(NEXT)
    shifted = rows.assign(income_usd=[value + (1, -1)[at] for at, value in enumerate(rows["income_usd"])])
    assert book.attribution_gaps(NEXT, book.nav.iloc[[1]], shifted) == ["position_not_explained"] * 2


@settings(deadline=None)
@given(
    units=st.integers(1, 10**15),
    grown=st.integers(0, 10**15),
    closes=st.tuples(st.floats(0.2, 5.0), st.floats(0.2, 5.0)),
    rates=st.tuples(st.floats(-0.9, 9.0), st.floats(-0.9, 9.0)),
    cost=st.integers(0, 10**18),
)
def test_parts_add_up_exactly_for_any_position_forecast_and_close(
    units: int, grown: int, closes: tuple[float, float], rates: tuple[float, float], cost: int
) -> None:
    prices = make_prices(POLICY, days=2, USDC=closes)
    held = [_held(day, amount, prices) for day, amount in ((START, units), (NEXT, grown))]
    gas = (1, "0x1", "gas", 0, 0, NEXT, 7, pd.Timestamp("2025-06-03", tz="UTC"), "expenses:gas", None, None)
    paid = (NATIVE, cost, 18, prices.value(1, NATIVE, cost, NEXT), "deposit", "vault", False, None)
    postings = make_frame(LEDGER_POSTINGS, [(*gas, *paid)])
    rows = yield_attribution(
        NEXT,
        positions=held[1],
        previous_positions=held[0],
        postings=postings,
        policy=POLICY,
        contracts=CONTRACTS,
        prices=prices,
        advertised={},
        forecasts={"vault": rates[0]},
        diluted={"vault": rates[1]},
    )
    assert find_attribution_gaps(rows, nav=rows.head(0), previous_nav=rows.head(0), postings=postings) == []
    row = rows.iloc[0]
    assert exact_sum(row[name] for name in DOLLARS[:4]) == row["closing_usd"] == prices.value(1, USDC, grown, NEXT)
    if not math.isnan(row["realised_apy"]):
        assert exact_sum([*(row[name] for name in GAPS), exactly(rates[0])]) == exactly(row["realised_apy"])


def _held(day: date, amount: int, prices: Any) -> pd.DataFrame:
    close, value = prices.close(1, USDC, day), prices.value(1, USDC, amount, day)
    rate = ("apy_growth", 0, amount, 6, close, value)
    return make_frame(POOL_POSITIONS, [(day, 1, WARM, "vault", USDC, VAULT_SHARE, 10, Decimal(1), *rate)])
