"""Pictures of the treasury: what is drawn, that hostile names cannot break them, and equal bytes for equal rows."""

import io
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from defiyield_assets.domain.ledger.plots import attribution_figure, nav_figure, plot_attribution, plot_nav

DAY = date(2025, 6, 30)
HOSTILE = "<b>$\\frac{x\x00\U0001f4a9" + "A" * 1_000


@pytest.fixture
def nav() -> pd.DataFrame:
    rows = [
        {
            "date": DAY - timedelta(days=age),
            "pools_usd": Decimal(900 + age),
            "wallets_usd": Decimal(100),
            "eth_usd": Decimal("5.5"),
            "income_usd": Decimal("1.5"),
            "expenses_usd": Decimal("0.25"),
            "price_change_usd": Decimal(-2 if age % 2 else 2),
            "unexplained_usd": Decimal(7 if age == 3 else 0),
            "return_1d": None if age == 9 else 0.01,
            "realised_yield_1d": None if age == 9 else 0.001,
        }
        for age in range(10)
    ]
    return pd.DataFrame(rows)


def row(pool_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "date": DAY,
        "pool_id": pool_id,
        "advertised_apy": 0.08,
        "forecast_apy": 0.07,
        "realised_apy": 0.05,
        "opening_usd": Decimal(100),
        "closing_usd": Decimal(200),
        "gap_rate": Decimal("-0.04"),
        "gap_dilution": Decimal("-0.01"),
        "gap_price": Decimal("0.03"),
        "gap_cost": Decimal(0),
        **changes,
    }


def size_of(png: bytes) -> tuple[int, int]:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert "Software" not in image.info
    assert len(set(np.asarray(image.convert("L")).ravel())) > 20
    return image.size


def test_nav_is_a_picture_and_equal_rows_make_equal_bytes(nav: pd.DataFrame) -> None:
    drawn = plot_nav(nav)
    assert size_of(drawn) == (880, 600)
    assert plot_nav(nav.sample(frac=1.0, random_state=3)) == drawn
    assert size_of(plot_nav(nav.head(1))) == (880, 600)
    assert plot_nav(nav.head(0))


def test_holdings_are_stacked_to_the_net_asset_value(nav: pd.DataFrame) -> None:
    top, returns, moves, unexplained = nav_figure(nav).axes
    last = [container[-1] for container in top.containers]
    assert [bar.get_height() for bar in last] == [900.0, 100.0, 5.5]
    assert [bar.get_y() for bar in last] == [0.0, 900.0, 1000.0]
    assert top.get_title() == "Net asset value of $1,005.50 on 2025-06-30"
    grown, earned = (line.get_ydata() for line in returns.lines[:2])
    assert grown[-1] == pytest.approx((1.01**9 - 1) * 100)
    assert earned[0] == 0.0
    assert earned[-1] == pytest.approx((1.001**9 - 1) * 100)
    income, expenses, prices = (container[-1] for container in moves.containers)
    assert (income.get_y(), income.get_height()) == (0.0, 1.5)
    assert (expenses.get_y(), expenses.get_height()) == (0.0, -0.25)
    assert (prices.get_y(), prices.get_height()) == (1.5, 2.0)
    assert list(unexplained.lines[0].get_ydata()) == [0.0] * 6 + [7.0] * 4


def test_gaps_are_stacked_both_ways_and_their_sum_is_written() -> None:
    rows = pd.DataFrame([row("small", opening_usd=Decimal(1), closing_usd=Decimal(1)), row("large")])
    apys, gaps = attribution_figure(rows, {"large": "USDC"}).axes
    assert [label.get_text() for label in apys.get_yticklabels()] == ["USDC, $200", "small, $1"]
    spans = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar, *_ in gaps.containers]
    assert spans == [pytest.approx(span) for span in ([-4.0, 0.0], [-5.0, -4.0], [0.0, 3.0], [3.0, 3.0])]
    assert [text.get_text() for text in gaps.texts] == ["-2.00", "-2.00"]
    assert [line.get_xdata()[0] for line in apys.lines] == pytest.approx([8.0, 7.0, 5.0])


def test_a_total_loss_ends_at_the_edge_and_an_unknown_gap_says_so() -> None:
    unknown = dict.fromkeys(("forecast_apy", "closing_usd", "gap_rate", "gap_dilution", "gap_price", "gap_cost"))
    left = {**unknown, "opening_usd": Decimal(1), "closing_usd": Decimal(0)}
    rows = pd.DataFrame([row("a", realised_apy=-1.0, gap_cost=Decimal("-1.05")), row("b", **unknown), row("c", **left)])
    apys, gaps = attribution_figure(rows, {}).axes
    assert apys.lines[2].get_xdata()[0] == -40.0
    assert gaps.get_xlim() == (-40.0, 40.0)
    assert [text.get_text() for text in gaps.texts] == ["-107.00", "unknown", "left"]


def test_attribution_is_a_picture_whatever_the_order_the_names_and_the_number_of_pools() -> None:
    rows = pd.DataFrame([row(f"pool{number:03d}") for number in range(40)])
    names = {"pool000": HOSTILE}
    drawn = plot_attribution(rows, names)
    assert size_of(drawn) == (880, 656)
    assert plot_attribution(rows.sample(frac=1.0, random_state=3), names) == drawn
    assert len(attribution_figure(rows, names).axes[0].get_yticks()) == 20
    assert plot_attribution(rows.head(0))
