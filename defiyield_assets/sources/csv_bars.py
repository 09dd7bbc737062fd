"""Bars in a CSV file as typed rows, and every line of it that was not taken, with its number and why.

Lives here: numbers, contradictions, order, interval and volume of a file's bars. Not here: cells (csv_lines.py),
columns (csv_layouts.py), stamps (csv_stamps.py), what is known of the file (domain/prices/csv_sources.py).
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.domain.prices.csv_sources import CsvSource
from defiyield_assets.domain.prices.intraday import DAILY, minutes_of
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.sources.csv_layouts import PRICES, Layout, detect_layout
from defiyield_assets.sources.csv_lines import BadLine, Lines, shown, split_lines
from defiyield_assets.sources.csv_stamps import read_stamps

NUMBERS = (*PRICES, "adjusted_close", "volume_units", "volume_usd", "market_cap_usd")
BAR_COLUMNS = ("series", "ts", *NUMBERS, "row_number")
_NUMBER = re.compile(r"[+-]?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)
_STEPS = {1440: DAILY, 7 * 1440: "1w"}
SHORTEST_MONTH, LONGEST_MONTH = 28 * 1440, 31 * 1440
"""Minutes between two stamps of monthly bars."""
MOST_PRICE = 1e15
"""A higher quote is a mistake: no price of anything has sixteen digits."""

MOST_AMOUNT = 1e24
"""A larger volume or capitalisation is a mistake as well."""


@dataclass(frozen=True)
class CsvBars:
    """What a file holds.

    `bars`: BAR_COLUMNS, sorted by series and ts; `series` is the symbol or column that the file names ("" where it
    names none), ts the open of the bar in UTC, prices in the file's quotes. `n_repeated`: lines that say once more what
    another line said. `bad` is sorted by line. `has_adjusted`: closes adjusted for splits and dividends stand in
    `adjusted_close`, beside the others. `quote`: the currency, no dollar, that the file's volume counts in.
    `has_unknown_volume`: a volume was left out, because nobody says what it counts.
    """

    layout: str
    interval: str
    sha256: str
    bars: pd.DataFrame
    bad: tuple[BadLine, ...]
    n_repeated: int
    has_adjusted: bool = False
    quote: str | None = None
    has_unknown_volume: bool = False


def read_bars(file_name: str, content: bytes, source: CsvSource) -> CsvBars:
    """The bars of a file as `source` says it is to be read.

    SuspiciousDataError: no layout that we know, no good line, or an interval that the rows do not tell.
    ConfigurationError: times without a zone.
    """
    lines = split_lines(file_name, content)
    if not lines.cells:
        raise SuspiciousDataError(f"{file_name}: no line of it can be read; {_first_reasons(lines.bad)}")
    layout = detect_layout(file_name, lines.cells[0])
    if layout.has_header:
        lines = replace(lines, numbers=lines.numbers[1:], cells=lines.cells[1:])
    if not lines.cells:
        raise SuspiciousDataError(f"{file_name}: holds a header and no bar; {_first_reasons(lines.bad)}")
    bad = list(lines.bad)
    if layout.closes:
        _require_prices(file_name, lines, layout, source)
    rows = _closes(lines, layout, source, bad) if layout.closes else _prices(lines, layout, source, bad)
    told = [" ".join(cells[place] for place in layout.stamps) for cells in lines.cells]
    stamps = read_stamps(file_name, told, source)
    bad += [BadLine(lines.numbers[place], reason) for place, reason in stamps.reasons.items()]
    places = rows["place"].to_numpy(int)
    rows = rows.assign(ts=stamps.instants[places], shown=stamps.shown[places])
    rows = rows[rows["ts"].notna()].reset_index(drop=True)
    rows, n_repeated = _without_repeats(_in_order(rows, bad), bad)
    if rows.empty:
        raise SuspiciousDataError(f"{file_name}: no line of it is a bar; {_first_reasons(bad)}")
    interval = _interval(file_name, rows, source)
    is_close = source.stamp == "close" and stamps.spelling != "day"
    rows = _at_open(_on_grid(rows, interval, bad), interval, is_close=is_close)
    rows, n_same_day = _without_repeats(rows, bad)
    if rows.empty:
        raise SuspiciousDataError(f"{file_name}: no line of it is a bar; {_first_reasons(bad)}")
    for name in ("volume_units", "volume_usd", "market_cap_usd"):
        is_unknown = rows.groupby("series", sort=False)[name].transform("max").eq(0)
        rows[name] = rows[name].mask(is_unknown)
    rows["market_cap_usd"] = rows["market_cap_usd"].where(rows["market_cap_usd"] > 0)
    bars = rows[list(BAR_COLUMNS)].sort_values(["series", "ts"], kind="stable").reset_index(drop=True)
    return CsvBars(
        layout.name,
        interval,
        lines.sha256,
        bars,
        tuple(sorted(set(bad))),
        n_repeated + n_same_day,
        layout.adjusted is not None,
        layout.quote,
        "unsaid" in layout.volumes and source.volume_unit is None,
    )


def _first_reasons(bad: Iterable[BadLine]) -> str:
    told = [f"line {item.number}: {item.reason}" for item in sorted(set(bad))[:3]]
    return "; ".join(told) or "every line is blank"


# --- cells to numbers ----------------------------------------------------------------------------------------------
def _numbers(cells: Sequence[str]) -> npt.NDArray[np.float64]:
    """The cells as floats; NaN where a cell is no plain number. Infinite, NaN and formulas are none."""
    found = [float(cell) if _NUMBER.fullmatch(cell) else np.nan for cell in cells]
    numbers = np.array(found, dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def number_or_none(name: str, cell: str) -> float | None:
    """A cell as a number, None where it is empty; ValueError for anything else."""
    if not cell:
        return None
    number = float(_numbers([cell])[0])
    if np.isnan(number) or abs(number) >= MOST_AMOUNT:
        raise ValueError(f"{name} {shown(cell)!r} is no number")
    return number


def _prices(lines: Lines, layout: Layout, source: CsvSource, bad: list[BadLine]) -> pd.DataFrame:
    """One row per line: [place, series, row_number, NUMBERS]; lines with contradicting numbers are bad."""
    cells = {name: [line[place] for line in lines.cells] for name, place in layout.prices.items()}
    rows = pd.DataFrame({"place": np.arange(len(lines.cells)), "row_number": lines.numbers, "series": ""})
    for name in NUMBERS:
        rows[name] = np.nan
    reasons: dict[int, str] = {}
    for name, column in cells.items():
        rows[name] = _numbers(column)
        is_wrong = ~((rows[name] > 0) & (rows[name] < MOST_PRICE)).to_numpy(bool)
        for at in np.flatnonzero(is_wrong).tolist():
            reasons.setdefault(at, f"{name} {shown(column[at])!r} is no price")
    if layout.adjusted is not None:
        closes = _numbers([line[layout.adjusted] for line in lines.cells])
        rows["adjusted_close"] = np.where((closes > 0) & (closes < MOST_PRICE), closes, np.nan)
    for name, place in _volume_places(layout, source).items():
        column = [line[place] for line in lines.cells]
        rows[name] = _numbers(column)
        is_wrong = ~((rows[name] >= 0) & (rows[name] < MOST_AMOUNT)).to_numpy(bool)
        is_wrong &= np.array([bool(cell) for cell in column], dtype=bool)
        for at in np.flatnonzero(is_wrong).tolist():
            reasons.setdefault(at, f"{name.split('_')[0]} {shown(column[at])!r} is no amount")
    if len(layout.prices) == len(PRICES):
        _contradictions(rows, reasons)
    if layout.symbol is not None:
        _other_symbols(rows, [line[layout.symbol] for line in lines.cells], reasons)
    bad += [BadLine(lines.numbers[place], reason) for place, reason in reasons.items()]
    return rows.drop(index=sorted(reasons)).reset_index(drop=True)


def _volume_places(layout: Layout, source: CsvSource) -> dict[str, int]:
    """The columns of volume and market capitalisation by what they are; the source says what a column does not, and a
    volume of which nobody says what it counts becomes none of a bar's numbers.
    """
    found = {f"volume_{unit}": place for unit, place in layout.volumes.items() if unit != "unsaid"}
    if "unsaid" in layout.volumes and source.volume_unit != "ticks":
        found[f"volume_{source.volume_unit or 'unknown'}"] = layout.volumes["unsaid"]
    if layout.market_cap is not None:
        found["market_cap_usd"] = layout.market_cap
    return found


def _contradictions(rows: pd.DataFrame, reasons: dict[int, str]) -> None:
    """The high is the highest of a bar's prices and the low the lowest."""
    opens, highs, lows, closes = (rows[name].to_numpy(float) for name in PRICES)
    for is_wrong, words in (
        (highs < lows, "high {1} below low {2}"),
        (highs < np.maximum(opens, closes), "high {1} below open {0} or close {3}"),
        (lows > np.minimum(opens, closes), "low {2} above open {0} or close {3}"),
    ):
        for at in np.flatnonzero(is_wrong).tolist():
            reasons.setdefault(at, words.format(opens[at], highs[at], lows[at], closes[at]))


def _other_symbols(rows: pd.DataFrame, symbols: Sequence[str], reasons: dict[int, str]) -> None:
    """A file of one instrument names one symbol; lines with another than most are bad."""
    usual = Counter(symbols).most_common(1)[0][0]
    rows["series"] = usual
    for place, symbol in enumerate(symbols):
        if symbol != usual:
            reasons.setdefault(place, f"symbol {shown(symbol)!r} in a file of {shown(usual)!r}")


def _require_prices(file_name: str, lines: Lines, layout: Layout, source: CsvSource) -> None:
    """SuspiciousDataError for a column of closes that holds text only: then it is no table of closes by symbol."""
    for symbol, place in layout.closes.items():
        told = [line[place] for line in lines.cells if line[place]]
        if symbol not in source.left_out and told and not any(_NUMBER.fullmatch(cell) for cell in told):
            raise SuspiciousDataError(
                f"{file_name}: its column {shown(symbol)!r} holds no number (the first is {shown(told[0])!r}): "
                f"neither open, high, low, close nor closes by symbol"
            )


def _closes(lines: Lines, layout: Layout, source: CsvSource, bad: list[BadLine]) -> pd.DataFrame:
    """One row per cell of closes by symbol; an empty cell is no bar, a bad one leaves the others of its line alone."""
    parts = []
    numbers = np.array(lines.numbers)
    for symbol, place in layout.closes.items():
        if symbol in source.left_out:
            continue
        column = [line[place] for line in lines.cells]
        closes = _numbers(column)
        is_told = np.array([bool(cell) for cell in column], dtype=bool)
        is_price = is_told & (closes > 0) & (closes < MOST_PRICE)
        bad += [
            BadLine(lines.numbers[at], f"{shown(symbol)}: {shown(column[at])!r} is no price")
            for at in np.flatnonzero(is_told & ~is_price).tolist()
        ]
        kept = np.flatnonzero(is_price)
        part = pd.DataFrame({"place": kept, "row_number": numbers[kept], "series": symbol, "close": closes[kept]})
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["place", "row_number", "series"])
    return rows.reindex(columns=["place", "row_number", "series", *NUMBERS]).astype(dict.fromkeys(NUMBERS, float))


# --- rows among each other -----------------------------------------------------------------------------------------
def _in_order(rows: pd.DataFrame, bad: list[BadLine]) -> pd.DataFrame:
    """The rows of the longest run in one direction, oldest first or newest first; the others are bad lines.

    So a single stamp that is wrong costs its own line, not the lines after it.
    """
    kept = []
    for _, part in rows.groupby("series", sort=False):
        stamps = part["ts"].astype("int64").to_numpy()
        steps = np.sign(np.diff(stamps))
        is_newest_first = int((steps < 0).sum()) > int((steps > 0).sum())
        along = -stamps if is_newest_first else stamps
        if (np.diff(along) >= 0).all():
            kept.append(part)
            continue
        chosen = _longest_run(along.tolist())
        order = "newest" if is_newest_first else "oldest"
        bad += [
            BadLine(int(number), f"{ts:%Y-%m-%d %H:%M} UTC is out of order in a file with the {order} first")
            for number, ts in part.loc[~chosen, ["row_number", "ts"]].itertuples(index=False)
        ]
        kept.append(part[chosen])
    return pd.concat(kept, ignore_index=True) if kept else rows


def _longest_run(values: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Members of a longest non-decreasing subsequence, in n log n (patience sorting)."""
    ends: list[int] = []
    places: list[int] = []
    before: list[int] = []
    for place, value in enumerate(values):
        at = bisect_right(ends, value)
        before.append(places[at - 1] if at else -1)
        ends[at : at + 1] = [value]
        places[at : at + 1] = [place]
    chosen = np.zeros(len(values), dtype=bool)
    at = places[-1]
    while at >= 0:
        chosen[at] = True
        at = before[at]
    return chosen


def _without_repeats(rows: pd.DataFrame, bad: list[BadLine]) -> tuple[pd.DataFrame, int]:
    """Rows with the same stamp and the same numbers once; of rows that contradict each other none, all bad."""
    is_repeated = rows.duplicated(["series", "ts"], keep=False)
    if not is_repeated.any():
        return rows, 0
    exact = rows.drop_duplicates(["series", "ts", *NUMBERS])
    n_repeated = len(rows) - len(exact)
    is_doubtful = exact.duplicated(["series", "ts"], keep=False)
    for (series, ts), part in exact[is_doubtful].groupby(["series", "ts"], sort=False):
        numbers = part["row_number"].tolist()
        of = f"{shown(str(series))} at " if series else ""
        for number in numbers:
            others = ", ".join(str(other) for other in numbers if other != number)
            bad.append(BadLine(int(number), f"contradicts line {others}: both tell of {of}{ts:%Y-%m-%d %H:%M} UTC"))
    return exact[~is_doubtful].reset_index(drop=True), n_repeated


# --- interval ------------------------------------------------------------------------------------------------------
def _interval(file_name: str, rows: pd.DataFrame, source: CsvSource) -> str:
    """The source's interval, or the most frequent spacing of rows; SuspiciousDataError where they tell another."""
    told = _told_interval(rows)
    if source.interval is not None:
        if told is not None and told != source.interval:
            raise SuspiciousDataError(
                f"{file_name}: most rows are {told} apart, but source {source.name!r} says {source.interval}"
            )
        return source.interval
    if told is None:
        raise SuspiciousDataError(
            f"{file_name}: its rows do not tell their interval; say it under `interval` of a source in csv_sources.yaml"
        )
    return told


def _told_interval(rows: pd.DataFrame) -> str | None:
    """The spacing of more than half of neighbouring stamps as an interval; None where there is none."""
    naive = pd.DatetimeIndex(rows["ts"]).tz_localize(None).to_numpy().astype("datetime64[us]")
    stamps = np.unique(naive.astype(np.int64))
    minutes = np.diff(stamps) / 60_000_000.0
    if not len(minutes):
        return None
    is_month = (minutes >= SHORTEST_MONTH) & (minutes <= LONGEST_MONTH)
    spacing = np.where(is_month, float(SHORTEST_MONTH), minutes)
    usual, count = Counter(spacing.tolist()).most_common(1)[0]
    if count * 2 <= len(spacing) or usual != int(usual):
        return None
    if usual == SHORTEST_MONTH:
        return "1mo"
    if usual in _STEPS:
        return _STEPS[int(usual)]
    if usual >= 1440 or 1440 % int(usual):
        return None
    return f"{int(usual) // 60}h" if usual % 60 == 0 else f"{int(usual)}m"


def _on_grid(rows: pd.DataFrame, interval: str, bad: list[BadLine]) -> pd.DataFrame:
    """Rows of an interval below a day whose stamps keep its rhythm; the others are bad lines."""
    minutes = minutes_of(interval)
    if minutes is None:
        return rows
    stamps = rows["ts"].astype("int64")
    step = pd.Timedelta(minutes=minutes).as_unit(rows["ts"].dt.unit).value
    phase = stamps % step
    is_off = phase != phase.mode().iloc[0]
    bad += [
        BadLine(int(number), f"{ts:%Y-%m-%d %H:%M:%S} UTC is no beginning of a bar of {interval}")
        for number, ts in rows.loc[is_off, ["row_number", "ts"]].itertuples(index=False)
    ]
    return rows[~is_off].reset_index(drop=True)


def _at_open(rows: pd.DataFrame, interval: str, *, is_close: bool) -> pd.DataFrame:
    """Bars stamped with their open: moved by an interval where the stamp is the close.

    A bar of a day or longer is stamped 0:00 UTC of the day that the file's own clock shows: a session belongs to its
    date, and a stamp of 0:00 or 23:59:59 at the close to the day that ends.
    """
    minutes = minutes_of(interval)
    if minutes is not None:
        return rows.assign(ts=rows["ts"] - pd.Timedelta(minutes=minutes)) if is_close else rows
    days = (rows["shown"] - pd.Timedelta(days=1)).dt.ceil("D") if is_close else rows["shown"].dt.floor("D")
    return rows.assign(ts=days.dt.tz_localize("UTC"))


def series_of(bars: pd.DataFrame) -> list[str]:
    """The symbols or columns of the bars, in order."""
    return sorted(bars["series"].unique())
