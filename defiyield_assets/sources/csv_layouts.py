"""What the columns of a CSV file of bars mean: one of the layouts that we know, or an error.

Lives here: recognising layouts by the header, or by the shape of the first line where there is none. Not here: cells
and line numbers (csv_lines.py), spelling of stamps (csv_stamps.py), bars (csv_bars.py).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from defiyield_assets.domain.prices.csv_sources import CURRENCIES, DOLLARS
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.sources.csv_lines import shown

STAMP_NAMES = ("unix", "timeopen", "time_open", "open_time", "timestamp", "datetime", "date_time", "time", "date")
"""Names of a column of stamps, the most exact first: a file that has several is read by the first of these."""
COINMARKETCAP = "coinmarketcap"
"""The web export, whose volume is in dollars."""
PRICES = ("open", "high", "low", "close")
ADJUSTED_NAMES = ("adj close", "adj_close", "adjclose", "adj. close", "adjusted close", "adjusted_close")
CAP_NAMES = ("marketcap", "market_cap", "market cap")
_HEADERLESS_DAY = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}")
_HEADERLESS_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_HEADERLESS_EPOCH = re.compile(r"[0-9]{9,10}|[0-9]{12,13}")
_LETTERS = re.compile(r"[A-Za-z]")


@dataclass(frozen=True)
class Layout:
    """Which cells are what, by their place from 0.

    `stamps`: one or two places (day and time). `prices`: by name; only `close` where there are only closes. `volume`:
    by unit as the column says it: usd, units, or unsaid. `adjusted`: the closes adjusted for splits and dividends,
    beside those that are not. `quote`: the currency, no dollar, that a column of volume counts in. `closes`: column
    name -> place where each column is another instrument's close. `has_header`: the first line is no bar.
    """

    name: str
    stamps: tuple[int, ...]
    prices: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)
    market_cap: int | None = None
    symbol: int | None = None
    closes: Mapping[str, int] = field(default_factory=dict)
    has_header: bool = True
    adjusted: int | None = None
    quote: str | None = None


def detect_layout(file_name: str, first: Sequence[str]) -> Layout:
    """The layout of a file whose first line has these cells. SuspiciousDataError names the layouts that there are.

    `headerless` YYYY.MM.DD,HH:MM,O,H,L,C,V or epoch,O,H,L,C,V; `coinmarketcap` (timeOpen … marketCap);
    `cryptodatadownload` (Unix, Symbol, Volume X); `ohlcv` (a stamp, open, high, low, close, with or without volume);
    `close` (a stamp and one column named close); `closes` (a stamp and columns named after instruments).
    """
    if len(first) in (6, 7) and _HEADERLESS_DAY.fullmatch(first[0]) and _HEADERLESS_TIME.fullmatch(first[1]):
        volumes = {"unsaid": 6} if len(first) == 7 else {}
        return Layout("headerless", (0, 1), _prices((2, 3, 4, 5)), volumes, has_header=False)
    if len(first) in (5, 6) and _HEADERLESS_EPOCH.fullmatch(first[0]):
        volumes = {"unsaid": 5} if len(first) == 6 else {}
        return Layout("headerless", (0,), _prices((1, 2, 3, 4)), volumes, has_header=False)
    names = [cell.lower() for cell in first]
    if not any(_LETTERS.search(cell) for cell in first):
        raise _unknown(file_name, first, "it has no header and does not begin with YYYY.MM.DD,HH:MM or an epoch")
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise _unknown(file_name, first, f"its header names {shown(repeated[0])!r} twice")
    stamps = _stamps(names)
    if not stamps:
        raise _unknown(file_name, first, "its header names no column of dates or times")
    if not {"close", "open", "high", "low"} & set(names):
        closes = {first[place]: place for place in range(len(first)) if place not in stamps}
        if not closes or "" in closes:
            raise _unknown(file_name, first, "its header names no price")
        return Layout("closes", stamps, closes=closes)
    missing = [name for name in PRICES if name not in names]
    if missing and names.count("close") != 1:
        raise _unknown(file_name, first, f"its header has no {missing[0]}")
    if missing and missing != ["open", "high", "low"]:
        raise _unknown(file_name, first, f"its header has some prices but no {', '.join(missing)}")
    kind = _name(names, is_close_only=bool(missing))
    volumes, quote = _volumes(names)
    if kind == COINMARKETCAP and "unsaid" in volumes:
        volumes = {"usd": volumes["unsaid"]}
    return Layout(
        kind,
        stamps,
        {name: names.index(name) for name in PRICES if name in names},
        volumes,
        next((names.index(name) for name in CAP_NAMES if name in names), None),
        names.index("symbol") if "symbol" in names else None,
        adjusted=next((names.index(name) for name in ADJUSTED_NAMES if name in names), None),
        quote=quote,
    )


def _prices(places: Sequence[int]) -> dict[str, int]:
    return dict(zip(PRICES, places, strict=True))


def _stamps(names: Sequence[str]) -> tuple[int, ...]:
    """The places of the stamp: one column, or a day and a time of day beside it; an unnamed first column is one."""
    if "date" in names and "time" in names and not {"unix", "timestamp"} & set(names):
        return (names.index("date"), names.index("time"))
    for name in STAMP_NAMES:
        if name in names:
            return (names.index(name),)
    return (0,) if names[0] in ("", "index", "unnamed: 0") else ()


def _volumes(names: Sequence[str]) -> tuple[dict[str, int], str | None]:
    """Columns of volume by unit: `volume` says none, `Volume USDT` dollars, `Volume ETH` units; and the currency of one
    that counts neither (`Volume EUR`).
    """
    found: dict[str, int] = {}
    quote = None
    for place, name in enumerate(names):
        if name == "volume":
            found["unsaid"] = place
        elif name.startswith("volume "):
            unit = name.removeprefix("volume ").upper()
            if unit in CURRENCIES:
                quote = unit
                continue
            found.setdefault("usd" if unit in DOLLARS else "units", place)
    return found, quote


def _name(names: Sequence[str], *, is_close_only: bool) -> str:
    if "timeopen" in names:
        return COINMARKETCAP
    if "unix" in names and "symbol" in names:
        return "cryptodatadownload"
    return "close" if is_close_only else "ohlcv"


def _unknown(file_name: str, first: Sequence[str], why: str) -> SuspiciousDataError:
    cells = ", ".join(shown(cell) for cell in first[:8])
    return SuspiciousDataError(
        f"{file_name}: {why} (first line: {cells}{', …' if len(first) > 8 else ''}). Layouts: "
        f"timestamp|date|time,open,high,low,close[,volume] with header; YYYY.MM.DD,HH:MM,O,H,L,C,V or epoch,O,H,L,C,V "
        f"without; exports of CoinMarketCap and CryptoDataDownload; date and closes, columns named after instruments"
    )
