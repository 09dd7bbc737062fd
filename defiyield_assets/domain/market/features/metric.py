"""What a feature is: name, formula, unit, warm-up and bounds beside the function that calculates it.

Lives here: the records of metrics. Not here: the metrics themselves (one file per group, recursions.py,
cross_section.py) and their list (registry.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.market.features.panel import Bars, Matrix, Vector

Need = Literal["close", "ohlc", "volume", "benchmark"]
"""What a metric reads beside the dates: `ohlc` is any of open, high and low."""
CLOSE: frozenset[Need] = frozenset({"close"})
OHLC: frozenset[Need] = frozenset({"ohlc"})
VOLUME: frozenset[Need] = frozenset({"volume"})
NOTHING: frozenset[Need] = frozenset()

Bounds = tuple[float | None, float | None]
UNBOUNDED: Bounds = (None, None)
POSITIVE: Bounds = (0.0, None)
SHARE: Bounds = (0.0, 1.0)
INDEX: Bounds = (0.0, 100.0)
RETURN: Bounds = (-1.0, None)
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def lagged(symbol: str, n: int) -> str:
    """A formula's name for the value of n bars before: C₋₂₀."""
    return f"{symbol}₋{str(n).translate(_SUBSCRIPTS)}"


@dataclass(frozen=True)
class Definition:
    """One column of a feature table.

    `warm_up`: bars until the first value (1: at once; 20: the 20th bar is the first with one). `bounds`: least and
    greatest possible value, None without one; a value outside is refused by the table.
    """

    name: str
    group: str
    unit: str
    warm_up: int
    formula: str
    needs: frozenset[Need]
    bounds: Bounds


@dataclass(frozen=True)
class Metric(Definition):
    """A metric of one instrument's bars.

    `calculate`: bars to a matrix (n_new, columns), NaN is unknown. `is_intraday`: also a column of
    `intraday_features`.
    """

    calculate: Callable[[Bars], Matrix]
    is_intraday: bool = True


@dataclass(frozen=True)
class CrossMetric(Definition):
    """A metric that compares the instruments of a day.

    `reads`: columns of `daily_features` that it is made of. `calculate`: those columns (rows: any instruments and
    days) and the number of each row's group (universe and day: only its rows are compared) to a value a row.
    """

    reads: tuple[str, ...]
    calculate: Callable[[Mapping[str, Vector], NDArray[np.intp]], Vector]
