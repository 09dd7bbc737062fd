"""The pooled model: gradient boosting over all series at once, on what each looks like beside its combination.

Lives here: its features, its training and its forecasts at past origins. Not here: the models that it starts from
(models.py), whether it is used (evaluation.py), the cache's keys (cache.py).
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from itertools import product
from typing import Any

import numpy as np

from defiyield_assets.domain.forecasting.cache import ForecastCache, content_key
from defiyield_assets.domain.forecasting.intervals import horizon_means
from defiyield_assets.domain.forecasting.models import (
    COMBINATION,
    PEER_COMBINATION,
    SILENT_DAYS,
    Matrix,
    Origins,
    carried,
    combined,
    common_level,
    peer_level,
    relative_to_common,
    smoothed,
)

logger = logging.getLogger(__name__)

POOLED = "pooled"
BLEND = "blend"
"""Mean of the combination and the pooled model on the model scale."""
VERSION = "1"
"""Goes up with every change of the features or of the training that is not a constant of this file."""
WINDOW_DAYS = 240
"""Days that one training reads. On the recorded lending panel 120, 180 and 240 days have 0.89, 0.89, 0.89 of the last
value's error at 1 day and 0.87, 0.87, 0.86 at 7 days."""
REFIT_EVERY_DAYS = 28
"""Past origins between two anchors share one training, made from what was known at the anchor."""
MAX_ROWS = 20_000
"""Rows of one training; of more, every k-th day is taken."""
MIN_ROWS = 500
MIN_DAYS = 30
"""Days of training; with fewer there is no pooled forecast."""
MIN_OBSERVED_DAYS = 7
"""Observed days before a day of a series teaches anything."""
ROUNDS = 75
PARAMETERS: Mapping[str, Any] = {
    "objective": "l1",
    "learning_rate": 0.1,
    "num_leaves": 15,
    "min_data_in_leaf": 100,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
"""Of LightGBM (Ke et al. 2017), untuned but for the loss: absolute error, as the scores are."""
HIGHEST_WEIGHT = 0.99
"""Quantile at which the weights are cut, so that one wild series does not teach all others."""
RANK_DAYS = 30


@dataclass(frozen=True)
class Inputs:
    """What the pooled model reads: `targets` on the model scale, of which it is trained on the first.

    `reward_share` is a fraction, `log_size` the natural logarithm of USD; shape (series, days), NaN where unknown.
    """

    targets: Mapping[str, Matrix]
    reward_share: Matrix
    log_size: Matrix

    @property
    def taught(self) -> Matrix:
        """The target that the model is trained on."""
        return next(iter(self.targets.values()))

    def slice(self, first: int, last: int) -> "Inputs":
        """Columns `first` … `last`."""
        part = slice(first, last + 1)
        targets = {target: values[:, part] for target, values in self.targets.items()}
        return Inputs(targets, self.reward_share[:, part], self.log_size[:, part])


def pooled_forecasts(
    inputs: Inputs, origins: Origins, horizons: Sequence[int], last_day_number: int, kept: ForecastCache
) -> dict[str, dict[int, Matrix]]:
    """By target and horizon the pooled forecasts at the origins, shape (series, len(origins)), on the model scale.

    `last_day_number` is the day of the last column since 1970-01-01. The last column as an origin is forecast by a
    model trained on that day; earlier ones by the model of the newest anchor (a day number divisible by
    REFIT_EVERY_DAYS) not after them. Every block reads WINDOW_DAYS before its anchor and nothing after its last
    origin, and its result is kept in the cache by its content. NaN where there is too little to train on.
    """
    shape = (inputs.taught.shape[0], len(origins))
    result = {target: {horizon: np.full(shape, np.nan) for horizon in horizons} for target in inputs.targets}
    last_column = inputs.taught.shape[1] - 1
    for anchor, members in _blocks(origins, last_column, last_day_number):
        block = origins[members]
        first = max(0, anchor - WINDOW_DAYS + 1)
        part = inputs.slice(first, int(block[-1]))
        forecasts = _cached_block(part, anchor - first, block - first, horizons, kept)
        for (target, horizon), forecast in zip(product(inputs.targets, horizons), forecasts, strict=True):
            result[target][horizon][:, members] = forecast
    return result


def _blocks(origins: Origins, last_column: int, last_day_number: int) -> list[tuple[int, Origins]]:
    """Anchors as columns, each with the positions of the origins that it serves."""
    day_numbers = origins + last_day_number - last_column
    anchors = origins - day_numbers % REFIT_EVERY_DAYS
    anchors = np.where(origins == last_column, last_column, anchors)
    return [(int(anchor), np.flatnonzero(anchors == anchor)) for anchor in np.unique(anchors) if anchor >= 0]


def _cached_block(part: Inputs, anchor: int, origins: Origins, horizons: Sequence[int], kept: ForecastCache) -> Matrix:
    """Forecasts of one block, shape (targets x horizons, series, origins); columns count from the block's first."""
    shape = (len(part.targets) * len(horizons), part.taught.shape[0], len(origins))
    columns = np.array([anchor, *origins], dtype=np.float64)
    key = content_key(POOLED, version(), horizons, columns, *part.targets.values(), part.reward_share, part.log_size)
    found = kept.find([key])
    if key in found:
        return found[key].reshape(shape)
    try:
        forecasts = _forecast_block(part, anchor, origins, horizons)
    except Exception as error:  # noqa: BLE001 - whatever the library raises, the other models go on
        logger.warning("the pooled model failed, others stand in: %s: %s", type(error).__name__, error)
        return np.full(shape, np.nan)
    kept.keep({key: forecasts})
    return forecasts


def _forecast_block(part: Inputs, anchor: int, origins: Origins, horizons: Sequence[int]) -> Matrix:
    """Train once per horizon on what was known at the anchor, then forecast every target at each origin."""
    taught = _Seen.of(part, part.taught)
    models = [_train(taught.until(anchor), horizon) for horizon in horizons]
    forecasts = []
    for values in part.targets.values():
        seen = taught if values is part.taught else _Seen.of(part, values)
        start, wanted = seen.base[:, origins], seen.features[:, origins]
        for model in models:
            change = np.nan if model is None else model.predict(wanted.reshape(-1, wanted.shape[2]))
            forecasts.append(start + np.reshape(change, start.shape if model is not None else ()))
    return np.stack(forecasts)


@dataclass(frozen=True)
class _Seen:
    """One target with its combination, shape (series, days), and features, shape (series, days, features)."""

    values: Matrix
    base: Matrix
    features: Matrix

    @classmethod
    def of(cls, part: Inputs, values: Matrix) -> "_Seen":
        base = combined(values)
        return cls(values, base, _features(part, values, base))

    def until(self, column: int) -> "_Seen":
        """Columns up to and including `column`."""
        part = slice(column + 1)
        return _Seen(self.values[:, part], self.base[:, part], self.features[:, part])


def _train(seen: _Seen, horizon: int) -> Any:
    """A booster of the change from the combination to the mean over the horizon; None with too few rows or days.

    The last column is the anchor: a row counts once its whole horizon is over by then. The loss is the absolute error
    on the model scale, weighted by the slope of its inverse, so that it approximates the error in percentage points.
    """
    import lightgbm

    values, base = seen.values, seen.base
    actual = np.log1p(horizon_means(np.expm1(values), horizon))
    n_observed = np.cumsum(~np.isnan(values), axis=1)
    is_row = ~np.isnan(actual) & ~np.isnan(carried(values, SILENT_DAYS)) & (n_observed >= MIN_OBSERVED_DAYS)
    n_days = int(is_row.any(axis=0).sum())
    if is_row.sum() < MIN_ROWS or n_days < MIN_DAYS:
        return None
    stride = int(np.ceil(is_row.sum() / MAX_ROWS))
    is_row &= (np.arange(values.shape[1])[::-1] % stride == 0)[None, :]
    weights = np.exp(base[is_row])
    weights = np.minimum(weights, np.quantile(weights, HIGHEST_WEIGHT))
    rows = lightgbm.Dataset(seen.features[is_row], (actual - base)[is_row], weight=weights, params={"verbose": -1})
    return lightgbm.train(dict(PARAMETERS), rows, ROUNDS)


def _features(part: Inputs, values: Matrix, base: Matrix) -> Matrix:
    """What the model sees of each day, shape (series, days, features): levels beside the combination, and context."""
    newest = carried(values)
    change = np.abs(np.diff(newest, prepend=np.nan, axis=1))
    peers, common = peer_level(values), common_level(values)
    medians = [_rolling(newest, n_days, np.nanmedian) for n_days in (7, 30)]
    extremes = [_rolling(newest, 7, statistic) for statistic in (np.nanmin, np.nanmax)]
    levels = [newest, *(smoothed(values, alpha) for alpha in (0.1, 0.3, 0.7, 0.03)), *medians, *extremes]
    levels += [relative_to_common(values, 0.1), peers, *(_lagged(newest, lag) for lag in (1, 2, 3))]
    size = carried(part.log_size)
    context = [
        base,
        smoothed(change, 0.1),
        smoothed(change, 0.3),
        *(np.broadcast_to(common - smoothed(common, alpha), base.shape) for alpha in (0.1, 0.3)),
        size,
        size - _lagged(size, 1),
        size - _lagged(size, 7),
        size - smoothed(part.log_size, 0.1),
        carried(part.reward_share),
        _rank_of_last(newest),
    ]
    return np.stack([level - base for level in levels] + context, axis=-1)


def _rolling(values: Matrix, n_days: int, statistic: Any) -> Matrix:
    """A statistic of the last `n_days` columns of every day; NaN where these hold nothing."""
    padded = np.concatenate([np.full((values.shape[0], n_days - 1), np.nan), values], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_days, axis=1)
    has_any = ~np.isnan(values)
    result = np.full_like(values, np.nan)
    result[has_any] = statistic(windows[has_any], axis=1)
    return result


def _lagged(values: Matrix, n_days: int) -> Matrix:
    """The values of `n_days` days before."""
    if values.shape[1] <= n_days:
        return np.full_like(values, np.nan)
    return np.concatenate([np.full((values.shape[0], n_days), np.nan), values[:, :-n_days]], axis=1)


def _rank_of_last(newest: Matrix) -> Matrix:
    """Share of the last RANK_DAYS days that were below the day's value."""
    below, known = np.zeros_like(newest), np.zeros_like(newest)
    for lag in range(RANK_DAYS):
        before = _lagged(newest, lag) if lag else newest
        is_known = ~np.isnan(before)
        known += is_known
        below += np.where(is_known, before < newest, False)
    return np.divide(below, known, out=np.full_like(newest, np.nan), where=known > 0)


@cache
def version() -> str:
    """Version of the pooled model: its own, its recipe's, its library's, all that figures rest on beside values."""
    rows = (MAX_ROWS, MIN_ROWS, MIN_DAYS, MIN_OBSERVED_DAYS, HIGHEST_WEIGHT, RANK_DAYS)
    models = (COMBINATION.version, PEER_COMBINATION.version)
    recipe = (sorted(PARAMETERS.items()), ROUNDS, WINDOW_DAYS, REFIT_EVERY_DAYS, rows, models)
    digest = hashlib.sha256(repr(recipe).encode()).hexdigest()[:8]
    return f"{VERSION}-{digest}+lightgbm-{metadata.version('lightgbm')}"
