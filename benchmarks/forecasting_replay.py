"""The production forecasts, made as of past days with what those days knew, and joined with what happened.

Lives here: points and groups of a past day, the calls of the production rules, the scored cells. Not here: the panels
(forecasting_panels.py), what the scores say (forecasting_statistics.py), any model or choice (domain/forecasting).
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import pandas as pd

from benchmarks.forecasting_panels import Panel
from benchmarks.forecasting_statistics import FROZEN
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.forecasting.cache import ForecastCache
from defiyield_assets.domain.forecasting.costly import COSTLY_BUDGET_SECONDS, COSTLY_MODELS, forecast_now
from defiyield_assets.domain.forecasting.models import carried
from defiyield_assets.domain.forecasting.panel import TARGETS, build_panel
from defiyield_assets.domain.forecasting.pools import (
    HORIZONS,
    PoolForecasts,
    forecast_pools,
    forecastable,
    values_for_fitting,
)
from defiyield_assets.domain.forecasting.weekly import evaluate_costly, last_evaluation
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.pools.metrics import rolling_metrics
from defiyield_assets.store.engine import make_engine, upgrade
from defiyield_assets.store.forecast_cache import WarehouseForecastCache

CELL_KEYS = ["pool_id", "target", "horizon_days"]
NO_SNAPSHOT = pd.DataFrame({"snapshot_date": [], "pool_id": [], "total_supply_usd": [], "total_borrow_usd": []})


@dataclass
class Seconds:
    """Where the time went, by name."""

    spent: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """Count the time of the block under a name."""
        started = perf_counter()
        yield
        self.spent[name] += perf_counter() - started


@dataclass
class Replay:
    """What a process keeps between origins: the panel, and a cache that saves time and changes no figure."""

    panel: Panel
    has_costly: bool
    cache: ForecastCache
    parameters: Parameters = field(default_factory=Parameters)

    def known(self, day: date) -> pd.DataFrame:
        """Points up to a day."""
        return self.panel.histories[self.panel.histories["date"] <= day].reset_index(drop=True)

    def groups(self, day: date) -> dict[str, int]:
        """Risk group by pool, as `pool_groups` says it of the day."""
        known = self.known(day)
        tracked = pd.DataFrame({"pool_id": sorted(known["pool_id"].unique())}).assign(date=day)
        rated = assign_groups(rolling_metrics(known, tracked, NO_SNAPSHOT, DayRange.of(day), self.parameters))
        return dict(zip(rated["pool_id"], rated["pool_group"].astype(int), strict=True))

    def costly(self, day: date) -> pd.DataFrame | None:
        """Rows of the newest weekly partition of `costly_candidates`, within the production's budget."""
        if not self.has_costly:
            return None
        evaluated = last_evaluation(day)
        return evaluate_costly(
            self.known(evaluated), evaluated, self.parameters, cache=self.cache, budget_seconds=COSTLY_BUDGET_SECONDS
        )

    def forecasts(self, day: date, costly: pd.DataFrame | None, groups: Mapping[str, int]) -> PoolForecasts:
        """What the asset `pool_forecasts` would have made of the panel on that day, without anything demoted."""
        return forecast_pools(self.known(day), day, self.parameters, groups, costly=costly, cache=self.cache)

    def every_costly(self, day: date) -> pd.DataFrame:
        """What the costly models say of the total APY of every pool on a day, for the table of candidates only."""
        seen, _ = forecastable(self.known(day), day, self.parameters)
        apy = values_for_fitting(seen, self.parameters)["apy"]
        parts = []
        for model in COSTLY_MODELS if self.has_costly else ():
            means, _ = forecast_now(apy, "apy", model.name, HORIZONS, self.cache)
            for horizon, forecast in zip(HORIZONS, means.T, strict=True):
                made = {"pool_id": seen.pool_ids, "target": "apy", "horizon_days": horizon, "model": model.name}
                parts.append(pd.DataFrame({**made, "mean": forecast.clip(max=self.parameters.apy_plausible_max)}))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*CELL_KEYS, "model", "mean"])

    def score(self, day: date) -> tuple[pd.DataFrame, Counter[str]]:
        """The cells of one origin, and the seconds that they took."""
        clock, groups = Seconds(), self.groups(day)
        with clock.on("costly evidence"):
            costly = self.costly(day)
        with clock.on("forecast_pools"):
            made = self.forecasts(day, costly, groups)
        with clock.on("costly candidates of the table"):
            every = self.every_costly(day)
        cells = self._cells(day, made, every)
        return cells.assign(panel=self.panel.name, origin=day, pool_group=cells["pool_id"].map(groups)), clock.spent

    def _cells(self, day: date, made: PoolForecasts, every_costly: pd.DataFrame) -> pd.DataFrame:
        columns = [*CELL_KEYS, "model", "mean", "p10", "p50", "p90"]
        champions = made.forecasts.assign(champion=made.forecasts["model"], model=FROZEN)
        named = {model.name for model in COSTLY_MODELS}
        cheap = made.candidates.loc[~made.candidates["model"].isin(named)]
        parts = [cheap[columns], every_costly, champions[[*columns, "champion", "tier", "fallback_reason"]]]
        cells = pd.concat([part for part in parts if len(part)], ignore_index=True).rename(columns={"mean": "forecast"})
        return cells.merge(truth(self.panel, day, HORIZONS), on=CELL_KEYS, how="left", validate="many_to_one")


def replay(panel: Panel, n_processes: int, *, has_costly: bool) -> Iterator[tuple[pd.DataFrame, Counter[str]]]:
    """Scored cells of each origin of the panel in order, and the seconds that they took, made by so many processes.

    A cell is (panel, origin, pool_id, target, horizon_days, model): forecast, p10, p50, p90, actual, naive (the last
    raw value), pool_group. Every candidate has its own; the champions' stand under the model FROZEN with champion,
    tier and fallback_reason. The processes share the cache of an empty warehouse.
    """
    with (
        warehouse_url() as url,
        ProcessPoolExecutor(n_processes, get_context("spawn"), _prepare, (panel, has_costly, url)) as processes,
    ):
        yield from processes.map(_score, panel.origins)


@contextmanager
def warehouse_url() -> Iterator[str]:
    """An empty SQLite warehouse that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="defiyield-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'warehouse.sqlite'}"
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()
        yield url


_OF_PROCESS: list[Replay] = []


def _prepare(panel: Panel, has_costly: bool, url: str) -> None:
    _OF_PROCESS[:] = [Replay(panel, has_costly, cache=WarehouseForecastCache(make_engine(url)))]


def _score(day: date) -> tuple[pd.DataFrame, Counter[str]]:
    return _OF_PROCESS[0].score(day)


def truth(panel: Panel, day: date, horizons: Sequence[int]) -> pd.DataFrame:
    """Raw mean of the observed values of the next days and the last raw value by `day`, per pool, target and horizon.

    Without any observed day of the horizon, or without a value before, there is NaN.
    """
    reach = max(horizons)
    last_day = day + timedelta(days=reach)
    n_days = (last_day - min(panel.histories["date"])).days + 1
    values = build_panel(panel.histories, last_day, n_days)
    frames = []
    for target in TARGETS:
        naive = carried(values.values[target][:, :-reach])[:, -1]
        for horizon in horizons:
            window = pd.DataFrame(values.values[target][:, -reach:][:, :horizon])
            row = {"pool_id": values.pool_ids, "target": target, "horizon_days": horizon}
            frames.append(pd.DataFrame({**row, "actual": window.mean(axis=1).to_numpy(), "naive": naive}))
    return pd.concat(frames, ignore_index=True)
