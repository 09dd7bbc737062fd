"""What every candidate would have said at past origins, and what then happened: the evidence of one target and horizon.

Lives here: the origins and the shape of the evidence. Not here: the models (models.py, pooled.py, costly.py), who wins
(evaluation.py), bands (intervals.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.models import Matrix, Origins

ORIGIN_EVERY_DAYS = 7
"""Origins lie on days whose number since 1970-01-01 is a multiple of this, so that a new day adds one or none."""
N_ORIGINS = 26


@dataclass(frozen=True)
class Backtest:
    """Rolling-origin evidence of one target and one horizon; rows are series, columns origins.

    `forecasts[model]` was made from the columns up to its origin only; `actual` is the mean of the next
    `horizon_days` observed values, never winsorised, NaN where the horizon is not over yet. `scales` is the local
    volatility known at the origin: the EWMA of the absolute daily change on the model scale. `now` and `scale_now`
    are the same of the as-of day. Values are in natural units (fractions, USD, gwei), NaN where there is none.
    """

    target: str
    horizon_days: int
    origins: Origins
    forecasts: Mapping[str, Matrix]
    actual: Matrix
    scales: Matrix
    now: Mapping[str, NDArray[np.float64]]
    scale_now: NDArray[np.float64]


def weekly_origins(last_day_number: int, n_days: int, n_origins: int = N_ORIGINS) -> Origins:
    """Columns of the last `n_origins` anchored days before the last column, ascending; fewer where columns end.

    `last_day_number` is that of the last of `n_days` columns, in days since 1970-01-01.
    """
    newest = n_days - 1 - (last_day_number % ORIGIN_EVERY_DAYS or ORIGIN_EVERY_DAYS)
    columns = newest - ORIGIN_EVERY_DAYS * np.arange(n_origins, dtype=np.int64)[::-1]
    return columns[columns >= 0]
