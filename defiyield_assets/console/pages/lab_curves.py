"""Equity and drawdown of a run as charts.

Lives here: which marks of a curve are drawn. Not here: the rest of a strategy's page (lab_strategy.py), how a chart is
drawn (domain/reporting/charts.py).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from defiyield_assets.domain.reporting.formats import signed_percent
from defiyield_assets.domain.reporting.layout import Chart, Point, Series

MOST_MARKS = 400
"""Marks drawn of a curve."""
CURVES = (
    ("Strategy", "equity", "main"),
    ("Buy and hold", "buy_and_hold", "other"),
    ("Cash", "cash_benchmark", "other"),
)


def run_charts(equity: pd.DataFrame) -> tuple[Chart, ...]:
    """Growth beside buy and hold and cash, and the drawdown; `equity` are rows of `equity_curves` in order."""
    if equity.empty:
        return ()
    marks = equity.iloc[shown_marks(equity["drawdown"].to_numpy(dtype=np.float64))]
    labels = [str(day) for day in marks["date"]]
    first, last = equity.iloc[0], equity.iloc[-1]
    growth = {
        name: float(last[column] / first[column] - 1.0) for name, column, _ in CURVES if float(first[column]) > 0.0
    }
    told = "; ".join(f"{name.lower()} {signed_percent(value)}" for name, value in growth.items())
    deepest = equity.iloc[int(equity["drawdown"].to_numpy(dtype=np.float64).argmin())]
    span = f"from {first['date']} to {last['date']}"
    return (
        Chart(
            "lines",
            "Equity, all costs paid",
            "usd",
            tuple(Series(name, _points(labels, marks[column].tolist()), role) for name, column, role in CURVES),  # type: ignore[arg-type]
            f"{span[0].upper()}{span[1:]}: {told}.",
        ),
        Chart(
            "lines",
            "Drawdown against the greatest equity so far",
            "percent",
            (Series("Drawdown", _points(labels, marks["drawdown"].tolist()), "main"),),
            f"The deepest fall is {signed_percent(float(deepest['drawdown']))}, on {deepest['date']}.",
        ),
    )


def shown_marks(drawdown: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> list[int]:
    """Places of at most MOST_MARKS marks, evenly spread, with the first, the last and the deepest fall among them."""
    if len(drawdown) <= MOST_MARKS:
        return list(range(len(drawdown)))
    spread = np.linspace(0, len(drawdown) - 1, MOST_MARKS - 1).round().astype(int).tolist()
    return sorted({*spread, int(drawdown.argmin())})


def _points(labels: Sequence[str], values: Sequence[float]) -> tuple[Point, ...]:
    """Points by day; of several marks of a day the last one counts."""
    by_day = dict(zip(labels, values, strict=True))
    return tuple(Point(day, float(value)) for day, value in by_day.items())
