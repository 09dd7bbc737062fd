"""Answers of Alpha Vantage in its own wire format, from the shares that a market knows.

Lives here: `TIME_SERIES_DAILY_ADJUSTED` and `EARNINGS`. Not here: the shares (share_records.py, generated_shares.py),
routing and HTTP (wire.py). Every answer is a 200, as the vendor's are, also those that refuse.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from defiyield_assets.simulator.share_records import Quarter, ShareHistory
from defiyield_assets.simulator.vendor_answers import MarketFacts

COMPACT_SESSIONS = 100


def query(market: MarketFacts, day: date, params: Mapping[str, str]) -> dict[str, Any]:
    """`/query`: the function's answer as of the day; an unknown symbol or function is an invalid call."""
    function, symbol = params.get("function", ""), params.get("symbol", "")
    if function == "TIME_SERIES_DAILY_ADJUSTED":
        share = market.share(symbol, day)
        if share is not None and len(share):
            return _daily(share, is_full=params.get("outputsize") == "full")
    elif function == "EARNINGS":
        quarters = market.quarters(symbol, day)
        return {} if quarters is None else _earnings(symbol, quarters)
    documentation = "the documentation (https://www.alphavantage.co/documentation/)"
    return {"Error Message": f"Invalid API call. Please retry or visit {documentation} for {function}."}


def _daily(share: ShareHistory, *, is_full: bool) -> dict[str, Any]:
    """The newest sessions first; closes are adjusted for what is known, whatever part is told."""
    adjusted = share.adjusted_close()
    first = 0 if is_full else max(len(share) - COMPACT_SESSIONS, 0)
    return {
        "Meta Data": {
            "1. Information": "Daily Time Series with Splits and Dividend Events",
            "2. Symbol": share.symbol,
            "3. Last Refreshed": share.sessions[-1].isoformat(),
            "4. Output Size": "Full size" if is_full else "Compact",
            "5. Time Zone": "US/Eastern",
        },
        "Time Series (Daily)": {
            share.sessions[i].isoformat(): {
                "1. open": f"{share.open[i]:.4f}",
                "2. high": f"{share.high[i]:.4f}",
                "3. low": f"{share.low[i]:.4f}",
                "4. close": f"{share.close[i]:.4f}",
                "5. adjusted close": f"{adjusted[i]:.12g}",
                "6. volume": f"{share.volume[i]:.0f}",
                "7. dividend amount": f"{share.dividend[i]:.4f}",
                "8. split coefficient": f"{share.split[i]:.4f}",
            }
            for i in range(len(share) - 1, first - 1, -1)
        },
    }


def _earnings(symbol: str, quarters: list[Quarter]) -> dict[str, Any]:
    """Reported quarters, newest first; "None" is the vendor's word for what it does not know."""
    years: dict[int, float] = {}
    for quarter in quarters:
        years[quarter.ends.year] = years.get(quarter.ends.year, 0.0) + quarter.eps
    return {
        "symbol": symbol,
        "annualEarnings": [
            {"fiscalDateEnding": f"{year}-12-31", "reportedEPS": f"{eps:.2f}"}
            for year, eps in sorted(years.items())[::-1]
        ],
        "quarterlyEarnings": [_quarter(one) for one in quarters[::-1]],
    }


def _quarter(quarter: Quarter) -> dict[str, str]:
    surprise = None if quarter.estimate is None else quarter.eps - quarter.estimate
    share = None if surprise is None or not quarter.estimate else 100 * surprise / abs(quarter.estimate)
    return {
        "fiscalDateEnding": quarter.ends.isoformat(),
        "reportedDate": quarter.reported.isoformat(),
        "reportedEPS": f"{quarter.eps:.2f}",
        "estimatedEPS": "None" if quarter.estimate is None else f"{quarter.estimate:.2f}",
        "surprise": "None" if surprise is None else f"{surprise:.2f}",
        "surprisePercentage": "None" if share is None else f"{share:.4f}",
        "reportTime": "pre-market" if quarter.is_before_open else "post-market",
    }
