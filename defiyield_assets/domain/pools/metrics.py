"""Rolling statistics of every tracked pool; a window is days, not rows.

Lives here: what each metric is. Not here: window arithmetic (windows.py), "known when" (panels.py), findings
(quality.py), groups (groups.py).
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools import windows
from defiyield_assets.domain.pools.panels import LOOKBACK_DAYS, Panel, collect, flatten, panels
from defiyield_assets.domain.pools.windows import Counts, Floats

METRIC_COLUMNS = (
    "date",
    "pool_id",
    "apy",
    "tvl_usd",
    "apy_mean_7d",
    "apy_mean_30d",
    "apy_std_7d",
    "apy_std_30d",
    "apy_change_1d",
    "apy_mean_7d_change_1d",
    "apy_mean_30d_change_1d",
    "apy_std_7d_change_1d",
    "apy_std_30d_change_1d",
    "apy_ewma_7d",
    "tvl_change_1d",
    "tvl_change_7d",
    "observed_days",
    "age_days",
    "reward_share",
    "utilisation",
    "is_hindsight",
)
HALF_LIFE_DAYS = 7.0
WEEK, MONTH = 7, 30


def rolling_metrics(
    revisions: pd.DataFrame,
    tracked: pd.DataFrame,
    pools: pd.DataFrame,
    days: DayRange,
    parameters: Parameters,
    *,
    first_days: Mapping[str, date] | None = None,
) -> pd.DataFrame:
    """The `pool_metrics` rows of all tracked (date, pool_id) pairs in `days`.

    `revisions`: all `pool_histories` revisions from LOOKBACK_DAYS (60) before `days` on; the row of a day rests on
    what was known at that day's cutoff. `pools`: the snapshots of `days`, for the legs of lending pools.
    `first_days`: first known day of each pool; without it `age_days` cannot exceed the lookback. APYs are winsorised
    as in quality.py, except in `reward_share`. Means and deviations are taken over the observed days of the window
    (deviation: ddof 1, null below 3 values); `apy_ewma_7d` weighs the observed days of the last 30 with half-life 7
    days; changes are null when either day is unknown.
    """
    rows = collect(_measure(panel, parameters, first_days or {}) for panel in panels(revisions, tracked, days))
    if rows.empty:
        return pd.DataFrame(columns=list(METRIC_COLUMNS))
    return rows.assign(utilisation=_utilisation(rows, pools))[list(METRIC_COLUMNS)]


def _measure(panel: Panel, parameters: Parameters, first_days: Mapping[str, date]) -> pd.DataFrame:
    n = panel.wanted
    apy = windows.winsorised(
        panel.apy,
        parameters.spike_median_multiple,
        parameters.spike_robust_z,
        parameters.apy_plausible_max,
        last=n + MONTH,  # the oldest that yesterday's windows of the first day read
    )
    levels = {
        "apy_mean_7d": windows.mean(apy, WEEK, last=n + 1),
        "apy_mean_30d": windows.mean(apy, MONTH, last=n + 1),
        "apy_std_7d": windows.deviation(apy, WEEK, last=n + 1),
        "apy_std_30d": windows.deviation(apy, MONTH, last=n + 1),
    }
    changes = {f"{name}_change_1d": values[:, 1:] - values[:, :-1] for name, values in levels.items()}
    return flatten(
        panel,
        {
            "apy": apy,
            "tvl_usd": panel.tvl_usd,
            **levels,
            "apy_change_1d": apy - windows.before(apy),
            **changes,
            "apy_ewma_7d": windows.decayed_mean(apy, MONTH, HALF_LIFE_DAYS, last=n),
            "tvl_change_1d": _relative_change(panel.tvl_usd, 1),
            "tvl_change_7d": _relative_change(panel.tvl_usd, WEEK),
            "observed_days": windows.counted(np.isfinite(apy), MONTH, last=n),
            "age_days": _age_days(panel, first_days),
            "reward_share": _reward_share(panel),
            "is_hindsight": panel.is_hindsight,
        },
    )


def _relative_change(values: Floats, lag: int) -> Floats:
    """Today over `lag` days ago, minus 1; null when either is unknown or the earlier value is 0."""
    earlier = windows.before(values, lag)
    usable = earlier > 0
    return np.where(usable, values / np.where(usable, earlier, 1.0) - 1.0, np.nan)


def _reward_share(panel: Panel) -> Floats:
    """Reward APY over total APY as advertised; where rewards are not named, what the base does not explain. Null at
    APY <= 0."""
    rewards = np.where(np.isnan(panel.apy_reward), panel.apy - panel.apy_base, panel.apy_reward)
    usable = panel.apy > 0
    return np.where(usable, np.clip(rewards / np.where(usable, panel.apy, 1.0), 0.0, 1.0), np.nan)


def _age_days(panel: Panel, first_days: Mapping[str, date]) -> Counts:
    """Days since the first known point; 0 for a pool without one."""
    seen = windows.trailing(panel.has_point, LOOKBACK_DAYS + 1, fill=False, last=panel.wanted)
    in_lookback = np.where(seen.any(axis=-1), LOOKBACK_DAYS - seen.argmax(axis=-1), 0)
    known = panel.wanted_ordinals[None, :] - panel.first_ordinals(first_days)[:, None]
    age: Counts = np.maximum(in_lookback, known).astype(np.int64)
    return age


def _utilisation(rows: pd.DataFrame, pools: pd.DataFrame) -> pd.Series:
    """Borrowed over supplied beside each row, null where a leg is unknown or nothing is supplied."""
    known = pools[pools["total_supply_usd"].notna()] if len(pools) else pools
    supply, borrow = known["total_supply_usd"].astype(float), known["total_borrow_usd"].astype(float)
    shares = pd.DataFrame(
        {
            "date": known["snapshot_date"].to_numpy(),
            "pool_id": known["pool_id"].to_numpy(),
            "utilisation": (borrow / supply).where(supply > 0).to_numpy(dtype=float),
        }
    )
    return rows[["date", "pool_id"]].merge(shares, on=["date", "pool_id"], how="left")["utilisation"]
