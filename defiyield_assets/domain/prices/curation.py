"""Curated daily bars: one vendor per row by priority, with how much of a bar it is.

Lives here: which vendor's row counts and its quality, market capitalisations, and where vendors disagree. Not here:
the vendors' answers (sources) or what a price means (icebox).
"""

from collections.abc import Mapping
from datetime import date
from itertools import combinations

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange

BAR_COLUMNS = (
    "instrument_id",
    "date",
    "open",
    "high",
    "low",
    "close",
    "adj_factor",
    "volume_usd",
    "volume_units",
    "volume_source",
    "market_cap_usd",
    "source",
    "quality",
)
BAR_SOURCES = ("coinmarketcap", "coingecko")
CLOSE_SOURCE = "defillama_coins"
PRIORITY = (*BAR_SOURCES, CLOSE_SOURCE)
"""Vendors of prices, the first that tells a bar of a day wins."""
PRICES = ("open", "high", "low", "close")
AGREEMENT = 0.01
"""Relative difference of two vendors' closes that is still agreement: closes are read minutes apart, and a token that
lost its peg moves by more (icebox_close_depth is 1 %)."""
ROUNDING = 1e-12
"""What a quotient of two floats may miss the tolerance by."""


def curate_daily_bars(answers: Mapping[str, pd.DataFrame], instruments: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """The `daily_bars` slice of `days` for the listed instruments; `answers` are the vendors' tables by vendor.

    The first vendor by `PRIORITY` that tells a close of a day wins. A bar of CoinMarketCap or CoinGecko is `full`;
    where its prices contradict each other (low above, high below, or not positive) or are not there, only its close is
    kept (`close_only`). DeFiLlama's close is `close_only`, and `assumed` where its confidence is 0. A close that is not
    positive is no price. Nothing is carried forward: a day without an answer has no row. Market cap 0 is unknown.
    """
    wanted = set(instruments["instrument_id"]) if len(instruments) else set()
    told = {vendor: answers[vendor] for vendor in PRIORITY if vendor in answers}
    rows = [
        row
        for vendor, frame in told.items()
        for row in (
            _closes(frame, wanted, days) if vendor == CLOSE_SOURCE else _bars(frame, wanted, days, vendor)
        ).to_dict("records")
    ]
    if not rows:
        return pd.DataFrame(columns=list(BAR_COLUMNS))
    merged = pd.DataFrame(rows, columns=list(BAR_COLUMNS)).drop_duplicates(["instrument_id", "date"], keep="first")
    numbers = ["open", "high", "low", "close", "adj_factor", "volume_usd", "volume_units", "market_cap_usd"]
    merged = merged.astype(dict.fromkeys(numbers, float))
    return merged.sort_values(["instrument_id", "date"]).reset_index(drop=True)


def price_disagreements(
    answers: Mapping[str, pd.DataFrame], days: DayRange, tolerance: float = AGREEMENT
) -> tuple[pd.DataFrame, int]:
    """Days on which two vendors' closes differ by more than `tolerance` of the first, and how many pairs there were.

    Columns: instrument_id, date, first_source, second_source (by `PRIORITY`), first_close, second_close (USD),
    difference (fraction, signed). A close that DeFiLlama only assumes (confidence 0) is no second opinion.
    """
    columns = ["instrument_id", "date", "first_source", "second_source", "first_close", "second_close", "difference"]
    found, n_pairs = [], 0
    closes = {vendor: _observed_closes(answers[vendor], days) for vendor in PRIORITY if vendor in answers}
    for (first, left), (second, right) in combinations(closes.items(), 2):
        both = left.merge(right, on=["instrument_id", "date"], suffixes=("_first", "_second"))
        n_pairs += len(both)
        both = both.rename(columns={"close_first": "first_close", "close_second": "second_close"})
        both["difference"] = both["second_close"] / both["first_close"] - 1.0
        apart = both[both["difference"].abs() > tolerance + ROUNDING]
        found += apart.assign(first_source=first, second_source=second)[columns].to_dict("records")
    frame = pd.DataFrame(found, columns=columns)
    return frame.sort_values(["instrument_id", "date", "first_source"], kind="stable").reset_index(drop=True), n_pairs


def _observed_closes(rows: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """[instrument_id, date, close] of a vendor's table, assumed closes left out."""
    if rows.empty:
        return pd.DataFrame({"instrument_id": [], "date": [], "close": []}, dtype=object).astype({"close": float})
    kept = _latest(rows, set(rows["instrument_id"]), days)
    if "confidence" in kept:
        kept = kept[kept["confidence"].astype(float) != 0]
    return kept[["instrument_id", "date"]].assign(close=kept["close"].astype(float)).reset_index(drop=True)


def latest_market_caps(
    bars: pd.DataFrame, day: date, max_age_days: int = 7, markets: pd.DataFrame | None = None
) -> dict[str, float]:
    """Newest known market capitalisation of each instrument, at most `max_age_days` old on `day`; rows after `day` are
    not read.

    `markets`: rows of `coin_markets`, which stand in for an instrument whose bars tell none.
    """
    of_bars = _newest_caps(bars, day, max_age_days)
    of_markets = _newest_caps(markets, day, max_age_days) if markets is not None else {}
    return of_markets | of_bars


def _newest_caps(rows: pd.DataFrame, day: date, max_age_days: int) -> dict[str, float]:
    if rows.empty:
        return {}
    age = np.array([(day - known).days for known in rows["date"]])
    caps = rows["market_cap_usd"].astype(float).to_numpy()
    usable = rows[(age >= 0) & (age <= max_age_days) & (caps > 0)].sort_values("date", kind="stable")
    return dict(zip(usable["instrument_id"], usable["market_cap_usd"].astype(float), strict=True))


def _latest(rows: pd.DataFrame, wanted: set[str], days: DayRange) -> pd.DataFrame:
    """One row per instrument and day of a vendor table: the latest stamp, then the latest fetch; only positive
    closes."""
    if rows.empty:
        return rows
    close = pd.to_numeric(rows["close"], errors="coerce").astype(float)
    usable = rows["instrument_id"].isin(wanted) & rows["date"].isin(list(days)) & (close > 0) & np.isfinite(close)
    ordered = rows[usable].sort_values(["instrument_id", "date", "ts", "fetched_at"], kind="stable")
    return ordered.drop_duplicates(["instrument_id", "date"], keep="last").reset_index(drop=True)


def _bars(rows: pd.DataFrame, wanted: set[str], days: DayRange, vendor: str) -> pd.DataFrame:
    kept = _latest(rows, wanted, days)
    if kept.empty:
        return kept
    prices = kept[list(PRICES)].astype(float)
    top, bottom = prices[["open", "close"]].max(axis=1), prices[["open", "close"]].min(axis=1)
    whole = prices.notna().all(axis=1) & (prices["high"] >= top) & (prices["low"] <= bottom) & (prices["low"] > 0)
    bars = kept[["instrument_id", "date"]].copy()
    for name in ("open", "high", "low"):
        bars[name] = prices[name].where(whole)
    bars["close"] = prices["close"]
    volume, cap = kept["volume_usd"].astype(float), kept["market_cap_usd"].astype(float)
    return bars.assign(
        adj_factor=1.0,
        volume_usd=volume,
        volume_units=np.nan,
        volume_source=volume.notna().map({True: vendor, False: None}),
        market_cap_usd=cap.where(cap > 0),
        source=vendor,
        quality=whole.map({True: "full", False: "close_only"}),
    )


def _closes(closes: pd.DataFrame, wanted: set[str], days: DayRange) -> pd.DataFrame:
    kept = _latest(closes, wanted, days)
    if kept.empty:
        return kept
    is_assumed = kept["confidence"].astype(float) == 0
    return kept[["instrument_id", "date"]].assign(
        open=np.nan,
        high=np.nan,
        low=np.nan,
        close=kept["close"].astype(float),
        adj_factor=1.0,
        volume_usd=np.nan,
        volume_units=np.nan,
        volume_source=None,
        market_cap_usd=np.nan,
        source=CLOSE_SOURCE,
        quality=is_assumed.map({True: "assumed", False: "close_only"}),
    )
