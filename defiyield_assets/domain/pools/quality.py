"""What is wrong with a pool's data on a day, and the APY that statistics may use instead.

Lives here: the findings and which of them block. Not here: window arithmetic (windows.py), "known when" (panels.py),
statistics (metrics.py), the final verdict on a pool (selection/final.py).
"""

from collections.abc import Mapping
from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.pools import windows
from defiyield_assets.domain.pools.panels import LOOKBACK_DAYS, Panel, collect, flatten, panels
from defiyield_assets.domain.pools.windows import Counts, Flags

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
FIGURES = {
    "largest_gap_days": "gap",
    "apy": "apy",
    "tvl": "tvl",
    "tvl_before": "tvl_before",
    "winsorised_apy": "winsorised",
}
"""Column of an assessed row -> its name in these words."""
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
    rows = collect(
        _assess(panel, parameters, first_days or {}) for panel in panels(revisions, tracked, days, HINDSIGHT_DAYS)
    )
    if rows.empty:
        return pd.DataFrame(columns=list(QUALITY_COLUMNS))
    _describe(rows, parameters)
    return rows[list(QUALITY_COLUMNS)]


def _assess(panel: Panel, parameters: Parameters, first_days: Mapping[str, date]) -> pd.DataFrame:
    n, stuck_days = panel.wanted, parameters.stuck_days
    same = (panel.apy == windows.before(panel.apy)) & (panel.tvl_usd == windows.before(panel.tvl_usd))
    before_tvl = windows.before(panel.tvl_usd)[:, -n:]
    apy, tvl, has_point = panel.apy[:, -n:], panel.tvl_usd[:, -n:], panel.has_point[:, -n:]
    threshold = windows.spike_threshold(panel.apy, parameters.spike_median_multiple, parameters.spike_robust_z, last=n)
    existed = _existed(panel, first_days)
    gap = _largest_gap(panel, existed)
    known = windows.counted(panel.has_point, LOOKBACK_DAYS + 1, last=n) > 0
    return flatten(
        panel,
        {
            "is_no_data": ~(known | existed),
            "is_stuck": windows.counted(same, stuck_days - 1, last=n) == stuck_days - 1,
            "has_gap": gap > parameters.gap_days,
            "is_spike": apy > threshold,
            "is_implausible": (apy < 0) | (apy > parameters.apy_plausible_max),
            "has_tvl_jump": (tvl > TVL_JUMP * before_tvl) | (before_tvl > TVL_JUMP * tvl),
            "largest_gap_days": gap,
            "winsorised_apy": windows.cut(apy, threshold, parameters.apy_plausible_max),
            "is_null_apy": has_point & np.isnan(apy),
            "is_no_point": ~has_point,
            "apy": apy,
            "tvl": tvl,
            "tvl_before": before_tvl,
            "is_hindsight": panel.is_hindsight,
        },
    )


def _existed(panel: Panel, first_days: Mapping[str, date]) -> Flags:
    """Whether the pool had a point before the 30 days that end on each wanted day."""
    in_lookback = windows.counted(panel.has_point, LOOKBACK_DAYS + 1, last=panel.wanted) > windows.counted(
        panel.has_point, GAP_WINDOW, last=panel.wanted
    )
    oldest = panel.wanted_ordinals - GAP_WINDOW
    return in_lookback | (panel.first_ordinals(first_days)[:, None] <= oldest[None, :])


def _largest_gap(panel: Panel, existed: Flags) -> Counts:
    """Longest run of days without an APY within 30 days, counted from the pool's first point on."""
    observed = windows.trailing(np.isfinite(panel.apy), GAP_WINDOW, fill=False, last=panel.wanted)
    present = windows.trailing(panel.has_point, GAP_WINDOW, fill=False, last=panel.wanted)
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
    limits = {
        "stuck_days": parameters.stuck_days,
        "gap_days": parameters.gap_days,
        "plausible": parameters.apy_plausible_max,
    }
    codes, reasons = [""] * len(rows), [""] * len(rows)
    broken = np.flatnonzero(table.any(axis=1).to_numpy())
    named_figures = rows.loc[broken, list(FIGURES)].rename(columns=FIGURES)
    found = [{str(name): value for name, value in row.items()} for row in named_figures.to_dict("records")]
    named = [
        [code for code, is_found in zip(FINDINGS, flags, strict=True) if is_found] for flags in table.to_numpy()[broken]
    ]
    for index, figures, codes_at in zip(broken, found, named, strict=True):
        codes[index] = ",".join(codes_at)
        reasons[index] = "; ".join(FINDINGS[code].format(**limits, **figures) for code in codes_at)
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
