"""Answers of FRED in its own wire format, from the observations that a market knows.

Lives here: `/series/observations` with all vintages or one moment's, `/series`. Not here: the observations
(generated_prices.py, recorded_files.py), routing and HTTP (wire.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from defiyield_assets.simulator.vendor_answers import MarketFacts

EVER, FOR_EVER = "1776-07-04", "9999-12-31"
NO_SERIES = (400, {"error_code": 400, "error_message": "Bad Request.  The series does not exist."})


@dataclass(frozen=True)
class SeriesFacts:
    """What FRED says of a series for good."""

    title: str
    frequency: str
    units: str
    units_short: str


SERIES = {
    "DGS10": SeriesFacts("10-Year Treasury Constant Maturity Rate", "Daily", "Percent", "%"),
    "DGS3MO": SeriesFacts("3-Month Treasury Constant Maturity Rate", "Daily", "Percent", "%"),
    "T10Y3M": SeriesFacts("10-Year Less 3-Month Treasury Constant Maturity", "Daily", "Percent", "%"),
    "FEDFUNDS": SeriesFacts("Federal Funds Effective Rate", "Monthly", "Percent", "%"),
    "VIXCLS": SeriesFacts("CBOE Volatility Index: VIX", "Daily", "Index", "Index"),
}
_UNTOLD = SeriesFacts("A recorded series", "Daily", "Not stated", "n.a.")
"""Of a recorded export that is none of these: its file has no unit, and its spacing tells the frequency."""


def series(market: MarketFacts, day: date, params: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """`/fred/series`: status and answer."""
    name = params.get("series_id", "")
    observations = market.observations(name, day)
    if observations is None:
        return NO_SERIES
    facts = SERIES.get(name, _UNTOLD)
    days = [one.day for one in observations]
    is_monthly = name not in SERIES and len(days) > 1 and (days[1] - days[0]).days > 7
    frequency = "Monthly" if is_monthly else facts.frequency
    today = day.isoformat()
    return 200, {
        "realtime_start": today,
        "realtime_end": today,
        "seriess": [
            {
                "id": name,
                "realtime_start": today,
                "realtime_end": today,
                "title": facts.title,
                "observation_start": days[0].isoformat() if days else today,
                "observation_end": days[-1].isoformat() if days else today,
                "frequency": frequency,
                "frequency_short": frequency[0],
                "units": facts.units,
                "units_short": facts.units_short,
                "seasonal_adjustment": "Not Seasonally Adjusted",
                "seasonal_adjustment_short": "NSA",
                "last_updated": f"{today} 15:16:03-05",
                "popularity": 80,
            }
        ],
    }


def series_observations(market: MarketFacts, day: date, params: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """`/fred/series/observations`: status and answer. With all vintages asked, `realtime_start` is the release day."""
    observations = market.observations(params.get("series_id", ""), day)
    if observations is None:
        return NO_SERIES
    first = params.get("observation_start", EVER)
    last = params.get("observation_end", FOR_EVER)
    realtime_start = params.get("realtime_start", day.isoformat())
    realtime_end = params.get("realtime_end", day.isoformat())
    rows = [
        {
            "realtime_start": max(realtime_start, observation.known_since.isoformat())
            if realtime_start == EVER
            else realtime_start,
            "realtime_end": realtime_end,
            "date": observation.day.isoformat(),
            "value": "." if observation.value is None else observation.value,
        }
        for observation in observations
        if first <= observation.day.isoformat() <= last
    ]
    return 200, {
        "realtime_start": realtime_start,
        "realtime_end": realtime_end,
        "observation_start": first,
        "observation_end": last,
        "units": "lin",
        "output_type": 1,
        "file_type": "json",
        "order_by": "observation_date",
        "sort_order": "asc",
        "count": len(rows),
        "offset": 0,
        "limit": 100_000,
        "observations": rows,
    }
