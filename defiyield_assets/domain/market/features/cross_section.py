"""Metrics that compare the instruments of a universe on one day: percentile ranks.

Lives here: a second pass over columns that are there already. Not here: metrics against a benchmark (benchmark.py),
which universe an instrument is in (instruments.yaml), the pass itself (calculate.py).
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.market.features.metric import CLOSE, SHARE, VOLUME, CrossMetric, Need
from defiyield_assets.domain.market.features.panel import Vector

GROUP = "cross-section"
TIE_DECIMALS = 10
"""Decimals to which ranked values are compared: a restated adjustment factor moves the last bits of a quotient, and
must not reorder equals."""


def _rank_of(column: str, warm_up: int, needs: frozenset[Need]) -> CrossMetric:
    return CrossMetric(
        name=f"rank_{column}",
        group=GROUP,
        unit="fraction",
        warm_up=warm_up,
        formula=f"percentile rank of {column} in the universe on the day: 0 the least, 1 the greatest, ties share",
        needs=needs,
        bounds=SHARE,
        reads=(column,),
        calculate=partial(_rank, column=column),
    )


def _rank(columns: Mapping[str, Vector], group: NDArray[np.intp], *, column: str) -> Vector:
    return percentile_ranks(columns[column], group)


def percentile_ranks(values: Vector, group: NDArray[np.intp]) -> Vector:
    """(values below + half of the other equals) / (values in the group - 1), within [0, 1].

    A row whose value is NaN (unknown) or whose group is below 0 (not listed on the day) takes no part and has no rank,
    nor has the only known value of a group. Values are compared to TIE_DECIMALS.
    """
    ranks = np.full(len(values), np.nan)
    inside = np.flatnonzero((group >= 0) & ~np.isnan(values))
    if not len(inside):
        return ranks
    compared = np.round(values[inside], TIE_DECIMALS)
    own = group[inside]
    order = _order_within(compared, own)
    place = np.arange(len(order))
    first = _starts_of_runs(own[order])
    tie = first | _starts_of_runs(compared[order])
    group_start = np.maximum.accumulate(np.where(first, place, 0))
    tie_start = np.maximum.accumulate(np.where(tie, place, 0))
    n_in_group = _run_lengths(first)
    n_equal = _run_lengths(tie)
    with np.errstate(invalid="ignore", divide="ignore"):
        rank = (tie_start - group_start + 0.5 * (n_equal - 1)) / (n_in_group - 1)
    ranks[inside[order]] = np.where(n_in_group > 1, rank, np.nan)
    return ranks


def _order_within(values: Vector, group: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows by group, then by value; equals in any order. A sort per group: sorting all at once takes ten times that."""
    small = group.astype(np.uint16) if group.max() < 1 << 16 else group
    order = np.argsort(small, kind="stable")
    edges = np.append(np.flatnonzero(_starts_of_runs(small[order])), len(order))
    for first, stop in pairwise(edges.tolist()):
        part = order[first:stop]
        order[first:stop] = part[np.argsort(values[part])]
    return order


def _starts_of_runs(ordered: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where a value differs from the one before it; the first always does."""
    starts = np.ones(len(ordered), dtype=bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    return starts


def _run_lengths(starts: NDArray[np.bool_]) -> NDArray[np.intp]:
    """At each place the length of its run."""
    places = np.flatnonzero(starts)
    lengths = np.diff(np.append(places, len(starts)))
    repeated: NDArray[np.intp] = np.repeat(lengths, lengths)
    return repeated


METRICS: tuple[CrossMetric, ...] = (
    _rank_of("return_20", 21, CLOSE),
    _rank_of("return_63", 64, CLOSE),
    _rank_of("return_252", 253, CLOSE),
    _rank_of("realised_vol_60", 61, CLOSE),
    _rank_of("dollar_volume", 1, CLOSE | VOLUME),
)
