"""Learning targets: forward returns, each known only on the day on which its horizon ends.

Lives here: targets and how learners join them to features. Not here: features (features/), which never see this module
(a contract of import-linter says so), nor models.

A target tells of the future of its `date`: it is written in the partition of `known_on`, and a learner of day D sees
the rows known on D and no others.
"""

from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError

HORIZONS = (1, 5, 20)
"""Bars ahead."""
LONGEST_DAYS = 60
"""Calendar days that a horizon may span: a series with longer holes has no target over them."""
COLUMNS = ("instrument_id", "date", "horizon_days", "instrument_type", "known_on", "forward_log_return")
SHOWN = 3


def forward_returns(bars: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """Rows of `feature_targets` that become known on the days of the range: ln(adjusted close then / h bars before).

    `bars` has instrument_id, instrument_type, date, close (raw) and payout_growth (prices/adjustments.py) of the range
    and of LONGEST_DAYS before it, in any order. Returns are made of raw closes and of what was paid out between them,
    not of restated factors, so that no later action changes a bit. A target whose horizon spans more days is left out,
    as is one over a price that is not above 0.
    """
    ordered = bars.sort_values(["instrument_id", "date"], ignore_index=True)
    prices = ordered["close"].to_numpy(dtype=np.float64)
    logs = np.log(np.where(prices > 0.0, prices, np.nan))
    paid = np.log(ordered["payout_growth"].to_numpy(dtype=np.float64))
    names = ordered["instrument_id"].to_numpy()
    day = np.array(ordered["date"].tolist(), dtype="datetime64[D]")
    is_new = (day >= np.datetime64(days.start)) & (day <= np.datetime64(days.end))
    found = []
    for horizon in HORIZONS:
        end = np.arange(min(horizon, len(ordered)), len(ordered))
        start = end - horizon
        is_near = (day[end] - day[start]).astype(np.int64) <= LONGEST_DAYS
        returns = logs[end] - logs[start]
        for back in range(horizon):
            returns += paid[end - back]
        is_told = is_new[end] & (names[end] == names[start]) & is_near & np.isfinite(returns)
        end, start, returns = end[is_told], start[is_told], returns[is_told]
        found.append(
            pd.DataFrame(
                {
                    "instrument_id": names[end],
                    "date": ordered["date"].to_numpy()[start],
                    "horizon_days": horizon,
                    "instrument_type": ordered["instrument_type"].to_numpy()[end],
                    "known_on": ordered["date"].to_numpy()[end],
                    "forward_log_return": returns,
                },
                columns=list(COLUMNS),
            )
        )
    rows = pd.concat(found, ignore_index=True)
    return rows.sort_values(["instrument_id", "date", "horizon_days"], ignore_index=True)


def training_rows(features: pd.DataFrame, targets: pd.DataFrame, as_of: date, horizon: int) -> pd.DataFrame:
    """Features of past bars beside what came after them, for a learner of day `as_of`: the one way to join the two.

    The result has the features' columns and `forward_log_return`; bars without a target are left out.
    SuspiciousDataError where any target is known only after `as_of`, where the features hold a later bar than that, or
    where they hold a column of targets.
    """
    leaking = sorted(set(features.columns) & {"horizon_days", "known_on", "forward_log_return"})
    if leaking:
        raise SuspiciousDataError(f"features hold {', '.join(leaking)}: a target can never be a feature")
    for frame, column, what in ((targets, "known_on", "targets are known"), (features, "date", "features are")):
        late = frame[frame[column] > as_of]
        if len(late):
            keys = [f"{name} of {day}" for name, day in zip(late["instrument_id"], late["date"], strict=True)]
            more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
            raise SuspiciousDataError(f"{what} only after {as_of}: {', '.join(keys[:SHOWN])}{more}")
    wanted = targets.loc[targets["horizon_days"] == horizon, ["instrument_id", "date", "forward_log_return"]]
    return features.merge(wanted, on=["instrument_id", "date"], how="inner", validate="many_to_one")


def mistimed(targets: pd.DataFrame) -> pd.DataFrame:
    """The rows of `feature_targets` that claim to be known before their horizon can have ended, or long after it."""
    spans = np.array([(known - day).days for known, day in zip(targets["known_on"], targets["date"], strict=True)])
    horizons = targets["horizon_days"].to_numpy(dtype=np.int64)
    return targets[(spans < horizons) | (spans > LONGEST_DAYS)].reset_index(drop=True)
