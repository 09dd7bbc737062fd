"""Pictures: what is drawn, that hostile names cannot break them, and equal bytes for equal rows."""

import io
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from PIL import Image

from defiyield_assets.domain.forecasting.plots import bands_figure, plot_bands, plot_scoreboard, scoreboard_figure

DAY = date(2025, 6, 30)
MODELS = ("combination", "last_value", "champion", "ses")


@pytest.fixture
def scoreboard() -> pd.DataFrame:
    rows = [
        {
            "date": DAY - timedelta(days=age),
            "target": target,
            "horizon_days": horizon,
            "model": model,
            "skill": 0.1 * place - 0.15 if model != "ses" else -40.0,
            "skill_30d": 0.05 - 0.01 * age,
            "coverage": None if model == "last_value" else 0.8,
        }
        for age in range(3)
        for target in ("apy", "tvl_usd")
        for horizon in (1, 7, 30)
        for place, model in enumerate(MODELS)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def histories() -> pd.DataFrame:
    days = [DAY - timedelta(days=age) for age in range(60)]
    return pd.DataFrame(
        {"pool_id": np.repeat(["b", "a"], 60), "date": days * 2, "apy": np.repeat([0.05, 0.10], 60), "tvl_usd": 2e6}
    )


@pytest.fixture
def forecasts() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "pool_id": pool,
                "as_of": DAY - timedelta(days=age),
                "horizon_days": horizon,
                "target": target,
                "mean": 0.06,
                "p10": 0.04,
                "p90": 0.09,
            }
            for pool in ("b", "a")
            for age in (0, 30)
            for horizon in (30, 1, 7)
            for target in ("apy", "tvl_usd")
        ]
    )


def heights(axis: Axes) -> list[float]:
    return [float(bar.get_height()) for bar in axis.patches if bar.get_width() < 0.5]


def test_the_scoreboard_is_a_picture_and_equal_rows_make_equal_bytes(scoreboard: pd.DataFrame) -> None:
    drawn = plot_scoreboard(scoreboard)
    image = Image.open(io.BytesIO(drawn))
    assert (image.format, image.size) == ("PNG", (880, 640))
    assert "Software" not in image.info
    assert len(set(np.asarray(image.convert("L")).ravel())) > 20
    assert plot_scoreboard(scoreboard.sample(frac=1.0, random_state=3)) == drawn


def test_the_scoreboard_shows_skill_coverage_and_champions_over_time(scoreboard: pd.DataFrame) -> None:
    skill, coverage, over_time = scoreboard_figure(scoreboard, "apy").axes
    assert [label.get_text() for label in skill.get_xticklabels()] == ["champion", "last_value", "combination", "ses"]
    assert heights(skill)[:4] == pytest.approx([0.05, -0.05, -0.15, -40.0])
    assert len(heights(skill)) == 4 * 3
    assert skill.get_ylim()[0] == -1.0
    assert skill.get_ylabel() == "skill: 1 - MAE / MAE of the last value"
    assert [line.get_ydata()[0] for line in skill.lines] == [0.0]
    assert [line.get_ydata()[0] for line in coverage.lines] == [0.8]
    assert [text.get_text() for text in coverage.get_legend().get_texts()] == ["1 day", "7 days", "30 days"]
    assert list(over_time.lines[0].get_ydata()) == pytest.approx([0.03, 0.04, 0.05])


def test_bands_show_every_vintage_in_per_cent(histories: pd.DataFrame, forecasts: pd.DataFrame) -> None:
    first, second = bands_figure(histories, forecasts, {"a": "USDC · aave-v3"}, "apy").axes
    assert [first.get_title(loc="left"), second.get_title(loc="left")] == ["USDC · aave-v3", "b"]
    assert first.get_ylabel() == "apy, % a year"
    assert set(first.lines[0].get_ydata()) == {10.0}
    assert len(first.collections) == 2
    band = first.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((4.0, 9.0))
    width_days = band[:, 0].max() - band[:, 0].min()
    assert width_days == 29
    (size, _) = bands_figure(histories, forecasts, {}, "tvl_usd").axes
    assert size.get_ylabel() == "tvl_usd, m USD"


def test_bands_of_equal_rows_are_equal_bytes(histories: pd.DataFrame, forecasts: pd.DataFrame) -> None:
    drawn = plot_bands(histories, forecasts)
    shuffled = plot_bands(histories.sample(frac=1.0, random_state=1), forecasts.sample(frac=1.0, random_state=1))
    assert shuffled == drawn


@pytest.mark.filterwarnings("error")
def test_names_that_others_chose_are_drawn_as_they_are(histories: pd.DataFrame, forecasts: pd.DataFrame) -> None:
    hostile = {"a": "$\\frac{1}{ $ \U0001f600\x00\n中" + "x" * 10_000_000, "b": "<b>&%_^"}
    first, second = bands_figure(histories, forecasts, hostile, "apy").axes
    assert first.get_title(loc="left").startswith("$\\frac{1}{ $ ????xxx")
    assert len(first.get_title(loc="left")) == 60
    assert second.get_title(loc="left") == "<b>&%_^"
    assert plot_bands(histories, forecasts, hostile).startswith(b"\x89PNG")


def test_nothing_to_draw_is_said(scoreboard: pd.DataFrame, histories: pd.DataFrame, forecasts: pd.DataFrame) -> None:
    assert plot_scoreboard(scoreboard, "base_fee_gwei").startswith(b"\x89PNG")
    nothing = bands_figure(histories, forecasts.iloc[:0], {}, "apy")
    assert nothing.get_suptitle() == "apy: no forecast"
