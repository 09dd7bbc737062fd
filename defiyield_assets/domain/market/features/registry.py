"""Every metric, in the order of the columns of the feature tables.

Lives here: the list. Not here: formulas (one file per group, recursions.py), what is made of the list: the tables
(store/schema/market.py), the calculation (calculate.py), docs/explanation/features.md (catalogue.py).
"""

from collections.abc import Iterable
from types import ModuleType

from defiyield_assets.domain.market.features import (
    benchmark,
    cross_section,
    events_features,
    lags,
    momentum,
    recursions,
    returns,
    risk,
    structure,
    surroundings,
    trend,
    volatility,
    volume,
)
from defiyield_assets.domain.market.features.metric import CrossMetric, Definition, Metric

GROUPS: tuple[ModuleType, ...] = (
    recursions,
    trend,
    momentum,
    volatility,
    volume,
    returns,
    risk,
    structure,
    benchmark,
    lags,
)
"""Files with a tuple METRICS of what is made of one instrument's bars."""
CROSS_GROUPS: tuple[ModuleType, ...] = (cross_section,)
"""Files with a tuple METRICS of what compares instruments."""


def _once(metrics: Iterable[Definition]) -> None:
    """ValueError for a name that two metrics have."""
    names = [metric.name for metric in metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"more than one metric has the name {', '.join(twice)}")


BAR_METRICS: tuple[Metric, ...] = tuple(metric for group in GROUPS for metric in group.METRICS)
CROSS_METRICS: tuple[CrossMetric, ...] = tuple(metric for group in CROSS_GROUPS for metric in group.METRICS)
DAY_METRICS: tuple[Definition, ...] = (*events_features.METRICS, *surroundings.METRICS)
"""What is known on the day of a bar beside bars: events, regimes, macro series."""
METRICS: tuple[Definition, ...] = (*BAR_METRICS, *CROSS_METRICS, *DAY_METRICS)
INTRADAY_METRICS: tuple[Metric, ...] = tuple(metric for metric in BAR_METRICS if metric.is_intraday)
_once(METRICS)
