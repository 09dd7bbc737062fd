"""Candidates that are fitted series by series and origin by origin: AutoETS, dynamic optimised Theta and Prophet.

Lives here: these models, which series they are worth their time on, what they would have said at past origins. Not
here: models over a whole matrix (models.py, pooled.py), who wins (evaluation.py), the cache's keys (cache.py).
"""

import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version as version_of

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.cache import ForecastCache, content_key
from defiyield_assets.domain.forecasting.models import Matrix, Origins, carried, from_scale, to_scale

Means = NDArray[np.float64]
"""One forecast per horizon: the mean over the horizon."""
Answer = Means | str
"""What one fit came to: its means on the model scale, or the reason why there are none."""
Progress = Callable[[str, int, int], None]
"""Told the model's name, how many of its fits are done and how many there are."""

COSTLY_TARGETS = ("apy", "apy_base")
"""Targets on which these models are tried: rewards move in steps and size is next to a random walk."""
COSTLY_BUDGET_SECONDS = 30.0
"""What the first evaluation of one model may take on one core; the weeks after it fit one new origin."""
LOOKBACK_DAYS = 240
"""A fit reads the origin and the days before it, this many in all.

So many, and the 30 days that cut a spike, lie before the oldest of 26 weekly origins in a panel of 455 days: with
more, the panel's edge would change what an origin reads from week to week and nothing would be found in the cache. On
the recorded lending panel 180 and 365 days are as good (at 30 days AutoETS 0.95 and 0.93 of the last value's error,
here 0.94; Theta 0.92 with all three).
"""
MIN_OBSERVED_DAYS = 28
"""With fewer observed days there is no fit (TOO_SHORT): four weeks, of which Prophet's week needs two."""
ABSURD_GROWTH = 1000.0
"""A forecast this many times above the highest value that the fit has seen is a failed fit, not a forecast."""
KEEP_EVERY = 100
"""Fits after which the cache is told, so that a run that is stopped loses little."""
SHORT_REASON_LENGTH = 80
SEED = 1

CANDIDATE_COLUMNS = ("pool_id", "origin", "target", "horizon_days", "model", "model_version", "mean", "reason")


class AbsurdForecastError(ArithmeticError):
    """A model answered with something that no pool has ever paid, or with no number."""


@dataclass(frozen=True)
class CostlyModel:
    """One way to forecast one series: a name, a version that an upgrade of its library changes, and the rule itself.

    `fit(scaled, horizons)` takes consecutive days on the model scale (`to_scale`), the first of them observed, NaN
    where a day is not, the last one the origin; it returns the mean over each horizon on that scale, which is closer
    to what happened than the mean in natural units (AutoETS at 30 days 0.939 against 0.941 of the last value's
    error, Prophet 1.252 against 1.259, Theta the same). `milliseconds_a_fit` turns a budget of time into one of fits.
    """

    name: str
    version: str
    milliseconds_a_fit: float
    fit: Callable[[NDArray[np.float64], Sequence[int]], Means]


# --- the models ----------------------------------------------------------------------------------------------------
def _fit_auto_ets(scaled: NDArray[np.float64], horizons: Sequence[int]) -> Means:
    """The exponential smoothing model of lowest AICc, without seasons (Hyndman et al. 2002), by statsforecast."""
    from statsforecast.models import AutoETS

    path = AutoETS(season_length=1, model="ZZN").forecast(_without_gaps(scaled), max(horizons))["mean"]
    return _means(path, horizons)


def _fit_theta(scaled: NDArray[np.float64], horizons: Sequence[int]) -> Means:
    """The dynamic optimised Theta model (Fiorucci et al. 2016), by statsforecast."""
    from statsforecast.models import DynamicOptimizedTheta

    path = DynamicOptimizedTheta(season_length=1).forecast(_without_gaps(scaled), max(horizons))["mean"]
    return _means(path, horizons)


def _fit_prophet(scaled: NDArray[np.float64], horizons: Sequence[int]) -> Means:
    """Prophet (Taylor and Letham 2018) with a weekly season and its own defaults otherwise, on the observed days.

    Its calendar is made up: the last day is always the same one. A week's phase makes no difference to the model, and
    equal values have equal forecasts on every date. L-BFGS always, where Prophet takes Newton below 100 days: four
    times as fast and as good (1.50, 1.18, 1.11 of the last value's error against 1.50, 1.18, 1.12 on 60 days). Stan
    writes to a folder that is gone afterwards.
    """
    _silence_prophet()
    from prophet import Prophet

    days = pd.date_range(end="2024-01-01", periods=len(scaled))
    is_observed = ~np.isnan(scaled)
    model = Prophet(weekly_seasonality=True, yearly_seasonality=False, daily_seasonality=False, uncertainty_samples=0)
    observed = pd.DataFrame({"ds": days[is_observed], "y": scaled[is_observed]})
    with tempfile.TemporaryDirectory(prefix="prophet-") as folder:
        model.fit(observed, algorithm="LBFGS", seed=SEED, output_dir=folder)
    ahead = pd.DataFrame({"ds": pd.date_range("2024-01-02", periods=max(horizons))})
    return _means(model.predict(ahead)["yhat"].to_numpy(dtype=np.float64), horizons)


def _without_gaps(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """statsforecast needs a value for every day: the last one known."""
    filled: NDArray[np.float64] = carried(scaled[None, :])[0]
    return filled


def _means(path: NDArray[np.float64], horizons: Sequence[int]) -> Means:
    return np.array([path[:horizon].mean() for horizon in horizons], dtype=np.float64)


def _silence_prophet() -> None:
    """Nobody reads what Stan has to say about a single series; what failed becomes a reason.

    Not undone afterwards: two threads would undo each other's. Prophet's import sets levels but leaves this alone.
    """
    for name in ("cmdstanpy", "prophet", "prophet.models", "prophet.plot"):
        logging.getLogger(name).disabled = True


_STATSFORECAST = f"1+statsforecast-{version_of('statsforecast')}"
_PROPHET = f"1+prophet-{version_of('prophet')}"

COSTLY_MODELS: tuple[CostlyModel, ...] = (
    CostlyModel("auto_ets", _STATSFORECAST, 8.0, _fit_auto_ets),
    CostlyModel("theta", _STATSFORECAST, 4.0, _fit_theta),
    CostlyModel("prophet", _PROPHET, 50.0, _fit_prophet),
)
"""Every costly model. Milliseconds as measured on one core of a small server, 240 days, prediction included."""


# --- within a budget -----------------------------------------------------------------------------------------------
def fits_within(model: CostlyModel, budget_seconds: float = COSTLY_BUDGET_SECONDS) -> int:
    """The budget in fits. It rests on stated milliseconds, so that what is evaluated never depends on the clock."""
    return int(budget_seconds * 1000.0 // model.milliseconds_a_fit)


def choose_series(
    sizes_usd: NDArray[np.float64],
    pool_ids: Sequence[str],
    n_origins: int,
    n_targets: int,
    model: CostlyModel,
    *,
    budget_seconds: float = COSTLY_BUDGET_SECONDS,
) -> NDArray[np.int64]:
    """Rows on which the model is evaluated: the largest pools that the budget allows, largest first.

    Every origin and target of a chosen pool counts as one fit, whether it is in the cache or not, so that the choice
    does not depend on the cache. Equal sizes go by pool id; an unknown size (NaN) counts as 0.
    """
    fits_a_series = n_origins * n_targets
    n_series = fits_within(model, budget_seconds) // fits_a_series if fits_a_series else 0
    sizes = np.nan_to_num(np.asarray(sizes_usd, dtype=np.float64), nan=0.0)
    order = np.lexsort((np.array([str(pool_id) for pool_id in pool_ids]), -sizes))
    return order[:n_series].astype(np.int64)


# --- what they say -------------------------------------------------------------------------------------------------
def fit_candidates(
    values: Mapping[str, Matrix],
    pool_ids: Sequence[str],
    sizes_usd: NDArray[np.float64],
    last_day: date,
    origins: Origins,
    *,
    horizons: Sequence[int],
    cache: ForecastCache,
    on_progress: Progress | None = None,
    models: Iterable[CostlyModel] = COSTLY_MODELS,
    budget_seconds: float = COSTLY_BUDGET_SECONDS,
) -> pd.DataFrame:
    """What each costly model would have said at each origin about the largest pools.

    `values` has one matrix of natural units (at least 0, spikes already cut) per target, rows as `pool_ids`, its last
    column `last_day`; `origins` are columns. Returns one row per pool, origin (a date), target, horizon and model with
    model_version, mean (natural units, at least 0, NaN where there is none) and reason: None, TOO_SHORT (fewer than
    MIN_OBSERVED_DAYS observed) or `MODEL_FAILED: <error class>: <what it said>`. Values after an origin are not read
    for it, a model that fails on one series fails for that series only, and the cache changes no figure.
    """
    horizons = sorted(set(horizons))
    scaled = {target: to_scale(target, matrix) for target, matrix in values.items()}
    n_days = {target: matrix.shape[1] for target, matrix in values.items()}
    rows: list[tuple[object, ...]] = []
    for model in models:
        chosen = choose_series(sizes_usd, pool_ids, len(origins), len(values), model, budget_seconds=budget_seconds)
        cells = [(target, int(row), int(origin)) for target in values for row in chosen for origin in origins]
        windows = [_window(scaled[target][row], origin) for target, row, origin in cells]
        for (target, row, origin), answer in zip(
            cells, _answers(model, windows, horizons, cache, on_progress), strict=True
        ):
            day = last_day - timedelta(days=n_days[target] - 1 - origin)
            means, reason = _in_natural_units(target, answer, len(horizons))
            rows += [
                (pool_ids[row], day, target, horizon, model.name, model.version, mean, reason)
                for horizon, mean in zip(horizons, means, strict=True)
            ]
    frame = pd.DataFrame(rows, columns=list(CANDIDATE_COLUMNS)).astype({"mean": "float64", "reason": "object"})
    keys = ["pool_id", "origin", "target", "horizon_days", "model"]
    return frame.sort_values(keys, ignore_index=True)


def forecast_now(
    values: Matrix,
    target: str,
    model_name: str,
    horizons: Sequence[int],
    cache: ForecastCache,
    *,
    on_progress: Progress | None = None,
) -> tuple[Matrix, list[str | None]]:
    """What a costly champion says today about the given series: shape (series, horizons), and the reason per series.

    `values` has natural units as in `fit_candidates`; the last column is the as-of day. A series without a forecast
    has NaN and a reason. Raises KeyError for a name that is not in COSTLY_MODELS.
    """
    model = {model.name: model for model in COSTLY_MODELS}[model_name]
    scaled = to_scale(target, values)
    windows = [_window(series, values.shape[1] - 1) for series in scaled]
    answers = _answers(model, windows, horizons, cache, on_progress)
    pairs = [_in_natural_units(target, answer, len(horizons)) for answer in answers]
    means = np.array([means for means, _ in pairs], dtype=np.float64).reshape(len(pairs), len(horizons))
    return means, [reason for _, reason in pairs]


def _window(scaled: NDArray[np.float64], origin: int) -> NDArray[np.float64] | None:
    """The days that a fit at the origin reads, from the first observed one on; None where they are too few."""
    days = scaled[max(0, origin + 1 - LOOKBACK_DAYS) : origin + 1]
    observed = np.flatnonzero(~np.isnan(days))
    return days[observed[0] :] if len(observed) >= MIN_OBSERVED_DAYS else None


def _answers(
    model: CostlyModel,
    windows: Sequence[NDArray[np.float64] | None],
    horizons: Sequence[int],
    cache: ForecastCache,
    on_progress: Progress | None,
) -> list[Answer]:
    """One answer per window, equal windows (base is total where nothing is rewarded) fitted once."""
    keys = [None if days is None else content_key(model.name, model.version, horizons, days) for days in windows]
    distinct = {key: days for key, days in zip(keys, windows, strict=True) if key is not None and days is not None}
    answers: dict[str, Answer] = {**cache.find(list(distinct))}
    missing = [key for key in distinct if key not in answers]
    for start in range(0, len(missing), KEEP_EVERY):
        fitted = {key: _fit(model, distinct[key], horizons) for key in missing[start : start + KEEP_EVERY]}
        cache.keep({key: answer for key, answer in fitted.items() if not isinstance(answer, str)})
        answers |= fitted
        if on_progress is not None:
            on_progress(model.name, min(start + KEEP_EVERY, len(missing)), len(missing))
    return ["TOO_SHORT" if key is None else answers[key] for key in keys]


def _fit(model: CostlyModel, scaled: NDArray[np.float64], horizons: Sequence[int]) -> Answer:
    try:
        means = model.fit(scaled, horizons)
        _refuse_absurd(means, scaled)
    except Exception as error:  # noqa: BLE001 - whatever a library raises, the other series go on; the reason is kept
        return f"MODEL_FAILED: {type(error).__name__}: {_shortened(error)}".rstrip(": ")
    return means


def _refuse_absurd(means: Means, scaled: NDArray[np.float64]) -> None:
    limit = np.nanmax(scaled) + np.log(ABSURD_GROWTH)
    if not np.isfinite(means).all():
        raise AbsurdForecastError("the forecast is not finite")
    if (means > limit).any():
        raise AbsurdForecastError(f"the forecast is more than {ABSURD_GROWTH:.0f} times the highest value seen")


def _shortened(error: Exception) -> str:
    """The first line of a message without paths, which differ from run to run and from machine to machine."""
    first = next(iter(str(error).splitlines()), "")
    return " ".join(re.sub(r"\S*[/\\]\S*", "…", first).split())[:SHORT_REASON_LENGTH]


def _in_natural_units(target: str, answer: Answer, n_horizons: int) -> tuple[Means, str | None]:
    if isinstance(answer, str):
        return np.full(n_horizons, np.nan), answer
    return np.maximum(from_scale(target, answer), 0.0), None
