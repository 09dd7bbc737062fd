"""Which hours of a UTC day are cheap: rows of `gas_hour_profiles`.

Lives here: the hour's price relative to its day and the evidence that an hour is cheaper. Not here: daily forecasts
(gas.py), which source counts on a day (domain/gas/sources.py), hourly fees (domain/gas/fees.py).
"""

from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.panel import day_number, day_numbers
from defiyield_assets.domain.gas.sources import MIN_HOURS, prevailing_fees

PROFILE_DAYS = 28
"""Four whole weeks, so that every weekday counts the same."""
MIN_DAYS = 7
"""Days without which nothing is said about evidence."""
SIGNIFICANCE = 0.05
"""Probability of naming any hour of a kind where no hour is cheaper than another."""
HOURS = 24

HOUR_PROFILE_COLUMNS = (
    "as_of",
    "kind",
    "hour",
    "ratio",
    "p10",
    "p90",
    "n_days",
    "rank",
    "p_value",
    "saving",
    "is_cheapest",
)


def hour_profile(gas_hourly: pd.DataFrame, as_of: date, days: int = PROFILE_DAYS) -> pd.DataFrame:
    """What each hour cost relative to its day's mean over the last `days` days, and which are cheapest.

    `gas_hourly` are rows of `gas_fees_hourly` in any order; days after `as_of` are never read, and a day counts for a
    kind when at least MIN_HOURS hours of its prevailing source are known. An hour is a mean over blocks, or a median
    where only that is known. Returns the rows of `gas_hour_profiles`: ratio is the median over days (p10, p90 likewise,
    linear interpolation), rank 1 the lowest ratio (of equal ones the earlier hour), saving 1 - ratio, p_value the
    corrected one of `cheapness_p_values`, None with fewer than MIN_DAYS. An hour is cheapest when its ratio is below
    1 and its p_value below SIGNIFICANCE: without evidence none is. An hour never observed has no row.
    """
    frames = [
        _profile(quotients, kind, as_of) for kind, quotients in _quotients(_recent(gas_hourly, as_of, days)).items()
    ]
    if not frames:
        return pd.DataFrame(columns=list(HOUR_PROFILE_COLUMNS))
    return pd.concat(frames, ignore_index=True)[list(HOUR_PROFILE_COLUMNS)]


def cheapness_p_values(quotients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of an hour this cheap where no hour is cheaper than another, corrected for asking about 24 hours.

    `quotients` are prices relative to their day, shape (days, 24), NaN where unknown. Each hour is ranked within its
    day, which takes skewness and spikes out (against the day's mean most hours would look cheap, as peaks lift it);
    the ranks, centred, are put to Wilcoxon's signed-rank test over days (normal approximation with ties, one-sided),
    which allows for edge hours ranking more extremely than middle ones. Holm's correction (1979). NaN with fewer than
    MIN_DAYS.
    """
    from scipy.stats import wilcoxon  # expensive to import

    ranks = pd.DataFrame(quotients).rank(axis=1).to_numpy()
    n_hours = np.sum(~np.isnan(quotients), axis=1, keepdims=True)
    centred = ranks - (n_hours + 1.0) / 2.0
    raw = np.full(quotients.shape[1], np.nan)
    for hour in range(quotients.shape[1]):
        known = centred[~np.isnan(centred[:, hour]), hour]
        if len(known) >= MIN_DAYS:
            # Where all hours cost the same on every day there is nothing to test.
            raw[hour] = (
                float(wilcoxon(known, alternative="less", zero_method="zsplit", method="approx").pvalue)
                if known.any()
                else 1.0
            )
    return holm(raw)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Step-down correction of Holm (1979) of the p-values that are known; NaN stays."""
    corrected = np.full_like(p_values, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return corrected


def _recent(gas_hourly: pd.DataFrame, as_of: date, days: int) -> pd.DataFrame:
    """Newest row of each hour and kind of the source that counts, with its price (`gwei`) and hour of the day."""
    age = day_number(as_of) - day_numbers(gas_hourly["date"])
    rows = gas_hourly.loc[(age >= 0) & (age < days)]
    level = rows["mean_gwei"].astype(float).fillna(rows["median_gwei"].astype(float))
    rows = rows.assign(gwei=level).loc[level.notna()]
    rows = rows.sort_values(["hour", "kind", "source", "fetched_at"], kind="stable")
    rows = rows.drop_duplicates(["hour", "kind", "source"], keep="last")
    counts = rows.groupby(["date", "kind", "source"]).size().rename("n_hours").reset_index()
    chosen = prevailing_fees(counts)[["date", "kind", "source", "n_hours"]]
    kept = rows.merge(chosen[chosen["n_hours"] >= MIN_HOURS], on=["date", "kind", "source"])
    return kept.assign(of_day=pd.to_datetime(kept["hour"], utc=True).dt.hour)


def _quotients(hours: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Price of each hour divided by its day's mean by kind, shape (days, 24); days free of charge left out."""
    quotients = {}
    for kind, rows in hours.groupby("kind", sort=True):
        table = rows.pivot_table(index="date", columns="of_day", values="gwei").reindex(columns=range(HOURS))
        means = table.mean(axis=1)
        paid = means > 0
        if paid.any():
            quotients[str(kind)] = table[paid].div(means[paid], axis=0).to_numpy(dtype=np.float64)
    return quotients


def _profile(quotients: NDArray[np.float64], kind: str, as_of: date) -> pd.DataFrame:
    """Rows of one kind."""
    n_days = np.sum(~np.isnan(quotients), axis=0)
    seen = np.flatnonzero(n_days)
    p10, ratio, p90 = np.nanquantile(quotients[:, seen], (0.10, 0.50, 0.90), axis=0)
    p_value = cheapness_p_values(quotients)[seen]
    frame = pd.DataFrame({"as_of": as_of, "kind": kind, "hour": seen, "ratio": ratio, "p10": p10, "p90": p90})
    return frame.assign(
        n_days=n_days[seen],
        rank=np.argsort(np.argsort(ratio, kind="stable"), kind="stable") + 1,
        p_value=p_value,
        saving=1.0 - ratio,
        is_cheapest=(ratio < 1.0) & (np.nan_to_num(p_value, nan=1.0) < SIGNIFICANCE),
    )
