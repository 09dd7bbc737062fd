"""Risk groups of pools from their metrics: 1 low, 2 medium, 3 high, 4 unrated.

Lives here: the limits and the rule. Not here: the metrics (metrics.py) or the caps per group (allocation).
"""

import numpy as np
import pandas as pd

GROUP_COLUMNS = ("date", "pool_id", "pool_group", "reason", "is_hindsight")
LIMITS = {"apy_change_1d": (0.01, 0.03), "apy_std_7d": (0.015, 0.04), "apy_std_30d": (0.02, 0.05)}
"""Metric -> (largest value of group 1, largest value of group 2), in fractions; the change counts by its absolute
value."""
RATED_FROM_DAYS = 30
"""Observed days within the last 30 that a rating needs."""


def assign_groups(metrics: pd.DataFrame) -> pd.DataFrame:
    """The `pool_groups` row of each `pool_metrics` row.

    The worst metric decides; absolute changes count, so that a falling APY is as risky as a rising one. Fewer than 30
    observed days within the last 30, or a metric that is unknown, leave a pool unrated.
    """
    if metrics.empty:
        return pd.DataFrame(columns=list(GROUP_COLUMNS))
    levels, words = [], []
    for name, (low, medium) in LIMITS.items():
        values = metrics[name].astype(float).abs().to_numpy()
        levels.append(np.where(np.isnan(values), 4, np.where(values <= low, 1, np.where(values <= medium, 2, 3))))
        words.append([f"{name} {value:.4f}" for value in values])
    table = np.stack(levels, axis=1)
    observed = metrics["observed_days"].to_numpy(dtype=int)
    unrated = (observed < RATED_FROM_DAYS) | (table == 4).any(axis=1)
    groups = np.where(unrated, 4, table.max(axis=1))
    reasons = [
        f"{days} of {RATED_FROM_DAYS} days observed"
        if group == 4
        else "every limit of group 1 holds"
        if group == 1
        else ", ".join(text[index] for column, text in enumerate(words) if table[index, column] == group)
        + f" above the limit of group {group - 1}"
        for index, (group, days) in enumerate(zip(groups, observed, strict=True))
    ]
    result = pd.DataFrame(
        {
            "date": metrics["date"].to_numpy(),
            "pool_id": metrics["pool_id"].to_numpy(),
            "pool_group": groups.astype(int),
            "reason": reasons,
            "is_hindsight": metrics["is_hindsight"].to_numpy(dtype=bool),
        }
    )
    return result.sort_values(["date", "pool_id"]).reset_index(drop=True)
