"""How long the forecasts of a day take: 400 simulated pools, the first day and the next, and each model for itself.

Lives here: timing the production rules. Not here: what the forecasts are worth (forecasting_replay.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from time import perf_counter, process_time
from typing import TypeVar

import numpy as np

from benchmarks.forecasting_panels import Panel, simulated_panel
from benchmarks.forecasting_replay import Replay, warehouse_url
from defiyield_assets.domain.forecasting.backtests import weekly_origins
from defiyield_assets.domain.forecasting.cache import MemoryCache
from defiyield_assets.domain.forecasting.costly import COSTLY_MODELS, forecast_now
from defiyield_assets.domain.forecasting.models import CHEAP_MODELS, to_scale
from defiyield_assets.domain.forecasting.panel import day_number
from defiyield_assets.domain.forecasting.pooled import POOLED, Inputs, pooled_forecasts
from defiyield_assets.domain.forecasting.pools import HORIZONS, TRAINING_DAYS, forecastable, values_for_fitting
from defiyield_assets.store.engine import make_engine
from defiyield_assets.store.forecast_cache import WarehouseForecastCache

N_POOLS = 400
FIRST_DAY = date(2025, 5, 29)
"""A day of the calendar of origins: the next one has a new origin to evaluate, which makes it the dearest next day."""
TIMED_COSTLY_SERIES = 20
FIRST, NEXT = "first day, nothing known", "next day, with a new origin"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Timing:
    """Seconds of one piece of work, on the clock and of the processor, and how many rows it made."""

    name: str
    seconds: float
    cpu_seconds: float
    n_rows: int


@dataclass(frozen=True)
class ModelSpeed:
    """How many forecasts of one series at one origin, for all horizons, a model makes in a second on one core.

    Seconds are those of the processor, so that what else the machine does counts little.
    """

    model: str
    n_fits: int
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Fits a second."""
        return self.n_fits / self.cpu_seconds


def speed_panel() -> Panel:
    """The pools that are timed, with all the days that a forecast may read."""
    return simulated_panel(N_POOLS, FIRST_DAY + timedelta(days=7), TRAINING_DAYS + 7)


def whole_days(panel: Panel) -> Iterator[Timing]:
    """Costly candidates and forecasts of FIRST_DAY with an empty warehouse, then of the days after it."""
    with warehouse_url() as url:
        replayed = Replay(panel, has_costly=True, cache=WarehouseForecastCache(make_engine(url)))

        def costly(days: int) -> Timing:
            rows, seconds = timed(lambda: replayed.costly(FIRST_DAY + timedelta(days=days)))
            return Timing("costly candidates, " + ("next week" if days else "first week"), *seconds, len(rows))

        def forecasts(days: int, name: str) -> Timing:
            day = FIRST_DAY + timedelta(days=days)
            evidence, groups = replayed.costly(day), replayed.groups(day)
            made, seconds = timed(lambda: replayed.forecasts(day, evidence, groups))
            return Timing(name, *seconds, len(made.forecasts))

        yield costly(0)
        yield forecasts(0, FIRST)
        yield forecasts(1, NEXT)
        yield forecasts(2, "the day after, without one")
        yield costly(7)


def models(panel: Panel) -> Iterator[ModelSpeed]:
    """Each model at all weekly origins; a costly one once for each of a few pools. LightGBM is told to use one core."""
    replayed = Replay(panel, has_costly=False, cache=MemoryCache())
    seen, _ = forecastable(replayed.known(FIRST_DAY), FIRST_DAY, replayed.parameters)
    values = values_for_fitting(seen, replayed.parameters)
    scaled = to_scale("apy", values["apy"])
    last_day, n_days = day_number(FIRST_DAY), seen.n_days
    origins = np.append(weekly_origins(last_day, n_days), n_days - 1)
    n_fits = len(scaled) * len(origins)
    for model in CHEAP_MODELS:
        _, seconds = timed(lambda model=model: model.forecast(scaled, origins))
        yield ModelSpeed(model.name, n_fits, seconds[1])
    inputs = Inputs({"apy": scaled}, np.zeros_like(scaled), np.log(np.maximum(values["tvl_usd"], 1.0)))
    _, seconds = timed(lambda: pooled_forecasts(inputs, origins, HORIZONS, last_day, MemoryCache()))
    yield ModelSpeed(POOLED, n_fits, seconds[1])
    for model in COSTLY_MODELS:
        few = values["apy"][:TIMED_COSTLY_SERIES]
        forecast_now(few[:1], "apy", model.name, HORIZONS, MemoryCache())
        _, seconds = timed(lambda model=model, few=few: forecast_now(few, "apy", model.name, HORIZONS, MemoryCache()))
        yield ModelSpeed(model.name, len(few), seconds[1])


def timed(work: Callable[[], Result]) -> tuple[Result, tuple[float, float]]:
    """What the work returns, and its seconds on the clock and of the processor."""
    started, spent = perf_counter(), process_time()
    result = work()
    return result, (perf_counter() - started, process_time() - spent)
