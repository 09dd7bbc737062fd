"""Curated daily bars: one source per row by priority, with how much of a bar it is.

Lives here: which source's row counts and its quality, market capitalisations, and where vendors disagree. Not here:
the vendors' answers (sources), days made of intraday bars (intraday.py), splits and dividends (adjustments.py), or what
a price means (icebox).
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.domain.days import GRACE, DayRange
from defiyield_assets.domain.prices.calendars import known_span, sessions
from defiyield_assets.domain.prices.instruments import ALWAYS_OPEN

BAR_COLUMNS = (
    "instrument_id",
    "date",
    "instrument_type",
    "open",
    "high",
    "low",
    "close",
    "adj_factor",
    "split_factor",
    "volume_usd",
    "volume_units",
    "volume_source",
    "market_cap_usd",
    "source",
    "quality",
)
BAR_SOURCES = ("coinmarketcap", "coingecko")
CLOSE_SOURCE = "defillama_coins"
SHARE_SOURCE = "alpha_vantage"
FILES, SNAPSHOTS = "csv", "observations"
SNAPSHOT = "snapshot"
"""Quality of a bar that is an observation at the day's end."""
PRIORITY = (*BAR_SOURCES, CLOSE_SOURCE)
"""Vendors of crypto prices, the first that tells a bar of a day wins."""
SOURCE_PRIORITY: Mapping[str, Sequence[str]] = {
    "crypto": (*PRIORITY, FILES, SNAPSHOTS),
    **dict.fromkeys(("equity", "etf", "index", "fx"), (SHARE_SOURCE, FILES)),
}
"""Sources by instrument type where the configuration says nothing else."""
PRICES = ("open", "high", "low", "close")
VOLUMES = ("volume_usd", "volume_units")
AGREEMENT = 0.01
"""Relative difference of two vendors' closes that is still agreement: closes are read minutes apart, and a token that
lost its peg moves by more (icebox_close_depth is 1 %)."""
ROUNDING = 1e-12
"""What a quotient of two floats may miss the tolerance by."""


def curate_daily_bars(
    answers: Mapping[str, pd.DataFrame],
    instruments: pd.DataFrame,
    days: DayRange,
    priority: Mapping[str, Sequence[str]] = SOURCE_PRIORITY,
) -> pd.DataFrame:
    """The `daily_bars` of `days` for the listed instruments, unadjusted (both factors 1), sorted by key.

    `answers`: what each source told, by source: the vendors' tables, `csv` (`intraday.csv_daily_rows`) and
    `observations`. `priority`: sources by instrument type; the first that tells a close of a day wins, and one that is
    not listed is not heard.

    A bar of a vendor is `full`; where its prices contradict each other (low above, high below, or not positive) or are
    not there, only its close is kept (`close_only`). A file's row brings its quality. DeFiLlama's close is
    `close_only`, and `assumed` where its confidence is 0. An observation of the day's end is a `snapshot`: a close
    without open, high and low. A close that is not positive is no price. Vendors' quotes and observations are divided
    by the instrument's `price_scale`; files' are USD already. Nothing is carried forward: a day without an answer has
    no row, nor has one before `listed_at` or from `delisted_at` on, nor a day without a session of its calendar
    (`off_session`). Market cap 0 is unknown.

    Volume in USD and in units are different things: crypto vendors tell USD, Alpha Vantage units. Neither is made into
    the other here: units times the close is an estimate, not what a vendor said. Where the row's own source tells
    none, the volume is that of the next source that does (`volume_source`).
    """
    parts = []
    for kind, listed in instruments.groupby("type", sort=True):
        sources = [name for name in priority.get(str(kind), ()) if name in answers]
        told = [_rows_of(name, answers[name], listed, days) for name in sources]
        parts += [rows.assign(rank=rank, instrument_type=str(kind)) for rank, rows in enumerate(told) if not rows.empty]
    if not parts:
        return pd.DataFrame(columns=list(BAR_COLUMNS))
    rows = pd.concat(parts, ignore_index=True)
    numbers = [*PRICES, *VOLUMES, "market_cap_usd"]
    rows = _while_listed(rows.astype(dict.fromkeys(numbers, float)), instruments)
    rows = rows[~_is_closed(rows, instruments)]
    rows = rows.sort_values(["instrument_id", "date", "rank"], kind="stable", ignore_index=True)
    bars = rows.drop_duplicates(["instrument_id", "date"], keep="first", ignore_index=True)
    return _with_volumes(bars, rows).assign(adj_factor=1.0, split_factor=1.0)[list(BAR_COLUMNS)]


def off_session(answers: Mapping[str, pd.DataFrame], instruments: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """What sources told of days without a session, of which no bar is made: [instrument_id, date, source], sorted."""
    exchanges = instruments[instruments["calendar"] != ALWAYS_OPEN]
    wanted, columns = set(exchanges["instrument_id"]), ["instrument_id", "date"]
    parts = [
        rows.loc[rows["instrument_id"].isin(wanted) & rows["date"].isin(set(days)), columns].assign(source=source)
        for source, rows in answers.items()
        if len(rows) and wanted
    ]
    told = pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=[*columns, "source"])])
    found = told[_is_closed(told, exchanges)].drop_duplicates()
    return found.sort_values([*columns, "source"], ignore_index=True)


def _is_closed(rows: pd.DataFrame, instruments: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows are of days on which the instrument's exchange has no session; what its calendar does not reach is
    believed."""
    calendar_of = dict(zip(instruments["instrument_id"], instruments["calendar"], strict=True))
    closed = np.zeros(len(rows), dtype=bool)
    calendars = rows["instrument_id"].map(calendar_of).to_numpy()
    for calendar in sorted(set(calendars) - {ALWAYS_OPEN}):
        own = calendars == calendar
        known = known_span(calendar)
        open_days = set(sessions(calendar, known))
        closed[own] = [day in known and day not in open_days for day in rows["date"].to_numpy()[own]]
    return closed


def _rows_of(source: str, frame: pd.DataFrame, instruments: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """What a source tells of some instruments and days, in the columns of bars."""
    wanted = set(instruments["instrument_id"])
    if source == SNAPSHOTS:
        return _scaled(_snapshots(frame, wanted, days), instruments)
    kept = _latest(frame, wanted, days)
    if kept.empty:
        return kept
    if source == FILES:
        return _files(kept)
    return _scaled(_closes(kept) if source == CLOSE_SOURCE else _bars(kept, source), instruments)


def _scaled(rows: pd.DataFrame, instruments: pd.DataFrame) -> pd.DataFrame:
    """Prices divided by the instrument's `price_scale` (quotes in pence: 100)."""
    scale = dict(zip(instruments["instrument_id"], instruments["price_scale"].astype(float), strict=True))
    if rows.empty or set(scale.values()) == {1.0}:
        return rows
    divisor = rows["instrument_id"].map(scale).astype(float)
    return rows.assign(**{name: rows[name].astype(float) / divisor for name in PRICES})


def _while_listed(rows: pd.DataFrame, instruments: pd.DataFrame) -> pd.DataFrame:
    """The rows from `listed_at` on and before `delisted_at`."""
    edges: list[dict[str, date]] = []
    for column in ("listed_at", "delisted_at"):
        told = zip(instruments["instrument_id"], instruments[column], strict=True)
        edges.append({name: edge for name, edge in told if isinstance(edge, date)})
    first, end = edges
    if not first and not end:
        return rows
    pairs = zip(rows["instrument_id"], rows["date"], strict=True)
    is_listed = [first.get(name, day) <= day < end.get(name, date.max) for name, day in pairs]
    return rows[np.array(is_listed, dtype=bool)]


def _with_volumes(bars: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Bars with the volume of the first source that tells one; `rows`: all sources', in order of priority.

    An observation's rolling 24 hours are the volume of its own snapshot only: of no bar that is not flagged as one.
    """
    is_own = ~rows.duplicated(["instrument_id", "date"], keep="first")
    is_told = rows[list(VOLUMES)].notna().any(axis=1) & (is_own | rows["quality"].ne(SNAPSHOT))
    told = rows[is_told].drop_duplicates(["instrument_id", "date"], keep="first")
    columns = [*VOLUMES, "volume_source"]
    volumes = told[["instrument_id", "date", *columns]]
    found = bars.drop(columns=columns).merge(volumes, on=["instrument_id", "date"], how="left")
    return found.assign(volume_source=_or_none(found["volume_source"], found["volume_source"].notna()))


def price_disagreements(
    answers: Mapping[str, pd.DataFrame], days: DayRange, tolerance: float = AGREEMENT
) -> tuple[pd.DataFrame, int]:
    """Days on which two vendors' closes differ by more than `tolerance` of the first, and how many pairs there were.

    Columns: instrument_id, date, first_source, second_source (by `PRIORITY`), first_close, second_close (USD),
    difference (fraction, signed). A close that DeFiLlama only assumes (confidence 0) is no second opinion.
    """
    columns = ["instrument_id", "date", "first_source", "second_source", "first_close", "second_close", "difference"]
    found, n_pairs = [], 0
    closes = {vendor: _observed_closes(answers[vendor], days) for vendor in PRIORITY if vendor in answers}
    for (first, left), (second, right) in combinations(closes.items(), 2):
        both = left.merge(right, on=["instrument_id", "date"], suffixes=("_first", "_second"))
        n_pairs += len(both)
        both = both.rename(columns={"close_first": "first_close", "close_second": "second_close"})
        both["difference"] = both["second_close"] / both["first_close"] - 1.0
        apart = both[both["difference"].abs() > tolerance + ROUNDING]
        found += apart.assign(first_source=first, second_source=second)[columns].to_dict("records")
    frame = pd.DataFrame(found, columns=columns)
    return frame.sort_values(["instrument_id", "date", "first_source"], kind="stable").reset_index(drop=True), n_pairs


def _observed_closes(rows: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """[instrument_id, date, close] of a vendor's table, assumed closes left out."""
    if rows.empty:
        return pd.DataFrame({"instrument_id": [], "date": [], "close": []}, dtype=object).astype({"close": float})
    kept = _latest(rows, set(rows["instrument_id"]), days)
    if "confidence" in kept:
        kept = kept[kept["confidence"].astype(float) != 0]
    return kept[["instrument_id", "date"]].assign(close=kept["close"].astype(float)).reset_index(drop=True)


def latest_market_caps(
    bars: pd.DataFrame, day: date, max_age_days: int = 7, markets: pd.DataFrame | None = None
) -> dict[str, float]:
    """Newest known market capitalisation of each instrument, at most `max_age_days` old on `day`; rows after `day` are
    not read.

    `markets`: [instrument_id, date, market_cap_usd] of observations, which stand in for an instrument whose bars tell
    none.
    """
    of_bars = _newest_caps(bars, day, max_age_days)
    of_markets = _newest_caps(markets, day, max_age_days) if markets is not None else {}
    return of_markets | of_bars


def _newest_caps(rows: pd.DataFrame, day: date, max_age_days: int) -> dict[str, float]:
    if rows.empty:
        return {}
    age = np.array([(day - known).days for known in rows["date"]])
    caps = rows["market_cap_usd"].astype(float).to_numpy()
    usable = rows[(age >= 0) & (age <= max_age_days) & (caps > 0)].sort_values("date", kind="stable")
    return dict(zip(usable["instrument_id"], usable["market_cap_usd"].astype(float), strict=True))


def _latest(rows: pd.DataFrame, wanted: set[str], days: DayRange) -> pd.DataFrame:
    """One row per instrument and day of a source: the latest stamp, then the latest fetch; only positive closes."""
    if rows.empty:
        return rows
    close = pd.to_numeric(rows["close"], errors="coerce").astype(float)
    usable = rows["instrument_id"].isin(wanted) & rows["date"].isin(set(days)) & (close > 0) & np.isfinite(close)
    order = [name for name in ("instrument_id", "date", "ts", "fetched_at") if name in rows]
    ordered = rows[usable].sort_values(order, kind="stable")
    return ordered.drop_duplicates(["instrument_id", "date"], keep="last").reset_index(drop=True)


def _number(rows: pd.DataFrame, name: str) -> pd.Series:
    """A column as floats, null where the source has no such thing."""
    return rows[name].astype(float) if name in rows else pd.Series(np.nan, index=rows.index)


def _or_none(names: pd.Series, is_known: pd.Series) -> pd.Series:
    """Names where known, None elsewhere."""
    told = [name if known else None for name, known in zip(names, is_known, strict=True)]
    return pd.Series(told, index=names.index, dtype=object)


def _coherent(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Key and prices of rows, and which of them are whole bars: of the others only the close is kept."""
    prices = rows[list(PRICES)].astype(float)
    top, bottom = prices[["open", "close"]].max(axis=1), prices[["open", "close"]].min(axis=1)
    whole = prices.notna().all(axis=1) & (prices["high"] >= top) & (prices["low"] <= bottom) & (prices["low"] > 0)
    bars = rows[["instrument_id", "date"]].copy()
    for name in ("open", "high", "low"):
        bars[name] = prices[name].where(whole)
    bars["close"] = prices["close"]
    return bars, whole


def _bars(kept: pd.DataFrame, vendor: str) -> pd.DataFrame:
    bars, whole = _coherent(kept)
    cap = _number(kept, "market_cap_usd")
    volumes = {name: _number(kept, name) for name in VOLUMES}
    is_known = volumes["volume_usd"].notna() | volumes["volume_units"].notna()
    return bars.assign(
        **volumes,
        volume_source=is_known.map({True: vendor, False: None}),
        market_cap_usd=cap.where(cap > 0),
        source=vendor,
        quality=whole.map({True: "full", False: "close_only"}),
    )


def _files(kept: pd.DataFrame) -> pd.DataFrame:
    """Rows of files: their own quality and source; prices that contradict each other leave the close only, and prices
    that are adjusted already are closes only, since their open, high and low are of another scale than volume.
    """
    bars, whole = _coherent(kept)
    whole &= ~kept["is_adjusted"].astype(bool)
    for name in ("open", "high", "low"):
        bars[name] = bars[name].where(whole)
    cap = _number(kept, "market_cap_usd")
    is_known = kept[list(VOLUMES)].notna().any(axis=1)
    return bars.assign(
        **{name: _number(kept, name) for name in VOLUMES},
        volume_source=_or_none(kept["source"], is_known),
        market_cap_usd=cap.where(cap > 0),
        source=kept["source"],
        quality=kept["quality"].where(whole, "close_only"),
    )


def _closes(kept: pd.DataFrame) -> pd.DataFrame:
    is_assumed = kept["confidence"].astype(float) == 0
    return kept[["instrument_id", "date"]].assign(
        **dict.fromkeys(("open", "high", "low"), np.nan),
        close=kept["close"].astype(float),
        **dict.fromkeys(VOLUMES, np.nan),
        volume_source=None,
        market_cap_usd=np.nan,
        source=CLOSE_SOURCE,
        quality=is_assumed.map({True: "assumed", False: "close_only"}),
    )


def _snapshots(rows: pd.DataFrame, wanted: set[str], days: DayRange) -> pd.DataFrame:
    """Observed prices that were updated within an hour of the day's end, with the volume and capitalisation beside
    them; the rolling 24 hours' high and low are no bar's.
    """
    if rows.empty:
        return rows
    kept = rows[rows["instrument_id"].isin(wanted) & rows["date"].isin(set(days))]
    end = pd.to_datetime(kept["date"], utc=True) + timedelta(days=1)
    age = pd.to_datetime(kept["observed_at"], utc=True) - end
    kept = kept[(age >= -GRACE) & (age <= GRACE)].sort_values(["source", "observed_at"], kind="stable")
    if kept.empty:
        return kept
    told = kept.pivot_table(index=["instrument_id", "date"], columns="metric", values="value", aggfunc="last")
    names = {"price_usd": "close", "volume_24h_usd": "volume_usd", "market_cap_usd": "market_cap_usd"}
    told = told.reindex(columns=list(names)).rename(columns=names).reset_index()
    told = told[told["close"] > 0].reset_index(drop=True)
    sources = kept.drop_duplicates(["instrument_id", "date"], keep="last")[["instrument_id", "date", "source"]]
    told = told.merge(sources, on=["instrument_id", "date"])
    return told.assign(
        **dict.fromkeys(("open", "high", "low", "volume_units"), np.nan),
        volume_source=_or_none(told["source"], told["volume_usd"].notna()),
        quality=SNAPSHOT,
    )
