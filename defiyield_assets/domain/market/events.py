"""Events of the market: earnings, economic and on-chain events, and since when they are known.

Lives here: rows of `market_events` from a vendor's earnings, and since when each is seen. Not here: files
(domain/prices/csv_sources.py), requests (sources/alpha_vantage.py), features of events (features/events_features.py).

Two things become known at different times: that an event will be (`announced_on`; without it, only on its own day) and
how it ended (`known_on`).
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from zlib import crc32

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange

EARNINGS_SOURCE = "alpha_vantage"
EARNINGS_UNIT = "USD per share"
WORKING_DAYS = 5
"""Days of a week on which an exchange's instruments are asked for."""
NEWCOMERS = 24
"""Companies asked for on one day when some are new: a free plan has 25 calls a day."""
COLUMNS = (
    *("source", "event_id", "instrument_id", "kind", "date", "title", "announced_on", "known_on"),
    *("expected", "actual", "surprise", "surprise_fraction", "unit", "is_known_assumed", "fetched_at"),
)
SHOWN_DIGITS = 12


def earnings_events(told: pd.DataFrame, instrument_id: str, through: date, fetched_at: datetime) -> pd.DataFrame:
    """Rows of `market_events` of one company's reported quarters (columns: sources/alpha_vantage.py) up to a day.

    Only quarters whose earnings are out: with a day of report not after `through`, and the figure. They are known from
    the day of the report on; that a report would come is not told beforehand. A report after the close of the exchange
    still falls on its UTC day.
    """
    is_out = [day is not None and day <= through for day in told["reported_date"]]
    out = told[np.array(is_out, dtype=bool) & told["reported_eps"].notna().to_numpy()].reset_index(drop=True)
    surprise, fraction = surprises(out["reported_eps"], out["estimated_eps"])
    return pd.DataFrame(
        {
            "source": EARNINGS_SOURCE,
            "event_id": [f"{instrument_id}:{quarter}" for quarter in out["fiscal_date_ending"]],
            "instrument_id": instrument_id,
            "kind": "earnings",
            "date": out["reported_date"],
            "title": [f"Earnings of the quarter to {quarter}" for quarter in out["fiscal_date_ending"]],
            "announced_on": None,
            "known_on": out["reported_date"],
            "expected": out["estimated_eps"],
            "actual": out["reported_eps"],
            "surprise": surprise,
            "surprise_fraction": fraction,
            "unit": EARNINGS_UNIT,
            "is_known_assumed": False,
            "fetched_at": fetched_at,
        },
        columns=list(COLUMNS),
    ).astype({"announced_on": object})


def surprises(actual: "pd.Series[float]", expected: "pd.Series[float]") -> "tuple[pd.Series[float], pd.Series[float]]":
    """Actual less expected, and that as a fraction of |expected|; NaN where either is unknown, or 0 was expected."""
    surprise = (actual - expected).round(SHOWN_DIGITS)
    size = expected.abs()
    return surprise, surprise / size.where(size > 0.0)


def due(instrument_ids: Iterable[str], told_before: Iterable[str], days: DayRange) -> list[str]:
    """Whose earnings are asked for on the days of the range: everybody once a week, on a working day that the id
    decides; who never had an event before at once, at most NEWCOMERS of them.
    """
    slots = {day.weekday() for day in days if day.weekday() < WORKING_DAYS}
    told = set(told_before)
    by_slot = {name for name in instrument_ids if crc32(name.encode()) % WORKING_DAYS in slots}
    newcomers = [name for name in sorted(set(instrument_ids)) if name not in told and name not in by_slot]
    return sorted(by_slot.union(newcomers[: max(0, NEWCOMERS - len(by_slot))]))


def visible_since(events: pd.DataFrame) -> Sequence[date]:
    """Since when each event is known at all: announced or, without that, on its day; with its outcome at the latest."""
    told = zip(events["announced_on"], events["date"], events["known_on"], strict=True)
    return [min(announced if isinstance(announced, date) else happens, known) for announced, happens, known in told]
