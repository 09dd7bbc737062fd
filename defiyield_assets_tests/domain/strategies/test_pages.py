"""Tests of the pages and their charts (tear_sheet.py, assessment_page.py, charts.py)."""

import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.strategies.assessment_page import assessment_page
from defiyield_assets.domain.strategies.charts import Line, line_chart, multiple_ticks, nice_ticks, thinned
from defiyield_assets.domain.strategies.evidence import deflated_of_trials, overfitting
from defiyield_assets.domain.strategies.ranking import Ranking, rank_strategies
from defiyield_assets.domain.strategies.tear_sheet import (
    SHOWN_TRADES,
    SheetInputs,
    evidence_figures,
    monthly_returns,
    rolling_sharpe,
    tear_sheet,
)
from defiyield_assets.domain.strategies.walk_forward import WalkForward, walk_forward
from defiyield_assets_tests.browser import chromium
from defiyield_assets_tests.domain.strategies.test_ranking import run

HOSTILE = '<script>alert("x")</script>&<img src=http://evil.example/a onerror=go()>'
COST_GRID = pd.DataFrame(
    {
        "cost_factor": [0.0, 1.0, 2.0],
        "total_return": [1.0, 0.8, 0.6],
        "annualised_return": [0.2, None, 0.1],
        "sharpe": [1.2, 1.0, np.nan],
        "max_drawdown": [-0.3, -0.31, -0.33],
        "n_trades": [150.0, 150.0, 150.0],
    }
)


def made_inputs(n_bars: int = 700, n_trades: int = 150, name: str = "golden_cross") -> SheetInputs:
    random = np.random.default_rng(1)
    dates = (np.datetime64("2021-12-31") + np.arange(n_bars + 1)).astype(object)
    curves = {
        column: 1e5 * np.exp(np.concatenate([[0.0], random.normal(0.0005, 0.02, n_bars).cumsum()]))
        for column in ("equity", "buy_and_hold", "cash_benchmark")
    }
    trades = pd.DataFrame(
        {
            "instrument_id": name,
            "side": "long",
            "entry_date": [dates[number % n_bars] for number in range(n_trades)],
            "entry_price": 123.456,
            "exit_date": [dates[number % n_bars + 1] for number in range(n_trades)],
            "exit_price": 130.1,
            "entry_fee": 1.0,
            "exit_fee": 2.0,
            "borrow_cost": 0.5,
            "bars_held": 1,
            "exit_reason": name,
            "pnl": random.normal(10.0, 100.0, n_trades),
            "return": random.normal(0.01, 0.05, n_trades),
        }
    )
    return SheetInputs(
        name,
        "a" * 64,
        name,
        pd.DataFrame({"date": dates, **curves}),
        trades,
        {"total_return": 1.2, "sharpe": 0.93, "max_drawdown": -0.31, "fees": 123.4, "calmar": None},
        COST_GRID,
        365.0,
        description=name,
        evidence={"n_trials": 120.0, "deflated_sharpe": 0.41, "pbo": None},
        scenarios=made_ranking(name).scenarios.query("strategy_id == @name"),
        rank=2,
        n_strategies=3,
        flags=(name,),
        provenance={name: name},
    )


def made_ranking(name: str = "golden_cross") -> Ranking:
    random = np.random.default_rng(2)
    return rank_strategies(
        pd.DataFrame(
            run(strategy, f"{name}_{k}", family, float(random.normal()), regime_sharpe_calm=float(random.normal()))
            for strategy in (name, "b", "c")
            for k, family in enumerate(["crisis", "bull", name, "stochastic"] * 5)
        )
    )


class Reader(HTMLParser):
    """Tags, attributes and the nesting of a page."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["golden_cross", HOSTILE])
def test_pages_are_self_contained_and_run_nothing_whatever_things_are_called(name: str) -> None:
    ranking = made_ranking(name)
    names = dict.fromkeys(ranking.scenarios["scenario_id"], name)
    for page in (tear_sheet(made_inputs(name=name)), assessment_page(ranking, name, names, provenance={name: name})):
        read = Reader(page)
        assert not {"script", "img", "link", "iframe", "object", "a", "form"} & set(read.tags)
        told = {key for key, _ in read.attributes}
        assert not {"src", "href", "action"} & told
        assert not any(key.startswith("on") for key in told)
        assert not re.search(r"url\(|@import", page)
        assert "default-src 'none'" in page
        assert "<script" not in page


def test_the_sheet_shows_its_parts() -> None:
    page = tear_sheet(made_inputs())
    assert page.count("<svg") == 3
    for part in (
        "Growth of 1, all costs paid",
        "Drawdown",
        "Rolling Sharpe ratio, 126 bars",
        "Months",
        "Costs",
        "Trades",
    ):
        assert part in page
    for text in ("Rank 2 of 3", "+120.00%", "0.93", "41.00%", "prefers-color-scheme: dark", "width=device-width"):
        assert text in page
    assert f"The last {SHOWN_TRADES} of 150 round trips" in page
    assert page.count("<td>3.50</td>") == SHOWN_TRADES  # entry fee, exit fee and borrow cost


def test_a_run_without_trades_on_two_bars_still_has_a_page() -> None:
    page = tear_sheet(replace(made_inputs(2, 0), rank=None, flags=(), scenarios=pd.DataFrame(), evidence={}))
    assert "No trade was made." in page
    assert "Too few values to draw." in page


def test_months_compound_to_the_whole_curve() -> None:
    equity = made_inputs().equity
    dates, curve = equity["date"].to_numpy().astype("datetime64[D]"), equity["equity"].to_numpy()
    months = monthly_returns(dates, curve)
    assert len(months) == len(pd.period_range("2022-01", dates[-1], freq="M"))
    assert np.prod(1.0 + months) == pytest.approx(curve[-1] / curve[0])
    by_pandas = pd.Series(curve, pd.DatetimeIndex(dates)).resample("ME").last().pct_change()
    np.testing.assert_allclose(months.to_numpy(), by_pandas.to_numpy()[1:])


def test_the_rolling_ratio_is_that_of_its_window() -> None:
    curve = made_inputs().equity["equity"].to_numpy()
    rolling = rolling_sharpe(curve, 63, 365.0)
    steps = curve[1:] / curve[:-1] - 1.0
    assert np.isnan(rolling[:63]).all()
    own = steps[100 - 63 : 100]
    assert rolling[100] == pytest.approx(own.mean() / own.std(ddof=1) * np.sqrt(365.0))
    assert np.isnan(rolling_sharpe(np.full(200, 5.0), 63, 365.0)).all()
    cash = 1e5 * 1.0001 ** np.arange(len(curve))
    less = rolling_sharpe(curve, 63, 365.0, cash)
    assert less[100] == pytest.approx((own.mean() - 0.0001) / own.std(ddof=1) * np.sqrt(365.0))
    sheet = replace(made_inputs(), equity=made_inputs().equity.assign(cash_benchmark=curve))
    assert "Rolling Sharpe ratio" in tear_sheet(made_inputs())
    assert 'aria-label="Rolling Sharpe ratio"' not in tear_sheet(sheet), "less itself nothing is left to draw"


def test_the_matrix_has_every_strategy_and_scenario_once() -> None:
    ranking = made_ranking()
    page = assessment_page(ranking, "Assessment", evidence=pd.DataFrame({"strategy_id": ["b"], "pbo": [0.25]}))
    matrix = page[page.index('id="matrix"') : page.index('id="regimes"')]
    assert matrix.count('<th scope="row">') == 3
    assert matrix.count("<td") == 3 * 20
    assert "25.00%" in page


def test_charts_keep_peaks_and_gaps_and_leave_out_what_cannot_be_drawn() -> None:
    values = np.zeros(10_000)
    values[7_777] = 5.0
    rows = thinned(values)
    assert 7_777 in rows
    assert len(rows) <= 602
    dates = np.datetime64("2024-01-01") + np.arange(5)
    gap = line_chart("x", dates, [Line("x", np.array([1.0, 2.0, np.nan, 3.0, 4.0]), "c1")], str)
    assert gap.count("M") == 2
    assert line_chart("x", dates, [Line("x", np.array([1.0, *[np.nan] * 4]), "c1")], str) == ""
    flat = line_chart("<x>", dates, [Line("x", np.full(5, 3.0), "c1")], str)
    assert "NaN" not in flat + gap
    assert "nan" not in flat + gap
    assert "&lt;x&gt;" in flat


def test_growth_that_ranges_widely_is_drawn_on_a_logarithmic_axis() -> None:
    assert multiple_ticks(-0.1, 1.05) == pytest.approx(np.log10([1.0, 2.0, 5.0, 10.0]))
    assert multiple_ticks(-1.0, 4.0) == [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    inputs = made_inputs()
    grown = inputs.equity.assign(equity=np.geomspace(1.0, 100.0, len(inputs.equity)))
    page = tear_sheet(replace(inputs, equity=grown))
    assert "Growth, logarithmic" in page
    assert "×10<" in page
    lost = tear_sheet(replace(inputs, equity=inputs.equity.assign(equity=np.linspace(1.0, 0.0, len(inputs.equity)))))
    assert "Growth, logarithmic" not in lost


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.31, 0.02), (1e-9, 3e-9), (-1e6, 2e7), (2.0, 2.0001)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 6
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in ticks)


def test_evidence_is_told_under_the_names_of_the_page() -> None:
    returns = np.random.default_rng(3).normal(0.001, 0.01, (400, 4))
    walked = walk_forward(returns, 365.0, WalkForward(100, 50, 5))
    told = evidence_figures(deflated_of_trials(returns, 0), overfitting(returns, 8), walked, 365.0)
    assert told["n_trials"] == 4.0
    assert told["walk_forward_sharpe"] == walked.sharpe
    assert set(evidence_figures(None, None, None, 365.0).values()) == {None}


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_draws_the_pages_without_overflow(tmp_path: Path, width: int) -> None:
    """Nothing but the tables, which scroll in their boxes, is wider than the window."""
    pages = {"sheet": tear_sheet(made_inputs()), "all": assessment_page(made_ranking(), "Assessment")}
    for name, page in pages.items():
        file, frame = tmp_path / f"{name}.html", tmp_path / f"{name}_frame.html"
        file.write_text(page, encoding="utf-8")
        # Headless windows have a least width: a frame has exactly the one that is asked for.
        frame.write_text(
            f'<iframe id="f" src="{file.name}" style="width:{width}px;height:900px;border:0"></iframe><script>'
            "f.onload = () => { const d = f.contentDocument; "
            "document.title = [d.documentElement.scrollWidth, d.querySelectorAll('h2').length].join(' '); }</script>",
            encoding="utf-8",
        )
        command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
        command += [f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        wide, headings = (int(word) for word in re.findall(r"<title>(\d+) (\d+)</title>", told)[0])
        assert wide <= width
        assert headings >= 4
