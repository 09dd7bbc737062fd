"""The page of one strategy: equity, drawdown, months, rolling Sharpe ratio, trades, costs, scenarios, evidence.

Lives here: what such a page says and its rendering as one self-contained HTML file. Not here: figures (metrics.py),
curves as SVG (charts.py), single
values (cells.py), the page of all strategies (assessment_page.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from defiyield_assets.domain.reporting.formats import clean, is_missing, number, signed_percent
from defiyield_assets.domain.strategies.bars import Vector
from defiyield_assets.domain.strategies.cells import Cell, day, figures_of, price, signed, written
from defiyield_assets.domain.strategies.charts import Line, line_chart, multiple_ticks
from defiyield_assets.domain.strategies.evidence import DeflatedSharpe, Overfitting
from defiyield_assets.domain.strategies.metrics import returns_of
from defiyield_assets.domain.strategies.walk_forward import Record

SHOWN_TRADES = 100
WIDE = 5.0
"""Greatest over least multiple of the capital from which on the axis is logarithmic."""
ROLLING_BARS = (126, 63)
"""Windows of the rolling Sharpe ratio: the first that half of the curve is longer than."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NOISE = 1e-12
FIGURES: tuple[tuple[str, str, str], ...] = (
    ("Total return", "total_return", "signed"),
    ("Annualised return", "annualised_return", "signed"),
    ("Volatility a year", "volatility", "percent"),
    ("Sharpe ratio", "sharpe", "ratio"),
    ("Sortino ratio", "sortino", "ratio"),
    ("Calmar ratio", "calmar", "ratio"),
    ("Maximum drawdown", "max_drawdown", "signed"),
    ("Excess over buy and hold", "excess_return", "signed"),
    ("Round trips", "n_trades", "count"),
    ("Win rate", "win_rate", "percent"),
    ("Profit factor", "profit_factor", "ratio"),
    ("SQN", "sqn", "ratio"),
    ("VaR 95 % a bar", "var_95", "percent"),
    ("CVaR 95 % a bar", "cvar_95", "percent"),
    ("Time in market", "time_in_market", "percent"),
    ("Beta", "beta", "ratio"),
)
"""Label, figure of metrics.py, how it is written."""
EVIDENCE: tuple[tuple[str, str, str], ...] = (
    ("Trials counted", "n_trials", "count"),
    ("Deflated Sharpe: probability that it is real", "deflated_sharpe", "percent"),
    ("Hurdle that luck reaches (Sharpe a year)", "hurdle", "ratio"),
    ("Probability of overfitting (PBO)", "pbo", "percent"),
    ("Walk-forward Sharpe ratio, out of sample", "walk_forward_sharpe", "ratio"),
    ("Out of sample over in sample", "efficiency", "ratio"),
)
TRADE_HEADINGS = ("Instrument", "Side", "In", "at", "Out", "at", "Why out", "Bars", "Costs", "Profit", "Return")


@dataclass(frozen=True)
class SheetInputs:
    """What a sheet tells of a strategy.

    `equity`, `trades`, `metrics`, `cost_grid`: of one run, as BacktestResult has them; `scenario`: what it ran over.
    `evidence`: names of EVIDENCE to values, what is left out is unknown. `scenarios`: this strategy's rows of
    `Ranking.scenarios`, may be empty. `rank`, `flags`: of the ranking. `periods_per_year`: 365 or 252.
    """

    strategy_id: str
    strategy_hash: str
    scenario: str
    equity: pd.DataFrame
    trades: pd.DataFrame
    metrics: Mapping[str, float | None]
    cost_grid: pd.DataFrame
    periods_per_year: float
    description: str = ""
    evidence: Mapping[str, float | None] = field(default_factory=dict)
    scenarios: pd.DataFrame = field(default_factory=pd.DataFrame)
    rank: int | None = None
    n_strategies: int | None = None
    flags: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def tear_sheet(inputs: SheetInputs) -> str:
    """One self-contained HTML page; it loads nothing, runs no script, and every name in it is cleaned and escaped."""
    dates = pd.to_datetime(inputs.equity["date"]).to_numpy().astype("datetime64[D]")
    equity = inputs.equity["equity"].to_numpy(dtype=np.float64)
    return render(
        "sheet.html.j2",
        title=clean(inputs.strategy_id),
        description=clean(inputs.description, 600) if inputs.description else "",
        scenario=clean(inputs.scenario),
        standing=_standing(inputs),
        flags=[clean(flag).replace("_", " ") for flag in inputs.flags],
        figures=figures_of(inputs.metrics, FIGURES),
        charts=_charts(inputs, dates, equity),
        months=monthly_rows(dates, equity),
        month_names=MONTHS,
        evidence=figures_of(inputs.evidence, EVIDENCE),
        costs=cost_rows(inputs.cost_grid),
        paid=_paid(inputs.metrics),
        families=_family_rows(inputs.scenarios),
        trade_headings=TRADE_HEADINGS,
        trades=_trade_rows(inputs.trades),
        n_trades=len(inputs.trades),
        provenance={
            "Strategy hash": clean(inputs.strategy_hash, 80),
            **{clean(name): clean(value) for name, value in inputs.provenance.items()},
        },
    )


def render(template: str, **content: Any) -> str:
    """A page of the folder `templates`, everything escaped but what is marked as safe."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    loader = PackageLoader("defiyield_assets.domain.strategies", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def evidence_figures(
    deflated: DeflatedSharpe | None, overfit: Overfitting | None, walked: Record | None, periods_per_year: float
) -> dict[str, float | None]:
    """Evidence under the names of EVIDENCE; None where it could not be had."""
    return {
        "n_trials": None if deflated is None else float(deflated.n_trials),
        "deflated_sharpe": None if deflated is None else deflated.probability,
        "hurdle": None if deflated is None else deflated.hurdle * float(np.sqrt(periods_per_year)),
        "pbo": None if overfit is None else overfit.probability,
        "walk_forward_sharpe": None if walked is None else walked.sharpe,
        "efficiency": None if walked is None else walked.efficiency,
    }


# --- curves --------------------------------------------------------------------------------------------------------
def _charts(inputs: SheetInputs, dates: "np.ndarray[Any, Any]", equity: Vector) -> list[dict[str, Any]]:
    """Titles, legends and pictures; a picture that cannot be drawn says why."""
    lines = [Line("strategy", equity / equity[0], "c1")]
    for column, name, style in (("buy_and_hold", "buy and hold", "c2"), ("cash_benchmark", "cash", "c3")):
        if column in inputs.equity:
            beside = inputs.equity[column].to_numpy(dtype=np.float64)
            lines.append(Line(name, beside / beside[0], style))
    fall = equity / np.maximum.accumulate(equity) - 1.0
    window = rolling_window(len(equity) - 1)
    cash = inputs.equity["cash_benchmark"].to_numpy(dtype=np.float64)
    rolling = rolling_sharpe(equity, window, inputs.periods_per_year, cash)
    told = [
        ("Growth of 1, all costs paid", _growth(dates, lines), lines),
        (
            "Drawdown",
            line_chart("Drawdown", dates, [Line("drawdown", fall, "bad")], _share, area=True, baseline=0.0),
            [],
        ),
        (
            f"Rolling Sharpe ratio, {window} bars",
            line_chart("Rolling Sharpe ratio", dates, [Line("Sharpe", rolling, "c1")], _ratio, baseline=0.0),
            [],
        ),
    ]
    return [{"title": title, "svg": Markup(svg), "lines": legend} for title, svg, legend in told]  # noqa: S704 - ours


def _growth(dates: "np.ndarray[Any, Any]", lines: Sequence[Line]) -> str:
    """Multiples of the capital, on a logarithmic axis where they range widely and nobody lost everything."""
    known = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    if float(known.min()) <= 0.0 or float(known.max()) < WIDE * float(known.min()):
        return line_chart("Growth", dates, lines, lambda value: f"×{value:.2f}", baseline=1.0)
    logs = [Line(line.name, np.log10(line.values), line.style) for line in lines]
    return line_chart(
        "Growth, logarithmic", dates, logs, lambda value: f"×{10.0**value:,.3g}", baseline=0.0, ticks=multiple_ticks
    )


def rolling_window(n_returns: int) -> int:
    """Bars of the rolling Sharpe ratio."""
    return next((window for window in ROLLING_BARS if n_returns >= 2 * window), ROLLING_BARS[-1])


def rolling_sharpe(equity: Vector, window: int, periods_per_year: float, cash: Vector | None = None) -> Vector:
    """Annualised Sharpe ratio of the last `window` returns at each value of the curve; NaN before, or where flat.

    `cash`: what the capital would be at the risk-free rate; the ratio is of the returns less those of it (None: 0).
    """
    excess = returns_of(equity) if cash is None else returns_of(equity) - returns_of(cash)
    steps = pd.Series(np.concatenate([[np.nan], excess]))
    means, deviations = steps.rolling(window).mean(), steps.rolling(window).std()
    found = (means / deviations.where(deviations > NOISE)).to_numpy(dtype=np.float64)
    return np.asarray(found * np.sqrt(periods_per_year), dtype=np.float64)


def _share(value: float) -> str:
    return f"{100.0 * value:,.0f}%" if abs(value) >= 0.1 or value == 0.0 else f"{100.0 * value:.1f}%"


def _ratio(value: float) -> str:
    return f"{value:.1f}"


# --- tables --------------------------------------------------------------------------------------------------------
def monthly_returns(dates: "np.ndarray[Any, Any]", equity: Vector) -> "pd.Series[float]":
    """Return of each calendar month by its first day, from the last value before it; the first from the start."""
    months = pd.Series(equity, index=dates.astype("datetime64[M]")).groupby(level=0).last()
    before = months.shift(1)
    before.iloc[0] = equity[0]
    returns = months / before - 1.0
    is_start_only = len(dates) > 1 and dates[0].astype("datetime64[M]") != dates[1].astype("datetime64[M]")
    return returns.iloc[1:] if is_start_only else returns


def monthly_rows(dates: "np.ndarray[Any, Any]", equity: Vector) -> list[tuple[str, list[Cell]]]:
    """Year, and the cells of its months and of the whole year."""
    months = monthly_returns(dates, equity)
    known = months.replace([np.inf, -np.inf], np.nan)
    largest = max(float(known.abs().max()) if known.notna().any() else 0.0, 0.01)
    stamps = pd.DatetimeIndex(months.index)
    found = []
    for year in sorted(set(stamps.year), reverse=True):
        own = dict(zip(stamps.month[stamps.year == year], known[stamps.year == year].tolist(), strict=True))
        cells = [_shaded(own.get(month), largest) for month in range(1, 13)]
        whole = float(np.prod([1.0 + value for value in own.values()]) - 1.0)
        found.append((str(year), [*cells, Cell(signed_percent(whole, 1))]))
    return found


def _shaded(value: float | None, largest: float) -> Cell:
    return Cell("") if is_missing(value) or value is None else Cell(signed(value, 1), value / largest)


def cost_rows(grid: pd.DataFrame) -> list[tuple[str, ...]]:
    """Times the costs, total and annualised return, Sharpe ratio, deepest fall, round trips: of each run of a grid."""
    return [
        (
            f"{row['cost_factor']:g}×",
            written(row["total_return"], "signed"),
            written(row["annualised_return"], "signed"),
            written(row["sharpe"], "ratio"),
            written(row["max_drawdown"], "signed"),
            written(row["n_trades"], "count"),
        )
        for row in grid.to_dict("records")
    ]


def _paid(metrics: Mapping[str, float | None]) -> list[tuple[str, str]]:
    named = (("Fees paid", "fees", "ratio"), ("Borrow cost", "borrow_cost", "ratio"), ("Turnover", "turnover", "ratio"))
    return figures_of(metrics, named)


def _trade_rows(trades: pd.DataFrame) -> list[list[Cell]]:
    """The last trades, newest first; profit and return shaded by sign."""
    rows = []
    for trade in trades.tail(SHOWN_TRADES).iloc[::-1].to_dict("records"):
        costs = trade["entry_fee"] + trade["exit_fee"] + trade["borrow_cost"]
        sign = float(np.sign(trade["pnl"])) * 0.5 if not is_missing(trade["pnl"]) else None
        rows.append(
            [
                Cell(clean(trade["instrument_id"], 40)),
                Cell(clean(trade["side"], 8), is_words=True),
                Cell(day(trade["entry_date"])),
                Cell(price(trade["entry_price"])),
                Cell(day(trade["exit_date"])),
                Cell(price(trade["exit_price"])),
                Cell(clean(trade["exit_reason"], 20), is_words=True),
                Cell(number(trade["bars_held"])),
                Cell(number(costs, 2)),
                Cell(number(trade["pnl"], 2), sign),
                Cell(signed_percent(trade["return"]), sign),
            ]
        )
    return rows


def _family_rows(scenarios: pd.DataFrame) -> list[tuple[str, ...]]:
    """What became of the strategy in each family of scenarios."""
    if scenarios.empty:
        return []
    rows: list[tuple[str, ...]] = []
    for family, own in scenarios.groupby("family", sort=True):
        rows.append(
            (
                clean(family, 40).replace("_", " "),
                number(len(own)),
                written(own["total_return"].median(), "signed"),
                written(own["total_return"].min(), "signed"),
                written(float((own["excess_return"] > 0.0).mean()), "percent"),
                written(own["score"].mean(), "ratio"),
            )
        )
    return rows


def _standing(inputs: SheetInputs) -> str:
    if inputs.rank is None:
        return "No rank" if inputs.flags else ""
    return f"Rank {inputs.rank}" + (f" of {inputs.n_strategies}" if inputs.n_strategies else "")
