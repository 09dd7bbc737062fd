"""What the report says of the ledger: what was earned against what was promised, and what nobody can explain."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from defiyield_assets.domain.ledger.attribution import annualise
from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Section
from defiyield_assets.domain.reporting.slack import build_slack_message
from defiyield_assets_tests.domain.reporting.conftest import DAI, DAY, POOL_A, POOL_B, frame, nav, plan_run, unexplained

Days = Callable[..., ReportInputs]


def section(inputs: ReportInputs, anchor: str) -> Section:
    found = build_content(inputs).section(anchor)
    assert found is not None
    return found


def position(pool_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "date": DAY,
        "pool_id": pool_id,
        "opening_usd": Decimal(100),
        "flows_usd": Decimal(50),
        "income_usd": Decimal("1.005"),
        "price_change_usd": Decimal("-0.5"),
        "closing_usd": Decimal("150.505"),
        "cost_usd": Decimal("0.25"),
        **changes,
    }


def test_returns_and_realised_yield_of_day_month_and_year(day_with: Days) -> None:
    facts = {fact.name: (fact.value, fact.remark) for fact in section(day_with(), "earned").facts}
    assert facts["Net asset value"] == ("$1,002,345.68", "+$245.58 since 2025-06-01")
    assert facts["Return of the day"] == ("+0.0214%", "month +0.04%, year +3.10%")
    assert facts["Realised yield of the day"] == ("+0.0220%", "month +0.04%, year +3.01%")


def test_the_plan_of_yesterday_is_held_against_what_the_day_brought_on_its_assets(day_with: Days) -> None:
    """Of the day's income only that of pools: 650 dollars came to wallets that the plan may not touch."""
    today = nav(DAY, "1002345.68", income_usd=Decimal(900), expenses_usd=Decimal(100))
    pools = [position(POOL_A, income_usd=Decimal(240)), position(POOL_B, income_usd=Decimal(10))]
    inputs = day_with(nav_daily=frame("nav_daily", today), yield_attribution=frame("yield_attribution", *pools))
    (words,) = section(inputs, "earned").paragraphs
    earned, net = (annualise(dollars / 1_002_345.678901) for dollars in (250, 150))
    assert words == (
        "The plan of 2025-06-01 promised 8.01% a year on $1,002,345.68, 8.99% after costs. The income of its pools on "
        f"the day is {earned:.2%} a year of that, {net:.2%} after the day's costs; price changes are not in it."
    )


@pytest.mark.parametrize(
    ("aum", "eth", "words"),
    [
        (
            "900",
            "40",
            "$100.00 more than the assets under management of $900.00: $40.00 is ETH, kept for gas, $60.00 is "
            "in wallets, tokens or pools that the plan may not touch.",
        ),
        ("900", "100", "$100.00 more than the assets under management of $900.00: $100.00 is ETH, kept for gas."),
        (
            "900",
            "0",
            "$100.00 more than the assets under management of $900.00: $100.00 is in wallets, tokens or pools "
            "that the plan may not touch.",
        ),
        (
            "1100",
            "0",
            "$100.00 less than the assets under management of $1,100.00: ledger and plan do not count the same "
            "holdings, or not at the same prices.",
        ),
        ("999.50", "0.25", None),
    ],
)
def test_why_net_asset_value_and_managed_assets_differ_is_told_with_the_figure(
    day_with: Days, aum: str, eth: str, words: str | None
) -> None:
    today = frame("nav_daily", nav(DAY, "1000", eth_usd=Decimal(eth)))
    run = frame("allocation_runs", plan_run(aum_usd=Decimal(aum)))
    told = section(day_with(nav_daily=today, allocation_runs=run), "earned").paragraphs
    assert [line for line in told if line.startswith("The net asset value is ")] == (
        [] if words is None else [f"The net asset value is {words}"]
    )


@pytest.mark.parametrize("runs", [(), (plan_run(aum_usd=Decimal(0)),)])
def test_without_a_plan_that_had_assets_nothing_is_compared(day_with: Days, runs: tuple[dict[str, Any], ...]) -> None:
    assert section(day_with(decided_runs=frame("allocation_runs", *runs)), "earned").paragraphs == ()


def test_positions_in_dollars_add_up_under_their_sum(day_with: Days) -> None:
    rows = [position(POOL_A), position(POOL_B, opening_usd=Decimal(1), closing_usd=Decimal("51.505"))]
    (_, dollars) = section(day_with(yield_attribution=frame("yield_attribution", *rows)), "earned").tables
    assert [row[1:] for row in dollars.rows] == [
        ("$100.00", "+$50.00", "+$1.00", "-$0.50", "$150.50", "$0.25"),
        ("$1.00", "+$50.00", "+$1.00", "-$0.50", "$51.50", "$0.25"),
        ("$101.00", "+$100.00", "+$2.01", "-$1.00", "$202.01", "$0.50"),
    ]
    assert dollars.rows[-1][0] == "All pools"


def test_an_older_row_without_its_dollars_is_shown_without_a_sum(day_with: Days) -> None:
    rows = [position(POOL_A), position(POOL_B, flows_usd=None, closing_usd=None)]
    (_, dollars) = section(day_with(yield_attribution=frame("yield_attribution", *rows)), "earned").tables
    assert len(dollars.rows) == 2
    assert dollars.rows[1][2] == "unknown"


def test_a_wild_day_annualised_is_only_called_larger(day_with: Days) -> None:
    row = position(POOL_A, realised_apy=1e300, forecast_apy=0.05, gap_rate=Decimal("1e300"), gap_cost=Decimal(-11))
    (apys, _) = section(day_with(yield_attribution=frame("yield_attribution", row)), "earned").tables
    assert apys.rows[0][5:7] == ("above 1,000%", "above 1,000 points")
    assert apys.rows[0][9] == "below -1,000 points"


def test_gaps_between_rates_are_points_and_the_advertised_rate_says_of_which_day_it_is(day_with: Days) -> None:
    gaps = {"gap_rate": Decimal("-0.0404"), "gap_price": Decimal("-0.000001"), "gap_cost": None}
    row = position(POOL_A, advertised_apy=0.07, **gaps)
    (apys, dollars) = section(day_with(yield_attribution=frame("yield_attribution", row)), "earned").tables
    told = dict(zip([column.name for column in apys.columns], apys.rows[0], strict=True))
    assert told["Advertised the day before"] == "7.00%"
    assert [told[f"Gap: {part}"] for part in ("rate", "price", "cost")] == ["-4.04 points", "+0.00 points", "unknown"]
    assert "costs are those of its own transactions alone, without swaps and approvals" in dollars.caption


def test_on_the_first_day_income_is_said_to_be_unmeasured(day_with: Days) -> None:
    """Though the day has bookings."""
    today = nav(DAY, "1000", return_1d=None, realised_yield_1d=None)
    facts = section(day_with(nav_daily=frame("nav_daily", today)), "earned").facts
    remarks = {fact.name: fact.remark for fact in facts}
    assert remarks["Income"] == remarks["Expenses"] == "not measured on the first day"
    assert {fact.name: fact.remark for fact in section(day_with(), "earned").facts}["Income"] == "yield and rewards"


def test_what_is_unexplained_is_told_first_and_listed_with_what_would_explain_it(day_with: Days) -> None:
    rows = (
        unexplained(7, "0", tx_hash="0x" + "5a" * 32, token_address="0x" + "99" * 20, symbol=None, hint="spam"),
        unexplained(),
        unexplained(2 * 10**18, "2.5", token_address=DAI, decimals=18, counterparty=None, symbol="DAI"),
    )
    inputs = day_with(unexplained_transactions=frame("unexplained_transactions", *rows))
    content = build_content(inputs)
    words = "The ledger cannot explain 1 transaction that moved $502.50: listed below until resolved."
    assert words in content.paragraphs
    assert content.tone == "warn"
    listed = section(inputs, "unexplained").tables[0].rows
    assert [row[1] for row in listed] == ["USDC", "DAI", "0x9999…9999"]
    assert listed[0] == (
        "2025-05-30",
        "USDC",
        "-500",
        "-$500.00",
        "0xc7c7…c7c7",
        "unlisted_deposit",
        "list the pool of share token 0x77 in pool_contracts",
        "0x" + "7e" * 32,
    )
    assert listed[1][4] == "unknown"
    assert any(words in str(block) for block in build_slack_message(inputs).blocks)


def test_only_what_is_worth_money_is_a_warning(day_with: Days) -> None:
    spam = unexplained(7, "0", token_address="0x" + "99" * 20, symbol=None)
    content = build_content(day_with(unexplained_transactions=frame("unexplained_transactions", spam)))
    assert content.tone == "good"
    assert not any("cannot explain" in words for words in content.paragraphs)
    assert content.section("unexplained") is not None
    unpriced = unexplained(7, None)
    content = build_content(day_with(unexplained_transactions=frame("unexplained_transactions", unpriced)))
    assert any("cannot explain 1 transaction" in words for words in content.paragraphs)


def test_a_long_list_is_cut_and_counted(day_with: Days) -> None:
    rows = [unexplained(tx_hash=f"0x{number:064x}") for number in range(60)]
    found = section(day_with(unexplained_transactions=frame("unexplained_transactions", *rows)), "unexplained")
    assert len(found.tables[0].rows) == 50
    assert "10 more are in unexplained_transactions" in found.paragraphs[0]


def test_when_all_is_explained_nothing_is_said(day_with: Days) -> None:
    assert build_content(day_with()).section("unexplained") is None
