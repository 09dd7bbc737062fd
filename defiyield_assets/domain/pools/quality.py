"""What is wrong with a pool's data on a day, and the APY that statistics may use instead.

Lives here: the findings and which of them block. Not here: window arithmetic (windows.py), statistics (metrics.py),
the final verdict on a pool (selection/final.py).
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools import windows
from defiyield_assets.domain.pools.windows import Counts, Flags, Panel

QUALITY_COLUMNS = (
    "date",
    "pool_id",
    "is_passed",
    "reason_codes",
    "reasons",
    "is_stuck",
    "has_gap",
    "is_spike",
    "is_implausible",
    "has_tvl_jump",
    "largest_gap_days",
    "winsorised_apy",
    "is_hindsight",
)
GAP_WINDOW = 30
TVL_JUMP = 5.0
"""A TVL that changes by more than this factor in a day, up or down, is a jump."""
HINDSIGHT_DAYS = 30
"""The findings of a day read the points of this many days before it."""
FINDINGS = {
    "NO_DATA": "no point is known",
    "STUCK": "APY and TVL have not changed to the last digit for {stuck_days} days",
    "GAP": "{gap} days in a row are missing within the last 30, more than {gap_days} are not accepted",
    "IMPLAUSIBLE": "APY of {apy:.2%} is below 0 or above {plausible:.0%}",
    "TVL_JUMP": "TVL changed more than fivefold in a day, from {tvl_before:,.0f} to {tvl:,.0f} USD",
    "SPIKE": "APY of {apy:.2%} is a spike; statistics use {winsorised:.2%}",
    "NULL_APY": "the day's point has no APY",
    "NO_POINT": "the day has no point",
}
"""Findings in the order in which they are reported, with their words."""
BLOCKING = ("NO_DATA", "STUCK", "GAP", "IMPLAUSIBLE", "TVL_JUMP")
"""A spike does not block, because it is winsorised; neither does one silent day, which is less than a gap."""


def assess_quality(
    revisions: pd.DataFrame,
    tracked: pd.DataFrame,
    days: DayRange,
    parameters: Parameters,
    *,
    first_days: Mapping[str, date] | None = None,
) -> pd.DataFrame:
    """The `pool_quality` rows of all tracked (date, pool_id) pairs in `days`.

    `revisions`: all `pool_histories` revisions from LOOKBACK_DAYS (60) before `days` on; each day sees what was known
    at its cutoff. `first_days`: first known day of each pool, so that a silence since before the lookback is a gap
    and not a birth. Stuck means that `stuck_days` consecutive days, the day included, carry the same APY and the same
    TVL; a constant zero is stuck too: a pool that pays nothing and moves nothing is dead or its feed is. A day
    without APY counts as missing for the gap.
    """
    frames = (
        _assess(panel, parameters, first_days or {})
        for panel in windows.panels(revisions, tracked, days, HINDSIGHT_DAYS)
    )
    rows = windows.collect(frames, tracked)
    if rows.empty:
        return pd.DataFrame(columns=list(QUALITY_COLUMNS))
    _describe(rows, parameters)
    return rows[list(QUALITY_COLUMNS)]


def _assess(panel: Panel, parameters: Parameters, first_days: Mapping[str, date]) -> pd.DataFrame:
    apy, tvl = panel.apy, panel.tvl_usd
    before_tvl = windows.before(tvl)
    same = (apy == windows.before(apy)) & (tvl == before_tvl)
    repeats = parameters.stuck_days - 1
    threshold = windows.spike_threshold(apy, parameters.spike_median_multiple, parameters.spike_robust_z)
    existed = _existed(panel, first_days)
    gap = _largest_gap(panel, existed)
    known = windows.counted(panel.has_point, windows.LOOKBACK_DAYS + 1) > 0
    return windows.flatten(
        panel,
        {
            "is_no_data": ~(known | existed),
            "is_stuck": windows.counted(same, repeats) == repeats,
            "has_gap": gap > parameters.gap_days,
            "is_spike": apy > threshold,
            "is_implausible": (apy < 0) | (apy > parameters.apy_plausible_max),
            "has_tvl_jump": (tvl > TVL_JUMP * before_tvl) | (before_tvl > TVL_JUMP * tvl),
            "largest_gap_days": gap,
            "winsorised_apy": windows.winsorised(
                apy, parameters.spike_median_multiple, parameters.spike_robust_z, parameters.apy_plausible_max
            ),
            "is_null_apy": panel.has_point & np.isnan(apy),
            "is_no_point": ~panel.has_point,
            "apy": apy,
            "tvl": tvl,
            "tvl_before": before_tvl,
            "is_hindsight": panel.is_hindsight,
        },
    )


def _existed(panel: Panel, first_days: Mapping[str, date]) -> Flags:
    """Whether the pool had a point before the 30 days that end on each day."""
    in_lookback = windows.counted(panel.has_point, windows.LOOKBACK_DAYS + 1) > windows.counted(
        panel.has_point, GAP_WINDOW
    )
    first = np.array([first_days.get(pool_id, date.max).toordinal() for pool_id in panel.pool_ids])
    oldest = np.array([day.toordinal() - GAP_WINDOW for day in panel.days])
    return in_lookback | (first[:, None] <= oldest[None, :])


def _largest_gap(panel: Panel, existed: Flags) -> Counts:
    """Longest run of days without an APY within 30 days, counted from the pool's first point on."""
    observed = windows.trailing(np.isfinite(panel.apy), GAP_WINDOW, fill=False)
    present = windows.trailing(panel.has_point, GAP_WINDOW, fill=False)
    started = existed.copy()
    current = np.zeros(existed.shape, dtype=np.int64)
    longest = current.copy()
    for offset in range(GAP_WINDOW):
        started |= present[..., offset]
        current = np.where(started & ~observed[..., offset], current + 1, 0)
        longest = np.maximum(longest, current)
    return longest


def _describe(rows: pd.DataFrame, parameters: Parameters) -> None:
    """Add verdict, codes and words to the assessed rows."""
    flags = {
        "NO_DATA": rows["is_no_data"],
        "STUCK": rows["is_stuck"],
        "GAP": rows["has_gap"],
        "IMPLAUSIBLE": rows["is_implausible"],
        "TVL_JUMP": rows["has_tvl_jump"],
        "SPIKE": rows["is_spike"],
        "NULL_APY": rows["is_null_apy"],
        "NO_POINT": rows["is_no_point"],
    }
    table = pd.DataFrame(flags).astype(bool)[list(FINDINGS)]
    rows["is_passed"] = ~table[list(BLOCKING)].any(axis=1)
    codes, reasons = [""] * len(rows), [""] * len(rows)
    for index in np.flatnonzero(table.any(axis=1).to_numpy()):
        row = rows.iloc[index]
        flags_at = table.iloc[index]
        found = [code for code in FINDINGS if flags_at[code]]
        codes[index] = ",".join(found)
        reasons[index] = "; ".join(
            FINDINGS[code].format(
                stuck_days=parameters.stuck_days,
                gap=row["largest_gap_days"],
                gap_days=parameters.gap_days,
                apy=row["apy"],
                plausible=parameters.apy_plausible_max,
                tvl=row["tvl"],
                tvl_before=row["tvl_before"],
                winsorised=row["winsorised_apy"],
            )
            for code in found
        )
    rows["reason_codes"] = codes
    rows["reasons"] = reasons


def winsorise_history(histories: pd.DataFrame, parameters: Parameters) -> pd.DataFrame:
    """The same points with `apy` cut at the spike threshold of the 30 days before each, as statistics and forecasts do.

    `histories`: pool_id, date, apy and any further columns, one row per (pool, date). Causal: a day's cut rests on
    earlier days only. Row order and all other columns stay.
    """
    if histories.empty:
        return histories
    wide = histories.pivot_table(index="pool_id", columns="date", values="apy", dropna=False)
    days = pd.date_range(min(histories["date"]), max(histories["date"])).date
    matrix = wide.reindex(columns=days).to_numpy(dtype=float)
    cut = windows.winsorised(
        matrix, parameters.spike_median_multiple, parameters.spike_robust_z, parameters.apy_plausible_max
    )
    row = wide.index.get_indexer(pd.Index(histories["pool_id"]))
    column = [(day - days[0]).days for day in histories["date"]]
    return histories.assign(apy=np.where(row >= 0, cut[row, column], histories["apy"].astype(float)))
