"""Lags: past returns as features for learning.

Lives here: returns of earlier bars. Not here: forward returns, which are targets and no feature (domain/market/
learning.py; nothing in this folder may import it).
"""

from functools import partial

from defiyield_assets.domain.market.features.metric import Metric
from defiyield_assets.domain.market.features.panel import Bars, Matrix
from defiyield_assets.domain.market.features.series import log_return
from defiyield_assets.domain.market.features.windows import shift

LAGS = (1, 2, 3, 5, 10)


def _lag(bars: Bars, *, k: int) -> Matrix:
    return shift(log_return(bars), k, bars.n_new)


METRICS: tuple[Metric, ...] = tuple(
    Metric(
        name=f"log_return_1_lag_{k}",
        group="learning",
        unit="fraction",
        warm_up=k + 2,
        formula=f"ln(C₋{k} / C₋{k + 1}): the log return {k} {'bar' if k == 1 else 'bars'} ago",
        needs=frozenset({"close"}),
        bounds=(None, None),
        calculate=partial(_lag, k=k),
    )
    for k in LAGS
)
