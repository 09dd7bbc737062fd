"""Curated daily bars: one vendor per row by priority, with how much of a bar it is.

Lives here: which vendor's row counts and its quality. Not here: the vendors' answers (sources) or what a price means
(icebox).
"""

from datetime import date

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
BAR_SOURCE = "coinmarketcap"
CLOSE_SOURCE = "defillama_coins"
PRICES = ("open", "high", "low", "close")


def curate_daily_bars(
    cmc: pd.DataFrame, closes: pd.DataFrame, instruments: pd.DataFrame, days: DayRange
) -> pd.DataFrame:
    """The `daily_bars` slice of `days` for the listed instruments, from `ohlcv_coinmarketcap` and `closes_defillama`.

    A CoinMarketCap bar comes first (`full`); where its prices contradict each other (low above, high below, or not
    positive) only its close is kept (`close_only`). Otherwise DeFiLlama's close stands alone (`close_only`; `assumed`
    where its confidence is 0). A close that is not positive is no price. Nothing is carried forward: a day without an
    answer has no row. Market cap 0 is unknown.
    """
    wanted = set(instruments["instrument_id"]) if len(instruments) else set()
    frames = [frame for frame in (_bars(cmc, wanted, days), _closes(closes, wanted, days)) if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(BAR_COLUMNS))
    rows = [row for frame in frames for row in frame.to_dict("records")]
    merged = pd.DataFrame(rows, columns=list(BAR_COLUMNS)).drop_duplicates(["instrument_id", "date"], keep="first")
    numbers = ["open", "high", "low", "close", "adj_factor", "volume_usd", "volume_units", "market_cap_usd"]
    merged = merged.astype(dict.fromkeys(numbers, float))
    return merged.sort_values(["instrument_id", "date"]).reset_index(drop=True)


def source_disagreements(
    cmc: pd.DataFrame, closes: pd.DataFrame, days: DayRange, tolerance: float = 0.01
) -> pd.DataFrame:
    """Days on which both vendors name a close and differ by more than `tolerance` of the first: the cross-check of
    prices.

    Columns: instrument_id, date, close_coinmarketcap, close_defillama, difference (fraction).
    """
    columns = ["instrument_id", "date", "close_coinmarketcap", "close_defillama", "difference"]
    if cmc.empty or closes.empty:
        return pd.DataFrame(columns=columns)
    left = _latest(cmc, set(cmc["instrument_id"]), days)[["instrument_id", "date", "close"]]
    right = _latest(closes, set(closes["instrument_id"]), days)[["instrument_id", "date", "close"]]
    both = left.merge(right, on=["instrument_id", "date"], suffixes=("_coinmarketcap", "_defillama"))
    both["difference"] = (both["close_defillama"] / both["close_coinmarketcap"] - 1.0).abs()
    return both[both["difference"] > tolerance][columns].sort_values(["instrument_id", "date"]).reset_index(drop=True)


def latest_market_caps(bars: pd.DataFrame, day: date, max_age_days: int = 7) -> dict[str, float]:
    """Newest known market capitalisation of each instrument, at most `max_age_days` old on `day`; bars after `day`
    are not read."""
    if bars.empty:
        return {}
    age = np.array([(day - known).days for known in bars["date"]])
    caps = bars["market_cap_usd"].astype(float).to_numpy()
    usable = bars[(age >= 0) & (age <= max_age_days) & (caps > 0)].sort_values("date", kind="stable")
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


def _bars(cmc: pd.DataFrame, wanted: set[str], days: DayRange) -> pd.DataFrame:
    kept = _latest(cmc, wanted, days)
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
        volume_source=volume.notna().map({True: BAR_SOURCE, False: None}),
        market_cap_usd=cap.where(cap > 0),
        source=BAR_SOURCE,
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
