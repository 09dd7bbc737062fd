"""All metrics of many instruments: a batch from the first bar or the next days from state, the same to the bit.

Lives here: how a table of bars is cut into panels that fit the caches, and what is made of them. Not here: formulas
(registry.py), what the values of the bars are (inputs.py), which bars are new and where state is kept (orchestration),
metrics that compare instruments (cross_section.py).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.market.features.metric import Metric
from defiyield_assets.domain.market.features.panel import HISTORY, Bars, BarTable, Matrix, Vector
from defiyield_assets.domain.market.features.recursions import STATE_FIELDS, State, advance
from defiyield_assets.domain.market.features.registry import BAR_METRICS

GROUP_VALUES = 333_000
"""Bars of one matrix of a group: 256 instruments of 1,000 days and their history. One step of the recursions then
takes about as long as its numpy calls, and the metrics of a group take some 350 MB."""
PART_VALUES = 40_000
"""Bars of one matrix while windows are calculated: a handful of them (320 kB each) fits the second-level cache."""


@dataclass(frozen=True)
class Features:
    """Metrics of the new bars of some instruments of a table, ordered by instrument and date.

    `row`: the bars' rows in the table; `values`: name -> (rows,), NaN is unknown; `first`, `stop`: the instruments
    (numbers in the table); `state`: field -> (instruments,), behind each one's last bar.
    """

    first: int
    stop: int
    row: NDArray[np.intp]
    values: dict[str, Vector]
    state: State


def features(bars: Bars, state: State, metrics: tuple[Metric, ...] = BAR_METRICS) -> tuple[dict[str, Matrix], State]:
    """Every metric of a panel's new rows, (n_new, columns), and the state behind them.

    `state`: behind the bar before each instrument's first new one (`blank_state` where there is none). NaN: unknown,
    not yet known, or not a new row; an infinite result is unknown.
    """
    if not bars.n_new:
        return {metric.name: np.empty((0, bars.n_columns)) for metric in metrics}, state
    with np.errstate(all="ignore"):
        told, before, behind = advance(bars, state)
        panel = replace(bars, recursions=told, before=before)
        result = {metric.name: np.empty((bars.n_new, bars.n_columns)) for metric in metrics}
        width = max(8, PART_VALUES // bars.n_rows)
        for start in range(0, bars.n_columns, width):
            part = panel.columns(start, min(start + width, bars.n_columns))
            for metric in metrics:
                values = metric.calculate(part)
                result[metric.name][:, start : start + width] = np.where(
                    part.is_new & np.isfinite(values), values, np.nan
                )
    return result, behind


def in_groups(
    table: BarTable, state: State, metrics: tuple[Metric, ...] = BAR_METRICS, n_threads: int = 2
) -> Iterator[Features]:
    """Every metric of the new bars of a table, group of instruments by group, in order.

    `state`: field -> (instruments,), behind the bar before each instrument's first new one. `n_threads` groups are
    calculated at the same time (numpy lets go of the interpreter), and no more are held.
    """
    spans = _spans(table)

    def group(span: tuple[int, int]) -> Features:
        first, stop = span
        bars = table.panel(first, stop)
        values, behind = features(bars, {name: state[name][first:stop] for name in STATE_FIELDS}, metrics)
        order = np.flatnonzero(bars.is_new.T.ravel())
        column, new_row = np.divmod(order, max(bars.n_new, 1))
        place = new_row * bars.n_columns + column
        row = np.flatnonzero(table.is_new[table.starts[first] : table.starts[stop]]) + table.starts[first]
        return Features(first, stop, row, {name: matrix.ravel()[place] for name, matrix in values.items()}, behind)

    if n_threads < 2 or len(spans) < 2:
        yield from map(group, spans)
        return
    with ThreadPoolExecutor(n_threads, "features") as threads:
        waiting = [threads.submit(group, span) for span in spans[:n_threads]]
        for span in [*spans[n_threads:], *[None] * len(waiting)]:
            done = waiting.pop(0).result()
            if span is not None:
                waiting.append(threads.submit(group, span))
            yield done


def _spans(table: BarTable) -> list[tuple[int, int]]:
    """The instruments cut into groups of about GROUP_VALUES bars, padding included: first and stop of each."""
    spans, first, longest = [], 0, 0
    for number, length in enumerate(np.diff(table.starts).tolist()):
        longest = max(longest, length)
        if number > first and (number + 1 - first) * (longest + HISTORY) > GROUP_VALUES:
            spans.append((first, number))
            first, longest = number, length
    return [*spans, (first, table.n_instruments)] if table.n_instruments else []
