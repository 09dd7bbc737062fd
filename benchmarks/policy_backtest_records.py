"""The recorded lending panel as a backtest reads it: tables and forecasts of each day, gas, realised yields.

Lives here: the universe, its facts as overrides, prices at par, and the store of forecasts made once per day by two
processes. Not here: the replay (domain/allocation/backtest), tables and judgement (policy_backtest.py).
"""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.forecasting_gas import recorded_gas
from benchmarks.forecasting_panels import chart_histories
from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain import forecasting, pools
from defiyield_assets.domain.allocation.backtest.records import (
    KnownDay,
    RealisedYields,
    decision_days,
    realised_yields,
)
from defiyield_assets.domain.allocation.backtest.yardsticks import PoolFacts, enterable, future_of, hindsight_bound
from defiyield_assets.domain.canonical import canonical_json, content_hash
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.forecasting.cache import MemoryCache
from defiyield_assets.domain.forecasting.gas import forecast_gas
from defiyield_assets.domain.forecasting.pools import HORIZONS, forecast_pools
from defiyield_assets.domain.policy import Parameters, Policy, PoolOverride, Token
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.pools.metrics import rolling_metrics
from defiyield_assets.domain.pools.quality import assess_quality
from defiyield_assets.domain.selection.icebox import ICEBOX_COLUMNS, advance_icebox
from defiyield_assets.domain.selection.prefilter import prefilter_pools
from defiyield_assets.domain.selection.registry import build_token_registry
from defiyield_assets.simulator import recorded_files

FIRST_DAY, LAST_DAY = date(2024, 9, 1), date(2025, 6, 4)
"""Days that are paid; the first plan is made on the evening before."""
ROLES = ("lend", "vault")
CHAIN = "Ethereum"
NO_SNAPSHOT = pd.DataFrame({"snapshot_date": [], "pool_id": [], "total_supply_usd": [], "total_borrow_usd": []})
STORED = ["pool_id", "as_of", "horizon_days", "target", "mean", "p10", "p50", "p90", "model", "is_hindsight"]


@dataclass(frozen=True)
class Universe:
    """Series of the panel that a backtest may use, and the policy with what the reference list says of them."""

    points: pd.DataFrame
    listed: pd.DataFrame
    policy: Policy

    @property
    def n_series(self) -> int:
        """Number of series."""
        return int(self.points["pool_id"].nunique())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the histories: forecasts made from others are not these."""
        told = self.points[["pool_id", "date", "apy", "apy_base", "apy_reward", "tvl_usd"]]
        rows = pd.util.hash_pandas_object(told.assign(date=told["date"].astype(str)), index=False)
        return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]


def read_universe(folder: Path) -> Universe:
    """Ethereum series of role lend or vault whose underlying and protocol (after aliases) are approved.

    Series ids stand for pool ids: most recorded ids are unknown.
    """
    policy = load_policy(LAST_DAY).policy
    points = pd.read_parquet(recorded_files.find_file(folder, "yields/defillama_chart_daily_lending_*.parquet"))
    listed = pd.read_csv(folder / recorded_files.UNDERLYINGS_FILE, dtype=str, keep_default_na=False)
    tokens = {token.symbol.lower(): token for token in policy.tokens if token.chain == CHAIN and token.peg != "other"}
    is_used = (
        (listed["chain"] == CHAIN)
        & listed["role"].isin(ROLES)
        & listed["underlying"].str.lower().isin(tokens)
        & listed["project"].map(policy.protocol_of).isin(policy.protocols)
    )
    listed = listed[is_used].reset_index(drop=True)
    overrides = tuple(_override(row, tokens) for row in listed.to_dict("records"))
    kept = points[points["series_id"].isin(set(listed["series_id"]))]
    return Universe(chart_histories(kept, "series_id"), listed, replace(policy, pool_overrides=overrides))


def _override(row: Mapping[str, str], tokens: Mapping[str, Token]) -> PoolOverride:
    token = tokens[row["underlying"].lower()]
    return PoolOverride(
        row["series_id"],
        role=row["role"],
        underlying_addresses=(token.address,),
        source=recorded_files.UNDERLYINGS_FILE,
    )


@dataclass
class PanelRecords:
    """The universe as `Records`; everything of a day is made from points up to it."""

    universe: Universe
    forecasts: Mapping[date, pd.DataFrame]
    folder: Path
    _days: dict[date, KnownDay] = field(default_factory=dict)

    @cached_property
    def days(self) -> DayRange:
        """Evenings that are known, and the last day, whose prices close the books."""
        return DayRange(FIRST_DAY - timedelta(days=1), LAST_DAY)

    @cached_property
    def yields(self) -> RealisedYields:
        """What pools paid, from before the first day to the end of the recording."""
        gap_days = self.universe.policy.parameters.gap_days
        return realised_yields(self.universe.points, self.days.start, LAST_DAY, gap_days)

    @cached_property
    def tracked(self) -> pd.DataFrame:
        """Every (date, pool) with a point by the day."""
        first = first_days(self.universe)
        pairs = [(day, pool) for day in self.days for pool, since in sorted(first.items()) if since <= day]
        return pd.DataFrame(pairs, columns=["date", "pool_id"])

    @cached_property
    def _by_day(self) -> dict[str, dict[date, pd.DataFrame]]:
        points, limits, first = self.universe.points, self.universe.policy.parameters, first_days(self.universe)
        metrics = rolling_metrics(points, self.tracked, NO_SNAPSHOT, self.days, limits, first_days=first)
        quality = assess_quality(points, self.tracked, self.days, limits, first_days=first)
        frames = {"metrics": metrics, "quality": quality, "groups": assign_groups(metrics)}
        return {name: dict(list(frame.groupby("date"))) for name, frame in frames.items()}

    def groups(self, day: date) -> dict[str, int]:
        """Risk group of each pool on a day."""
        rated = self._by_day["groups"][day]
        return dict(zip(rated["pool_id"], rated["pool_group"].astype(int), strict=True))

    @cached_property
    def _snapshots(self) -> pd.DataFrame:
        """The panel's points as rows of `pools`."""
        points, facts = self.universe.points, self.universe.listed.set_index("series_id")
        own = facts.loc[points["pool_id"]]
        return pd.DataFrame(
            {
                "snapshot_date": points["date"].to_numpy(),
                "pool_id": points["pool_id"].to_numpy(),
                "chain": CHAIN,
                "project": own["project"].to_numpy(),
                "symbol": own["symbol"].to_numpy(),
                "pool_meta": None,
                "tvl_usd": points["tvl_usd"].to_numpy(),
                "total_supply_usd": np.nan,
                "total_borrow_usd": np.nan,
                "apy": points["apy"].to_numpy(),
                "apy_base": points["apy_base"].to_numpy(),
                "apy_reward": points["apy_reward"].to_numpy(),
                "exposure": "single",
                "underlying_addresses_json": "[]",
                "is_stale": False,
            }
        ).sort_values(["snapshot_date", "pool_id"], ignore_index=True)

    @cached_property
    def _gas(self) -> pd.DataFrame:
        """Recorded gas prices with ETH closes as rows of `gas_fees_daily`."""
        gwei, closes = recorded_gas(self.folder), recorded_files.read_eth_closes(self.folder)
        rows = pd.DataFrame({"date": gwei.index, "mean_gwei": gwei.to_numpy()})
        eth = [closes.get(day) for day in rows["date"]]
        return rows.assign(kind="gas_price", source="etherscan", eth_price_usd=eth, n_hours=24)

    @cached_property
    def _wei(self) -> Mapping[date, int]:
        return recorded_files.read_gas_prices(self.folder)

    @cached_property
    def _eth(self) -> Mapping[date, float]:
        return recorded_files.read_eth_closes(self.folder)

    def execution_gas(self, day: date) -> tuple[int, Decimal]:
        """Average gas price in wei and ETH close of the day."""
        return int(self._wei[day]), Decimal(repr(self._eth[day]))

    @cached_property
    def _iceboxes(self) -> dict[date, pd.DataFrame]:
        """The icebox over the tokens whose prices were recorded; of the others nothing is known."""
        by_id = {token.cmc_id: token for token in self.universe.policy.tokens if token.cmc_id is not None}
        rows = [
            (by_id[coin].instrument_id, bar.day, bar.low, bar.high, bar.close, "full")
            for coin, bars in recorded_files.read_cmc_bars(self.folder).items()
            for bar in bars
            if self.days.start - timedelta(days=60) <= bar.day <= LAST_DAY
        ]
        bars = pd.DataFrame(rows, columns=["instrument_id", "date", "low", "high", "close", "quality"])
        watched = tuple(token for token in by_id.values() if token.instrument_id in set(bars["instrument_id"]))
        policy, icebox, found = replace(self.universe.policy, tokens=watched), None, {}
        for day in self.days:
            _, icebox = advance_icebox(icebox, bars, policy, day, bootstrap=icebox is None)
            found[day] = icebox if len(icebox) else pd.DataFrame(columns=list(ICEBOX_COLUMNS))
        return found

    def _bars(self, day: date) -> pd.DataFrame:
        """Every approved token at par: recorded closes exist of three tokens only, and what they moved is no yield."""
        names = [token.instrument_id for token in self.universe.policy.tokens if token.peg != "other"]
        columns = {"instrument_id": names, "date": day, "close": 1.0, "quality": "assumed", "market_cap_usd": np.nan}
        return pd.DataFrame(columns)

    def known(self, day: date) -> KnownDay:
        """Tables of a day, made once."""
        if day not in self._days:
            self._days[day] = self._known(day)
        return self._days[day]

    def _known(self, day: date) -> KnownDay:
        policy, bars = self.universe.policy, self._bars(day)
        seen = self._snapshots[self._snapshots["snapshot_date"] <= day]
        pools = seen.drop_duplicates("pool_id", keep="last").reset_index(drop=True)
        icebox = self._iceboxes[day]
        barred = {f"{row['chain'].lower()}:{row['address']}" for row in icebox.to_dict("records")}
        gas = self._gas[self._gas["date"] <= day]
        return KnownDay(
            day=day,
            pools=pools,
            prefiltered=prefilter_pools(pools, build_token_registry(pools, policy, day), bars, policy, day),
            quality=self._by_day["quality"][day],
            metrics=self._by_day["metrics"][day],
            groups=self._by_day["groups"][day],
            icebox=icebox,
            forecasts=self.forecasts.get(day, pd.DataFrame(columns=STORED)),
            bars=bars,
            gas_forecasts=forecast_gas(gas[gas["date"] > day - timedelta(days=900)], day, horizons=(1,)),
            gas_daily=gas[gas["date"] == day],
            barred=barred,
        )


def first_days(universe: Universe) -> dict[str, date]:
    """Day of the first point of each pool."""
    return dict(universe.points.groupby("pool_id")["date"].min())


def bound_of(records: PanelRecords, parameters: Parameters, days: DayRange, capital_usd: float, window: int) -> float:
    """Final wealth of the hindsight bound over the paid days, from the capital in USDC; `window` as window_days."""
    policy = replace(records.universe.policy, parameters=parameters)
    tokens = {token.address: token for token in policy.tokens}
    projects = dict(zip(records.universe.listed["series_id"], records.universe.listed["project"], strict=True))
    facts = {}
    for override in policy.pool_overrides:
        (address,) = override.underlying_addresses or ()
        protocol = policy.protocol_of(projects[override.pool_id])
        facts[override.pool_id] = PoolFacts(address, tokens[address].issuer, protocol, str(override.role))
    evenings = decision_days(days.start, days.end)
    gas = [records.execution_gas(day + timedelta(days=1)) for day in evenings]
    (start,) = (token.address for token in policy.tokens if token.symbol == "USDC")
    future = future_of(
        records.yields,
        evenings,
        {day: enterable(records.known(day), policy, facts) for day in evenings},
        facts,
        cash={start: 1.0},
        capital_usd=capital_usd,
        gas_usd=[float(wei) * 1e-18 * float(eth) for wei, eth in gas],
        units=parameters.gas_units,
    )
    return hindsight_bound(future, parameters, window)


# --- forecasts, made once per day ----------------------------------------------------------------------------------
def stored_name(universe: Universe) -> str:
    """Folder of the forecasts: what they were made from, by which parameters and which code."""
    rooms = [Path(room.__path__[0]) for room in (forecasting, pools)]
    code = b"".join(path.read_bytes() for room in rooms for path in sorted(room.rglob("*.py")))
    own = [hashlib.sha256(code).hexdigest(), content_hash(universe.policy.parameters)]
    made_from = canonical_json([universe.fingerprint, list(HORIZONS), str(FIRST_DAY), str(LAST_DAY), *own])
    return f"policy-backtest-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"


def missing_days(universe: Universe, store: Path) -> list[date]:
    """Evenings whose forecasts are not stored yet."""
    folder = store / stored_name(universe)
    evenings = DayRange(FIRST_DAY - timedelta(days=1), LAST_DAY - timedelta(days=1))
    return [day for day in evenings if not (folder / f"{day}.parquet").is_file()]


def backfill(universe: Universe, folder: Path, store: Path, n_processes: int) -> Iterator[date]:
    """Make and store the forecasts of every missing evening; each process takes a run of consecutive days."""
    todo = missing_days(universe, store)
    target = store / stored_name(universe)
    target.mkdir(parents=True, exist_ok=True)
    records = PanelRecords(universe, {}, folder)
    groups = {day: records.groups(day) for day in todo}
    runs = [list(run) for run in np.array_split(np.array(todo, dtype=object), 4 * n_processes) if len(run)]
    with ProcessPoolExecutor(n_processes, get_context("spawn")) as processes:
        for made in processes.map(
            _forecast_run, [(universe, target, [(day, groups[day]) for day in run]) for run in runs]
        ):
            yield from made


def _forecast_run(task: tuple[Universe, Path, list[tuple[date, dict[str, int]]]]) -> list[date]:
    """Forecasts of consecutive evenings by `forecast_pools`, from points up to each; only whole files appear."""
    universe, target, evenings = task
    cache, parameters = MemoryCache(), universe.policy.parameters
    for day, groups in evenings:
        known = universe.points[universe.points["date"] <= day].reset_index(drop=True)
        made = forecast_pools(known, day, parameters, groups, cache=cache)
        part = target / f"{day}.part"
        made.forecasts[STORED].to_parquet(part)
        part.replace(target / f"{day}.parquet")
    return [day for day, _ in evenings]


def stored_forecasts(universe: Universe, store: Path) -> dict[date, pd.DataFrame]:
    """Forecasts of every evening."""
    folder = store / stored_name(universe)
    return {date.fromisoformat(path.stem): pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
