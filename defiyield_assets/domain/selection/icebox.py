"""The icebox: tokens that lost their peg, or their price, are barred until they have proved themselves again.

Lives here: entering, leaving, premium alerts, manual overrides, the first day. Not here: where bars come from
(prices/curation.py) or what a barred token means for a pool (final.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.domain.policy import IceboxOverride, Parameters, Policy, Token

EVENT_COLUMNS = ("date", "chain", "address", "kind", "symbol", "reason_codes", "reason", "grade")
ICEBOX_COLUMNS = (
    "date",
    "chain",
    "address",
    "symbol",
    "since",
    "reason_codes",
    "reason",
    "reference_price",
    "last_low",
    "last_close",
    "good_lows",
    "good_closes",
    "is_manual",
)
CHECKED = "checked"
"""Kind of the event that says that a day was looked at."""
WINDOW_DAYS = 30
"""Days of the running maximum of accruing tokens, of the count of good days, and of bars that a bootstrap reads."""
NO_PRICE_DAYS = 2
"""A token without a bar for this many days is barred."""
WATCHED_PEGS = ("usd", "accruing")
ROUNDING = 1e-9
"""A premium of exactly two bands is grade 2, whatever binary fractions make of it."""


@dataclass(frozen=True)
class Bar:
    """What the icebox needs of one day's bar; where there is only a close it stands in for low and high."""

    low: float
    high: float
    close: float
    is_assumed: bool


@dataclass(frozen=True)
class Finding:
    """A token at the end of a day, before its past and manual words are considered."""

    token: Token
    reference: float | None
    today: Bar | None
    reasons: Mapping[str, str]
    good_lows: int
    good_closes: int


def advance_icebox(
    previous: pd.DataFrame | None, bars: pd.DataFrame, policy: Policy, day: date, *, bootstrap: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(`icebox_events`, `icebox`) of a day from the icebox of the day before and the `daily_bars` of the 30 days that
    end on it.

    Watched are approved tokens with peg `usd` (reference 1) and `accruing` (reference: highest close of the last 30
    days). *Enter* when any low of the last `icebox_low_days` days is at or below reference * (1 - icebox_low_depth),
    or any of the last `icebox_close_days` closes is at or below reference * (1 - icebox_close_depth), or there is no
    bar for 2 days. *Leave* only after `icebox_recovery_low_days` consecutive days with a low above its band and
    `icebox_recovery_close_days` consecutive closes above theirs; a day without a bar breaks the row. While a token is
    barred its reference never falls, so that being flat is no recovery. A premium beyond the same bands is a graded
    alert and bars nothing; for an accruing token it is measured against the highest close before the day. Manual
    overrides win until they expire. A token that is no longer watched leaves.

    Bars after `day` and `previous` rows of other days than the day before are not read. `bootstrap`: a token that
    never had a bar so far is not yet missed.
    """
    history = _bars_by_token(bars, day)
    before = _rows_by_token(previous, day - timedelta(days=1))
    events: list[tuple[object, ...]] = []
    rows: list[tuple[object, ...]] = []
    watched = {(token.chain, token.address): token for token in policy.tokens if token.peg in WATCHED_PEGS}
    for key, token in sorted(watched.items()):
        held = before.get(key)
        finding = _examine(
            token, history.get(token.instrument_id, {}), held, policy.parameters, day, bootstrap=bootstrap
        )
        override = _override(policy.icebox_overrides, key, day)
        row = _decide(finding, held, override, policy.parameters, day)
        events += _events(finding, held, row, override, day)
        events += _premium(finding, history.get(token.instrument_id, {}), policy.parameters, day)
        if row is not None:
            rows.append(row)
    for key, held in sorted(before.items()):
        if key not in watched:
            events.append((day, *key, "leave", held["symbol"], "NOT_WATCHED", "no longer on the approved list", None))
    return _event_frame(events), _icebox_frame(rows)


def mark_checked(events: pd.DataFrame, icebox: pd.DataFrame, day: date) -> pd.DataFrame:
    """The day's events with one row more, `checked`, whose grade is the number of barred tokens.

    It tells a day on which nothing happened from a day that never ran (is_checked), for a day without barred tokens has
    no row in `icebox`.
    """
    words = f"{len(icebox)} tokens barred at the end of the day"
    row = pd.DataFrame(
        [(day, "*", "*", CHECKED, "*", CHECKED.upper(), words, len(icebox))], columns=list(events.columns)
    )
    return row if events.empty else pd.concat([row, events], ignore_index=True)


def is_checked(events: pd.DataFrame, icebox: pd.DataFrame, day: date) -> bool:
    """Whether the icebox of a day is there and whole: the day was checked, and as many tokens are barred as it says."""
    marks = events[(events["date"] == day) & (events["kind"] == CHECKED)]
    return len(marks) == 1 and int(marks.iloc[0]["grade"]) == int((icebox["date"] == day).sum())


def bootstrap_icebox(bars: pd.DataFrame, policy: Policy, day: date) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(`icebox_events`, `icebox`) of the first day of an empty table, from the bars of the 30 days before it and its
    own.

    The days are replayed in order; a token counts as missing a price only from its first bar on, except on `day`
    itself. The events are those of `day`; a token that entered earlier and is still barred gets its `enter` event on
    `day` too.
    """
    usable = bars[bars["date"] >= day - timedelta(days=WINDOW_DAYS)] if len(bars) else bars
    icebox: pd.DataFrame | None = None
    for offset in range(WINDOW_DAYS, 0, -1):
        _, icebox = advance_icebox(icebox, usable, policy, day - timedelta(days=offset), bootstrap=True)
    events, icebox = advance_icebox(icebox, usable, policy, day)
    told = {
        (item["chain"], item["address"])
        for item in events.to_dict("records")
        if item["kind"] in ("enter", "override_in")
    }
    late = [
        (
            day,
            item["chain"],
            item["address"],
            "override_in" if item["is_manual"] else "enter",
            item["symbol"],
            item["reason_codes"],
            f"found when the icebox was first filled, barred since {item['since']}: {item['reason']}",
            None,
        )
        for item in icebox.to_dict("records")
        if (item["chain"], item["address"]) not in told
    ]
    return _event_frame([tuple(row) for row in events.itertuples(index=False)] + late), icebox


def _bars_by_token(bars: pd.DataFrame, day: date) -> dict[str, dict[date, Bar]]:
    """Bars of the 30 days that end on `day`, by instrument and day."""
    found: dict[str, dict[date, Bar]] = {}
    if bars.empty:
        return found
    first = day - timedelta(days=WINDOW_DAYS - 1)
    dates = bars["date"].to_numpy()
    columns = ["instrument_id", "date", "low", "high", "close", "quality"]
    for instrument_id, known, low, high, close, quality in bars.loc[
        (dates >= first) & (dates <= day), columns
    ].itertuples(index=False):
        low_or_close, high_or_close = (close if pd.isna(value) else value for value in (low, high))
        found.setdefault(instrument_id, {})[known] = Bar(low_or_close, high_or_close, close, quality == "assumed")
    return found


def _rows_by_token(previous: pd.DataFrame | None, yesterday: date) -> dict[tuple[str, str], Mapping[Any, Any]]:
    if previous is None or previous.empty:
        return {}
    rows = previous[previous["date"] == yesterday].to_dict("records")
    return {(row["chain"], row["address"]): row for row in rows}


def _examine(
    token: Token,
    history: Mapping[date, Bar],
    held: Mapping[Any, Any] | None,
    limits: Parameters,
    day: date,
    *,
    bootstrap: bool,
) -> Finding:
    """Reference, reasons to enter and good days of one token; `recent` runs from today backwards."""
    recent = [history.get(day - timedelta(days=offset)) for offset in range(WINDOW_DAYS)]
    references = _references(token, recent, held)
    low_bands = [reference * (1 - limits.icebox_low_depth) for reference in references]
    close_bands = [reference * (1 - limits.icebox_close_depth) for reference in references]
    days = list(zip(recent, low_bands, close_bands, strict=True))
    reasons: dict[str, str] = {}
    bad_lows = [(bar, band) for bar, band, _ in days[: limits.icebox_low_days] if bar and bar.low <= band]
    if bad_lows:
        bar, band = min(bad_lows, key=lambda pair: pair[0].low / pair[1])
        words = f"low {bar.low:.6g} at or below {band:.6g} within {limits.icebox_low_days} days"
        reasons["LOW"] = words + _assumed(bar)
    closes = [(bar, band) for bar, _, band in days[: max(NO_PRICE_DAYS, limits.icebox_close_days)] if bar]
    bad_closes = [(bar, band) for bar, band in closes[: limits.icebox_close_days] if bar.close <= band]
    if bad_closes:
        bar, band = min(bad_closes, key=lambda pair: pair[0].close / pair[1])
        reasons["CLOSE"] = f"close {bar.close:.6g} at or below {band:.6g}" + _assumed(bar)
    if not any(recent[:NO_PRICE_DAYS]) and (history or not bootstrap):
        reasons["NO_PRICE"] = f"no price for {NO_PRICE_DAYS} days"
    return Finding(
        token,
        references[0] or None,
        recent[0],
        reasons,
        good_lows=_run([bar is not None and bar.low > band for bar, band, _ in days]),
        good_closes=_run([bar is not None and bar.close > band for bar, _, band in days]),
    )


def _references(token: Token, recent: Sequence[Bar | None], held: Mapping[Any, Any] | None) -> list[float]:
    """What each day is measured against, today first: 1 for usd tokens, else the highest close up to that day.

    A day never looks at a later close, so that a premium is no fall of the day before. For a barred token no
    reference is below what it was measured against when it was barred. 0 where there is nothing to measure against
    yet.
    """
    if token.peg == "usd":
        return [1.0] * len(recent)
    highest = 0.0 if held is None or pd.isna(held["reference_price"]) else float(held["reference_price"])
    found = []
    for bar in reversed(recent):
        highest = max(highest, bar.close if bar else 0.0)
        found.append(highest)
    return found[::-1]


def _run(good: Sequence[bool]) -> int:
    """How many days in a row, counted back from today, are good."""
    return next((index for index, is_good in enumerate(good) if not is_good), len(good))


def _decide(
    finding: Finding,
    held: Mapping[Any, Any] | None,
    override: IceboxOverride | None,
    limits: Parameters,
    day: date,
) -> tuple[object, ...] | None:
    """The token's row in the icebox at the end of the day, or None."""
    if override is not None and not override.barred:
        return None
    reasons = dict(finding.reasons)
    if override is not None:
        reasons["MANUAL"] = override.reason
    recovered = (
        finding.good_lows >= limits.icebox_recovery_low_days
        and finding.good_closes >= limits.icebox_recovery_close_days
    )
    if not reasons and (held is None or recovered):
        return None
    since, codes, words = day, ",".join(reasons), "; ".join(reasons.values())
    if held is not None:
        since = held["since"]
        if not reasons or (override is None and not held["is_manual"]):
            codes, words = held["reason_codes"], held["reason"]
    today = finding.today
    return (
        day,
        finding.token.chain,
        finding.token.address,
        finding.token.symbol,
        since,
        codes,
        words,
        finding.reference,
        today.low if today else None,
        today.close if today else None,
        finding.good_lows,
        finding.good_closes,
        override is not None,
    )


def _events(
    finding: Finding,
    held: Mapping[Any, Any] | None,
    row: tuple[object, ...] | None,
    override: IceboxOverride | None,
    day: date,
) -> list[tuple[object, ...]]:
    """What happened to one token: entering, leaving, and manual words when they start or make a difference."""
    key = (day, finding.token.chain, finding.token.address)
    symbol = finding.token.symbol
    found: list[tuple[object, ...]] = []
    if override is not None:
        until = f"until {override.expires}" if override.expires else "without expiry"
        words = f"{override.reason} ({until})"
        was_manual = held is not None and bool(held["is_manual"])
        if override.barred and not was_manual:
            found.append((*key, "override_in", symbol, "MANUAL", words, None))
        if not override.barred and (held is not None or finding.reasons):
            against = "; ".join(finding.reasons.values()) or "not yet recovered"
            found.append((*key, "override_out", symbol, "MANUAL", f"{words}, against: {against}", None))
    if held is None and row is not None and finding.reasons:
        found.append((*key, "enter", symbol, ",".join(finding.reasons), "; ".join(finding.reasons.values()), None))
    if held is not None and row is None:
        reason = (
            f"{finding.good_lows} good lows and {finding.good_closes} good closes in a row"
            if override is None
            else f"freed by hand: {override.reason}"
        )
        found.append((*key, "leave", symbol, "RECOVERED" if override is None else "MANUAL", reason, None))
    return found


def _premium(finding: Finding, history: Mapping[date, Bar], limits: Parameters, day: date) -> list[tuple[object, ...]]:
    """The day's premium alert of one token: grade 1 from one band above the reference, 2 from two bands, and so on."""
    today = finding.today
    if today is None:
        return []
    earlier = [bar.close for known, bar in history.items() if known < day]
    reference = 1.0 if finding.token.peg == "usd" else max(earlier, default=None)
    if not reference:
        return []
    high, close = today.high / reference - 1.0, today.close / reference - 1.0
    grade = math.floor(max(high / limits.icebox_low_depth, close / limits.icebox_close_depth) + ROUNDING)
    if grade < 1:
        return []
    text = f"high {today.high:.6g} and close {today.close:.6g} against {reference:.6g}" + _assumed(today)
    token = finding.token
    return [(day, token.chain, token.address, "premium_alert", token.symbol, "PREMIUM", text, grade)]


def _override(overrides: Sequence[IceboxOverride], key: tuple[str, str], day: date) -> IceboxOverride | None:
    """The manual word in force on a token, `since` and `expires` inclusive; the latest one counts, the later entry on
    a tie."""
    known = [
        item
        for item in overrides
        if (item.chain, item.address.lower()) == key
        and item.since <= day
        and (item.expires is None or day <= item.expires)
    ]
    return max(reversed(known), key=lambda item: item.since, default=None)


def _assumed(bar: Bar) -> str:
    return " (assumed price)" if bar.is_assumed else ""


def _event_frame(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(EVENT_COLUMNS), dtype=object)
    return frame.sort_values(["date", "chain", "address", "kind"]).reset_index(drop=True)


def _icebox_frame(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(ICEBOX_COLUMNS), dtype=object)
    kinds = {"reference_price": float, "last_low": float, "last_close": float, "good_lows": int, "good_closes": int}
    frame = frame.astype({**kinds, "is_manual": bool})
    return frame.sort_values(["date", "chain", "address"]).reset_index(drop=True)
