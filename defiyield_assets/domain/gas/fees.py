"""Gas by the hour and by the day; base fee and effective gas price are different series and never mixed.

Lives here: typed hours of both sources and their daily summary. Not here: fetching (sources/ethgastracker.py,
sources/ethereum_node.py), which source counts on a day (sources.py), forecasts (forecasting/gas.py).
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange

HOURLY_COLUMNS = (
    "hour",
    "kind",
    "source",
    "date",
    "mean_gwei",
    "median_gwei",
    "p10_gwei",
    "p90_gwei",
    "max_gwei",
    "eth_price_usd",
    "fetched_at",
)
DAILY_COLUMNS = (
    "date",
    "kind",
    "source",
    "mean_gwei",
    "median_gwei",
    "p10_gwei",
    "p90_gwei",
    "max_gwei",
    "eth_price_usd",
    "n_hours",
)
FEES = ("mean_gwei", "median_gwei", "p10_gwei", "p90_gwei", "max_gwei")


def hourly_fees(answer: pd.DataFrame, fetched_at: datetime, source: str) -> pd.DataFrame:
    """The `gas_fees_hourly` rows of one answer (hour, date, base_fee_gwei, min_gwei, max_gwei, median_gwei,
    eth_price_usd).

    The vendor's base fee is a mean over the blocks of the hour (`kind` base_fee, mean_gwei); its median and maximum
    are effective gas prices (`kind` gas_price). An hour that is not over at `fetched_at` is left out, a value below 0
    is unknown, and an hour with no value of a kind has no row of that kind.
    """
    if answer.empty:
        return pd.DataFrame(columns=list(HOURLY_COLUMNS))
    hours = pd.to_datetime(answer["hour"], utc=True)
    done = answer[(hours + timedelta(hours=1) <= pd.Timestamp(fetched_at)).to_numpy()]
    done = done.drop_duplicates("hour", keep="last")
    base = _rows(done, "base_fee", {"mean_gwei": "base_fee_gwei"})
    price = _rows(done, "gas_price", {"median_gwei": "median_gwei", "max_gwei": "max_gwei"})
    frames = [frame for frame in (base, price) if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(HOURLY_COLUMNS))
    rows = pd.concat(frames, ignore_index=True).assign(source=source, fetched_at=fetched_at)
    return rows[list(HOURLY_COLUMNS)].sort_values(["hour", "kind", "source"]).reset_index(drop=True)


def node_fees(answer: pd.DataFrame, fetched_at: datetime, source: str) -> pd.DataFrame:
    """The `gas_fees_hourly` rows of a node's blocks by the hour, without a price of ETH, which a node does not know.

    `answer`: hour, date, base_fee_gwei with its median, p10, p90 and max over the hour's blocks, and price_p10_gwei,
    price_median_gwei, price_p90_gwei: base fee plus that percentile of the priority fees, mean over blocks. The first
    are of kind base_fee, the others of kind gas_price. An hour that is not over at `fetched_at` is left out.
    """
    if answer.empty:
        return pd.DataFrame(columns=list(HOURLY_COLUMNS))
    hours = pd.to_datetime(answer["hour"], utc=True)
    done = answer[(hours + timedelta(hours=1) <= pd.Timestamp(fetched_at)).to_numpy()].assign(eth_price_usd=np.nan)
    quantiles = ("median", "p10", "p90", "max")
    base = {"mean_gwei": "base_fee_gwei", **{f"{name}_gwei": f"base_fee_{name}_gwei" for name in quantiles}}
    price = {f"{name}_gwei": f"price_{name}_gwei" for name in ("median", "p10", "p90")}
    frames = [frame for frame in (_rows(done, "base_fee", base), _rows(done, "gas_price", price)) if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(HOURLY_COLUMNS))
    rows = pd.concat(frames, ignore_index=True).assign(source=source, fetched_at=fetched_at)
    return rows[list(HOURLY_COLUMNS)].sort_values(["hour", "kind", "source"]).reset_index(drop=True)


def with_eth_prices(fees: pd.DataFrame, closes: Mapping[date, float]) -> pd.DataFrame:
    """The same hours with a price of ETH where they had none: that of the hour from another source, else the close of
    the day (`closes`, USD), which is the price at its end and no better for the hours before."""
    if fees.empty:
        return fees
    known = fees[fees["eth_price_usd"].notna()].drop_duplicates("hour")
    of_hour = dict(zip(known["hour"], known["eth_price_usd"].astype(float), strict=True))
    prices = fees["eth_price_usd"].astype(float).fillna(fees["hour"].map(of_hour).astype(float))
    return fees.assign(eth_price_usd=prices.fillna(fees["date"].map(dict(closes)).astype(float)))


def daily_fees(hourly: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """The `gas_fees_daily` rows of `days`, one per kind and source.

    An hour counts with its mean, or with its median where only that is known; mean, median, p10 and p90 of a day are
    taken over its observed hours (linear interpolation), the maximum over the hours' maxima where known; the ETH
    price is the day's last.
    """
    kept = hourly[hourly["date"].isin(list(days))] if len(hourly) else hourly
    if kept.empty:
        return pd.DataFrame(columns=list(DAILY_COLUMNS))
    kept = kept.sort_values(["hour", "fetched_at"], kind="stable").drop_duplicates(
        ["hour", "kind", "source"], keep="last"
    )
    rows = []
    for (day, kind, source), hours in kept.groupby(["date", "kind", "source"]):
        level = hours["mean_gwei"].astype(float).fillna(hours["median_gwei"].astype(float))
        peak = hours["max_gwei"].astype(float).fillna(level)
        prices = hours["eth_price_usd"].astype(float).dropna()
        p10, p90 = level.quantile(0.1), level.quantile(0.9)
        price = prices.iloc[-1] if len(prices) else np.nan
        n_hours = int(level.notna().sum())
        rows.append((day, kind, source, level.mean(), level.median(), p10, p90, peak.max(), price, n_hours))
    return (
        pd.DataFrame(rows, columns=list(DAILY_COLUMNS)).sort_values(["date", "kind", "source"]).reset_index(drop=True)
    )


def _rows(done: pd.DataFrame, kind: str, columns: dict[str, str]) -> pd.DataFrame:
    rows = pd.DataFrame({"hour": done["hour"], "kind": kind, "date": done["date"]})
    for name in FEES:
        rows[name] = _number(done[columns[name]]) if name in columns else np.nan
    rows["eth_price_usd"] = _number(done["eth_price_usd"])
    return rows[rows[list(columns)].notna().any(axis=1)]


def _number(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers) & (numbers >= 0))
