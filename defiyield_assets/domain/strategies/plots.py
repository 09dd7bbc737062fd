"""Pictures of backtests and ranks: the matrix of strategies and scenarios, scores with their dispersion, some curves.

Lives here: drawing as PNG. Not here: SVG of pages (charts.py), pages (assessment_page.py, tear_sheet.py), names that a
font can draw (domain/pictures.py). Matplotlib is imported when it is needed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from defiyield_assets.domain.pictures import printable, to_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHADED = 0.5
"""Total return from which on a shade is full."""
MOST_CURVES = 20
INCH_A_ROW, LEAST_HEIGHT = 0.28, 3.0


def plot_matrix(runs: pd.DataFrame) -> bytes:
    """The picture of `matrix_figure` as PNG."""
    return to_png(matrix_figure(runs))


def plot_scores(table: pd.DataFrame, title: str) -> bytes:
    """The picture of `scores_figure` as PNG."""
    return to_png(scores_figure(table, title))


def plot_curves(curves: Mapping[str, pd.DataFrame], title: str) -> bytes:
    """The picture of `curves_figure` as PNG."""
    return to_png(curves_figure(curves, title))


def matrix_figure(runs: pd.DataFrame) -> "Figure":
    """Total return of every run, a row a strategy and a column a scenario, by family; white where there is none.

    Columns: strategy_id, family, name (of the scenario), scenario_id, total_return.
    """
    from matplotlib.figure import Figure

    ordered = runs.sort_values(["family", "name", "scenario_id"])
    scenarios = ordered.drop_duplicates("scenario_id")
    ids, strategies = scenarios["scenario_id"].tolist(), sorted(set(runs["strategy_id"]))
    values = runs.pivot_table("total_return", "strategy_id", "scenario_id", dropna=False).reindex(strategies)[ids]
    figure = Figure(figsize=(11, _height(len(strategies))), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(values.to_numpy(dtype=float), aspect="auto", cmap="RdYlGn", vmin=-SHADED, vmax=SHADED)
    axis.set_yticks(range(len(strategies)), [printable(name) for name in strategies], parse_math=False)
    families = scenarios["family"].to_numpy(dtype=str)
    begins = np.flatnonzero(np.r_[True, families[1:] != families[:-1]])
    axis.set_xticks(begins, [printable(name) for name in families[begins]], rotation=30, ha="right", parse_math=False)
    for begin in begins[1:]:
        axis.axvline(begin - 0.5, color="#333333", linewidth=0.8)
    figure.colorbar(image, ax=axis, label="total return", extend="both", format=lambda share, _: f"{share:.0%}")
    axis.set_title(f"{len(runs)} backtests over {len(ids)} scenarios")
    return figure


def scores_figure(table: pd.DataFrame, title: str) -> "Figure":
    """Scores of a ranking, best first, with their dispersion over scenarios; pale where nobody is ranked.

    Columns: strategy_id, score, dispersion, is_eligible.
    """
    from matplotlib.figure import Figure

    told = table.sort_values(["is_eligible", "score"]).reset_index(drop=True)
    figure = Figure(figsize=(9, _height(len(told))), layout="constrained")
    axis = figure.subplots()
    colours = np.where(told["is_eligible"].astype(bool), "#2f6f9f", "#c5ccd3").tolist()
    axis.barh(range(len(told)), told["score"].astype(float), xerr=told["dispersion"].astype(float), color=colours)
    axis.set_yticks(range(len(told)), [printable(name) for name in told["strategy_id"]], parse_math=False)
    axis.axvline(0.5, color="#777777", linewidth=0.8)
    axis.set_xlim(0.0, 1.0)
    axis.set_xlabel("score (mean percentile), with its standard deviation over scenarios")
    axis.set_title(printable(title), parse_math=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def curves_figure(curves: Mapping[str, pd.DataFrame], title: str) -> "Figure":
    """Equity by name as multiples of the capital, MOST_CURVES at most. Columns: date, equity."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axis = figure.subplots()
    shown = dict(sorted(curves.items())[:MOST_CURVES])
    for name, curve in shown.items():
        equity = curve["equity"].to_numpy(dtype=float)
        axis.plot(pd.to_datetime(curve["date"]).to_numpy(), equity / equity[0], linewidth=0.9, label=printable(name))
    axis.axhline(1.0, color="#777777", linewidth=0.8)
    axis.set_ylabel("multiple of the capital")
    axis.set_title(printable(title), parse_math=False)
    for text in axis.legend(fontsize=7, ncols=2, frameon=False).get_texts():
        text.set_parse_math(False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _height(n_rows: int) -> float:
    return max(LEAST_HEIGHT, 1.2 + INCH_A_ROW * n_rows)
