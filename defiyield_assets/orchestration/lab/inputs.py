"""What the strategy lab starts from: bars of the strategies' universes, calendars, rates, regimes, and the requests.

Lives here: reading and the choice of as-of dates and windows. Not here: generation (domain/market/scenarios), running
strategies (runs.py), the assets (assets/scenarios.py, assets/strategies.py).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import Engine

from defiyield_assets.config.scenarios import load_scenarios
from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.inputs import BAR_COLUMNS, MASKED_GAP, adjusted_values, order_of_bars
from defiyield_assets.domain.market.macro import levels_known
from defiyield_assets.domain.market.regimes import MARKETS
from defiyield_assets.domain.market.scenarios.catalogue import TYPES, Setting, requests
from defiyield_assets.domain.market.scenarios.definitions import Definitions
from defiyield_assets.domain.market.scenarios.histories import SHAPE_SLACK, history_of_rows, until_day
from defiyield_assets.domain.market.scenarios.regime_windows import RegimeWindow, regime_windows
from defiyield_assets.domain.market.scenarios.scenario import LEAST_WARM_UP, Request, paths_hash
from defiyield_assets.domain.prices.instruments import STABLECOINS
from defiyield_assets.domain.strategies.assessment import REAL_TYPES, Surroundings
from defiyield_assets.domain.strategies.bars import PriceHistory
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.universes import ALWAYS_OPEN, MarketStates, Rates
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.orchestration.bars import EVER
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.store import reads, schema

MARKET_BENCHMARKS = ("etf:SPY", "crypto:BTC")
"""Whose returns are the market's in stress scenarios: the first that takes part; otherwise the mean of all."""
LONG_RATE, TERM_SPREAD = "DGS10", "T10Y3M"
"""Ten-year yield, and ten years less three months, both in percent: their difference is the three-month rate."""
PERCENT = 100.0
LEAST_RECENT = 7
"""Dates within which a benchmark has its last bar."""
FULL_HISTORY = "full_history_"
"""Begins the name of the scenario that is all of a universe's history: evidence, never ranked."""


@dataclass(frozen=True)
class LabBars:
    """Bars of all instruments that scenarios are made of.

    `history`: adjusted, nothing after `as_of`; `universes`: name -> its instruments with bars; `calendars`: instrument
    -> calendar. `n_misshapen`: bars whose open or close lay outside low .. high: their open, high and low are unknown.
    """

    history: PriceHistory
    universes: Mapping[str, tuple[str, ...]]
    calendars: Mapping[str, str]
    stablecoins: Mapping[str, str]
    as_of: date
    n_misshapen: int

    @property
    def bars_hash(self) -> str:
        """SHA-256 of every bar to the bit."""
        return paths_hash(self.history, np.ones(self.history.n_bars), np.zeros(self.history.n_bars))

    @property
    def traded(self) -> tuple[str, ...]:
        """Instruments of the universes, ordered."""
        return tuple(sorted({name for names in self.universes.values() for name in names}))


def strategies_in(policy: PolicyResource) -> dict[str, Strategy]:
    """Every strategy by id, as the files say now."""
    return load_strategies(_folder(policy))


def definitions_in(policy: PolicyResource) -> Definitions:
    """What scenarios.yaml says now."""
    return load_scenarios(_folder(policy))


def _folder(policy: PolicyResource) -> Path | None:
    return policy.folder


# --- bars ----------------------------------------------------------------------------------------------------------
def read_bars(engine: Engine, universes: Iterable[str], as_of: date | None = None) -> LabBars:
    """Bars of the universes and of the stablecoins beside them, up to a day (None: the newest).

    SuspiciousDataError for a universe that no instrument belongs to, or where no instrument has a bar.
    """
    listed = reads.read_all(engine, schema.instruments)
    wanted = sorted(set(universes))
    _require_universes(listed, wanted)
    chosen = listed[listed["universe"].isin([*wanted, STABLECOINS])]
    coins = _by_symbol(chosen[chosen["universe"] == STABLECOINS])
    names = sorted({*chosen.loc[chosen["universe"].isin(wanted), "instrument_id"], *coins.values()})
    days = DayRange(EVER.start, EVER.end if as_of is None else as_of)
    stored = reads.read_columns(engine, schema.daily_bars, days, {"instrument_id": names}, BAR_COLUMNS)
    if not len(stored["date"]):
        raise SuspiciousDataError(_without_bars(wanted))
    rows, n_misshapen = _shaped(stored)
    history = history_of_rows(rows)
    known = set(history.instruments)
    by_universe = {
        name: tuple(sorted(set(chosen.loc[chosen["universe"] == name, "instrument_id"]) & known)) for name in wanted
    }
    calendars = dict(zip(chosen["instrument_id"], chosen["calendar"], strict=True))
    traded = {name for names in by_universe.values() for name in names}
    if not traded:
        raise SuspiciousDataError(_without_bars(wanted))
    through = as_of or max(newest_session(history, names) for names in by_universe.values() if names)
    return LabBars(
        until_day(history, through),
        by_universe,
        {name: str(calendars[name]) for name in history.instruments},
        {symbol: name for symbol, name in coins.items() if name in known},
        through,
        n_misshapen,
    )


def _without_bars(wanted: Sequence[str]) -> str:
    return f"no instrument of {', '.join(wanted)} has a bar: run `defiyield data`, or materialise daily_bars"


def _require_universes(listed: pd.DataFrame, wanted: Sequence[str]) -> None:
    known = sorted(set(listed["universe"]))
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ConfigurationError(
            f"no instrument belongs to the universe {missing[0]!r} that a strategy names; known: "
            f"{', '.join(known) or 'none, materialise instruments first'}"
        )


def _by_symbol(coins: pd.DataFrame) -> dict[str, str]:
    """Symbol -> instrument, on Ethereum where it is on several chains."""
    ordered = coins.assign(is_other=coins["chain"] != "Ethereum").sort_values(["is_other", "instrument_id"])
    first = ordered.drop_duplicates("symbol")
    return dict(zip(first["symbol"], first["instrument_id"], strict=True))


def _shaped(stored: Mapping[str, NDArray[Any]]) -> tuple[pd.DataFrame, int]:
    """Adjusted bars as a long table; a bar whose shape cannot be keeps only its close."""
    _, order = order_of_bars(stored["instrument_id"], stored["date"])
    told = {name: cells[order] for name, cells in stored.items()}
    values = adjusted_values(told)
    is_gap = told["quality"] == MASKED_GAP
    values["open"] = np.where(is_gap, told["open"] * told["adj_factor"], values["open"])  # the engine knows what it is
    rows = pd.DataFrame({name: values[name] for name in ("open", "high", "low", "close", "volume")})
    rows["gap_flag"] = is_gap.astype(np.float64)
    rows.insert(0, "instrument_id", told["instrument_id"])
    rows.insert(1, "date", told["date"])
    rows = rows[rows["close"] > 0.0].reset_index(drop=True)
    prices = rows[["open", "high", "low"]]
    top, bottom = rows[["open", "close"]].max(axis=1), rows[["open", "close"]].min(axis=1)
    is_broken = (top * (1.0 - SHAPE_SLACK) > rows["high"]) | (bottom * (1.0 + SHAPE_SLACK) < rows["low"])
    is_broken |= (prices <= 0.0).any(axis=1)
    rows.loc[is_broken, ["open", "high", "low"]] = np.nan
    return rows, int(is_broken.sum())


def newest_session(history: PriceHistory, names: Sequence[str]) -> date:
    """Last date on which at least half of some instruments have a bar; the last bar of any where there is none."""
    columns = [history.instruments.index(name) for name in names]
    told = history.is_bar[:, columns].sum(axis=1)
    rows = np.flatnonzero(2 * told >= len(columns))
    row = rows[-1] if len(rows) else np.flatnonzero(told)[-1]
    found: date = history.dates[row].astype(object)
    return found


# --- requests ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Wish:
    """Which scenarios are asked for: types (all of them), how many random and stochastic ones, the run's seed."""

    types: tuple[str, ...] = TYPES
    count: int | None = None
    seed: int = 0


def all_requests(definitions: Definitions, bars: LabBars, regimes: Sequence[RegimeWindow], wish: Wish) -> list[Request]:
    """Every scenario of a set, full histories last.

    Real windows are those that are over by the newest bar. Paths are sampled up to the last day on which every
    universe has bars, so that all take part in them jointly.
    """
    names, calendars = bars.traded, {name: bars.calendars[name] for name in bars.traded}
    joint = min(newest_session(bars.history, own) for own in bars.universes.values() if own)
    real = Setting(bars.as_of, names, wish.seed, None, calendars)
    sampled = Setting(min(joint, bars.as_of), names, wish.seed, _benchmark(bars, joint), calendars)
    found: list[Request] = []
    for name in wish.types:
        if name == "stablecoin_depeg":
            found += _depegs(definitions, bars, sampled, wish.count)
            continue
        setting = real if name in REAL_TYPES else sampled
        found += requests(definitions, setting, regimes, (name,), wish.count)
    return [*found, *full_histories(definitions, bars)]


def _benchmark(bars: LabBars, day: date) -> str | None:
    """The market's benchmark: the first with enough bars up to the day, one of them within its last week."""
    own = until_day(bars.history, day)
    for name in MARKET_BENCHMARKS:
        if name not in bars.traded:
            continue
        rows = np.flatnonzero(own.is_bar[:, own.instruments.index(name)])
        if len(rows) > LEAST_WARM_UP and own.n_bars - 1 - int(rows[-1]) < LEAST_RECENT:
            return name
    return None


def _depegs(definitions: Definitions, bars: LabBars, setting: Setting, count: int | None) -> list[Request]:
    """De-pegs with the ids of tokens: a coin that is an approved token is known by its address."""
    ids = {f"crypto:{symbol}": name for symbol, name in bars.stablecoins.items()}
    depegs = tuple(
        replace(
            one, coin=ids.get(one.coin, one.coin), stablecoins=tuple(ids.get(coin, coin) for coin in one.stablecoins)
        )
        for one in definitions.depegs
    )
    found: list[Request] = []
    for one in depegs:
        known = [coin for coin in {one.coin, *one.stablecoins} if coin in bars.history.instruments]
        names = tuple(sorted({*setting.instruments, *known}))
        with_coins = replace(setting, instruments=names, calendars={name: bars.calendars[name] for name in names})
        present = replace(one, stablecoins=tuple(coin for coin in one.stablecoins if coin in names))
        found += requests(replace(definitions, depegs=(present,)), with_coins, (), ("stablecoin_depeg",), count)
    return found


def full_histories(definitions: Definitions, bars: LabBars) -> list[Request]:
    """Of each universe all its history: from where half of its instruments have their warm-up to its newest session."""
    found = []
    for universe, names in sorted(bars.universes.items()):
        if not names:
            continue
        columns = [bars.history.instruments.index(name) for name in names]
        is_ready = np.cumsum(bars.history.is_bar[:, columns], axis=0) > LEAST_WARM_UP
        rows = np.flatnonzero(2 * is_ready.sum(axis=1) >= len(columns))
        end = newest_session(bars.history, names)
        if not len(rows) or bars.history.dates[rows[0]] >= np.datetime64(end, "D"):
            continue
        calendars = {name: bars.calendars[name] for name in names if bars.calendars[name] != ALWAYS_OPEN}
        params = {
            "instruments": list(names),
            "calendars": calendars,
            "warm_up_bars": definitions.warm_up_bars,
            "window": FULL_HISTORY + universe,
            "start": str(bars.history.dates[rows[0]]),
            "end": end.isoformat(),
        }
        found.append(Request("full_cycle", "historical_window", FULL_HISTORY + universe, params))
    return found


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame by the names of their columns."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def request_of(row: Mapping[str, Any]) -> Request:
    """The request that a row of `scenarios` was made from."""
    seed = row["seed"]
    return Request(
        row["family"], row["type"], row["name"], json.loads(row["params_json"]), None if pd.isna(seed) else int(seed)
    )


# --- regimes and rates ---------------------------------------------------------------------------------------------
def found_regimes(engine: Engine, bars: LabBars, definitions: Definitions) -> tuple[list[RegimeWindow], list[str]]:
    """Windows of one regime in all markets, and why a market has none."""
    regimes = reads.read_days(
        engine, schema.market_regimes, DayRange(EVER.start, bars.as_of), columns=["market", "date", "state"]
    )
    found: list[RegimeWindow] = []
    reasons = []
    for market, name in MARKETS.items():
        if name not in bars.history.instruments or not (regimes["market"] == market).any():
            reasons.append(f"{market}: no regimes or no bars of {name}")
            continue
        closes = pd.Series(
            bars.history.close[:, bars.history.instruments.index(name)], index=bars.history.dates.tolist()
        )
        try:
            found += regime_windows(market, regimes, closes, bars.as_of, definitions.least_days)
        except SuspiciousDataError as error:
            reasons.append(f"{market}: {error}")
    return found, reasons


def surroundings(engine: Engine, bars: LabBars) -> Surroundings:
    """Calendars, universes, the states of each universe's market and the rate of cash as known."""
    regimes = reads.read_days(
        engine, schema.market_regimes, DayRange(EVER.start, bars.as_of), columns=["market", "date", "state"]
    )
    states = {}
    for universe, names in bars.universes.items():
        own = regimes[regimes["market"] == _market_of(names)].sort_values("date")
        if len(own):
            days = own["date"].to_numpy(dtype="datetime64[D]")
            states[universe] = MarketStates(days, tuple(own["state"].tolist()))
    return Surroundings(bars.calendars, bars.universes, states, cash_rates(engine, bars))


def _market_of(names: Sequence[str]) -> str:
    """The market of a universe: that of the type of its benchmark instruments."""
    is_crypto = all(name.partition(":")[0] == "crypto" for name in names)
    return "crypto" if is_crypto else "us_equities"


def cash_rates(engine: Engine, bars: LabBars) -> Rates | None:
    """The three-month rate as known on each date of the bars, DGS10 less T10Y3M; None where the series are unknown."""
    days = DayRange(EVER.start, bars.as_of)
    rows = reads.read_days(engine, schema.macro_series, days, {"series_id": [LONG_RATE, TERM_SPREAD]})
    if set(rows["series_id"]) != {LONG_RATE, TERM_SPREAD}:
        return None
    dates = bars.history.dates
    listed: list[date] = dates.tolist()
    long, spread = (levels_known(rows[rows["series_id"] == name], listed)[0] for name in (LONG_RATE, TERM_SPREAD))
    return Rates(dates, (long - spread) / PERCENT)
