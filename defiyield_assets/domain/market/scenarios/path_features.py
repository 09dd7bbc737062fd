"""Features of a scenario's bars, by the same calculators that make `daily_features` of real ones.

Lives here: packing of paths for the calculators and the rows of `scenario_metrics`. Not here: formulas
(domain/market/features), paths (scenario.py). Metrics that compare instruments or know events are not made of paths:
they speak of a universe and a calendar that a generated path does not have.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.calculate import features
from defiyield_assets.domain.market.features.panel import Bars, BarTable
from defiyield_assets.domain.market.features.recursions import blank_state
from defiyield_assets.domain.market.features.registry import BAR_METRICS
from defiyield_assets.domain.market.scenarios.scenario import ScenarioPaths
from defiyield_assets.domain.strategies.bars import Matrix, PriceHistory


def with_features(
    history: PriceHistory, names: Collection[str] | None = None, benchmark: str | None = None
) -> PriceHistory:
    """The history with the features `names` (None: all that a bar has), each instrument over its own bars.

    Recursive features begin with the first bar of the warm-up. `benchmark`: instrument of the history that beta and
    correlation are measured against, None: they are unknown. Days without a bar have no features.
    """
    wanted = tuple(metric for metric in BAR_METRICS if names is None or metric.name in names)
    n_instruments = len(history.instruments)
    is_bar = history.is_bar
    column, row = np.nonzero(is_bar.T)
    made, _ = features(_packed(history, benchmark), blank_state(n_instruments), wanted)
    counts = is_bar.sum(axis=0)
    n_new = int(counts.max(initial=0))
    ordinal = np.cumsum(is_bar, axis=0)[row, column] - 1
    place = n_new - counts[column] + ordinal  # instruments are packed to the end of their column
    matrices: dict[str, Matrix] = {}
    for name, packed in made.items():
        matrices[name] = np.full(is_bar.shape, np.nan)
        matrices[name][row, column] = packed[place, column]
    return replace(history, features={**history.features, **matrices})


def metric_rows(
    paths: ScenarioPaths, names: Collection[str] | None = None, benchmark: str | None = None
) -> pd.DataFrame:
    """Rows of `scenario_metrics`: scenario_id, instrument_id, step, date and the features of every bar, warm-up too."""
    told = with_features(paths.history, names, benchmark)
    column, row = np.nonzero(told.is_bar.T)
    return pd.DataFrame(
        {
            "scenario_id": paths.scenario.scenario_id,
            "instrument_id": np.array(told.instruments, dtype=object)[column],
            "step": paths.step[row],
            "date": np.array(told.dates.tolist(), dtype=object)[row],
            **{name: matrix[row, column] for name, matrix in told.features.items()},
        }
    )


def _packed(history: PriceHistory, benchmark: str | None) -> Bars:
    """All bars of a history as new ones of a panel."""
    is_bar = history.is_bar
    column, row = np.nonzero(is_bar.T)
    n_instruments = len(history.instruments)
    values = {name: history.column(name)[row, column] for name in ("open", "high", "low", "close", "volume")}
    values["open"] = np.where(history.gap_flag[row, column] == 1.0, np.nan, values["open"])  # as in features of bars
    values["dollar_volume"] = values["volume"] * values["close"]
    if benchmark is not None:
        values["benchmark_close"] = history.close[row, history.instruments.index(benchmark)]
    starts = np.concatenate([[0], np.cumsum(is_bar.sum(axis=0))]).astype(np.intp)
    year = np.full(n_instruments, float(history.periods_per_year))
    return BarTable(starts, history.dates[row], values, np.ones(len(row), dtype=bool), year).panel(0, n_instruments)
