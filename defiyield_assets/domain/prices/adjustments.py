"""Splits and dividends: the factors by which older bars are restated.

Lives here: factors from corporate actions, and actions out of a vendor's bars. Not here: which bars count (curation.py)
or writing them (orchestration/assets/prices.py).

Method (CRSP, and the vendors that follow it): a bar's price is multiplied by a step for every action with a later
ex-date. A split of c new shares for an old one steps by 1/c. A dividend d steps by 1 - d/p, where p is the raw close of
the last bar before the ex-date in shares of the ex-date (so after a split of the same day: p/c). The newest bar's
factor is 1, so all factors change when an action arrives: they are computed anew, never multiplied up.

Prices that a file adjusted already are in the shares of the file's last day: only actions behind that day restate them.
A dividend that is not smaller than the close before it cannot be: nothing before it has a factor.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]
SPLIT, DIVIDEND = "split", "dividend"
SAME_GROWTH, SHOWN_DIGITS = 1e-9, 12
"""Relative difference of two growths that is rounding only, and the digits to which a quotient of factors is told."""
OLD_CLOSE = timedelta(days=16)
"""Older than this, ten sessions with their weekends and a holiday, is a close before a halt or a hole in the data."""
ACTION_COLUMNS = ("instrument_id", "ex_date", "kind", "value", "source", "fetched_at")


def actions_of_bars(rows: pd.DataFrame, source: str, scales: Mapping[str, float] | None = None) -> pd.DataFrame:
    """The actions that a vendor's bars carry (columns: ACTION_COLUMNS), sorted by key.

    `rows`: instrument_id, date, dividend (per share, as the vendor quotes), split_coefficient (new shares for an old
    one), fetched_at. A coefficient of 1 is no split, a dividend of 0 is none. `scales`: price_scale by instrument (1
    where it is not named), by which dividends are divided as closes are; a split has no unit.
    """
    parts = []
    for kind, column, nothing in ((DIVIDEND, "dividend", 0.0), (SPLIT, "split_coefficient", 1.0)):
        told = rows[rows[column].astype(float).gt(0) & rows[column].astype(float).ne(nothing)]
        parts.append(
            told[["instrument_id", "fetched_at"]].assign(
                ex_date=told["date"], kind=kind, value=told[column].astype(float), source=source
            )
        )
    frame = pd.concat(parts, ignore_index=True)[list(ACTION_COLUMNS)]
    divisor = frame["instrument_id"].map(lambda name: (scales or {}).get(name, 1.0)).astype(float)
    frame["value"] = frame["value"].where(frame["kind"] != DIVIDEND, frame["value"] / divisor)
    return frame.sort_values(["instrument_id", "ex_date", "kind"], ignore_index=True)


def adjustment_factors(bars: pd.DataFrame, actions: pd.DataFrame) -> pd.DataFrame:
    """`adj_factor` and `split_factor` of every bar, in its row: [adj_factor, split_factor] on the index of `bars`.

    `bars`: instrument_id, date, close (raw), is_adjusted, and, where any is, adjusted_through: the day up to which the
    prices are adjusted already, None for raw ones. `actions`: instrument_id, ex_date, kind, value. An action counts
    from its ex-date on once the instrument has a bar of that day or a later one; it may fall on a day without a bar;
    before the first bar it changes nothing. NaN before an action that cannot be (`impossible_actions`).
    """
    factors = pd.DataFrame({"adj_factor": 1.0, "split_factor": 1.0}, index=bars.index)
    if bars.empty or actions.empty:
        return factors
    told = dict(list(actions.groupby("instrument_id", sort=False)))
    wanted = bars[bars["instrument_id"].isin(told.keys())]
    adjusted, split = factors["adj_factor"].to_numpy().copy(), factors["split_factor"].to_numpy().copy()
    places = pd.Series(np.arange(len(bars)), index=bars.index)
    for name, part in wanted.groupby("instrument_id", sort=False):
        at = places.loc[part.index].to_numpy()
        adjusted[at], split[at] = _of_one(part, told[name])
    factors["adj_factor"], factors["split_factor"] = adjusted, split
    return factors


def _of_one(bars: pd.DataFrame, actions: pd.DataFrame) -> tuple[Floats, Floats]:
    """Factors of one instrument's bars, in their order."""
    known = _knowledge(bars)
    newest = np.datetime64(bars["date"].max(), "D")
    ex_dates, all_steps, split_steps = _steps(actions, *_paid(bars, actions), newest)
    # Steps are joined from the newest to the oldest, so that the set of actions alone decides every bit.
    after = np.searchsorted(ex_dates, known, side="right")
    found = []
    for steps in (all_steps, split_steps):
        products = np.concatenate([np.multiply.accumulate(steps[::-1])[::-1], [1.0]])
        found.append(products[after])
    return found[0], found[1]


def _knowledge(bars: pd.DataFrame) -> Days:
    """Up to which day the prices of each bar know all actions: its own if they are raw."""
    days = np.array(bars["date"].to_numpy(), dtype="datetime64[D]")
    is_adjusted = bars["is_adjusted"].to_numpy(bool)
    if is_adjusted.any():
        through = np.array(bars["adjusted_through"][is_adjusted].tolist(), dtype="datetime64[D]")
        days[is_adjusted] = np.maximum(days[is_adjusted], through)
    return days


def _paid(bars: pd.DataFrame, actions: pd.DataFrame) -> tuple[Days, Floats]:
    """Days, ascending, and closes of the bars whose close is what was paid on the day: no action that their prices know
    has a later ex-date.
    """
    days, known = np.array(bars["date"].to_numpy(), dtype="datetime64[D]"), _knowledge(bars)
    ex_dates = np.sort(np.array(actions["ex_date"].tolist(), dtype="datetime64[D]"))
    is_paid = np.searchsorted(ex_dates, known, side="right") == np.searchsorted(ex_dates, days, side="right")
    by_day = np.argsort(days, kind="stable")
    own = by_day[is_paid[by_day]]
    return days[own], bars["close"].to_numpy(float)[own]


def impossible_actions(bars: pd.DataFrame, actions: pd.DataFrame) -> pd.DataFrame:
    """Dividends that are not smaller than the close before them, in shares of the ex-date: instrument_id, ex_date,
    dividend, close_before. Arguments as of `adjustment_factors`.
    """
    found = []
    told = dict(list(actions.groupby("instrument_id", sort=True)))
    for name, part in bars[bars["instrument_id"].isin(told.keys())].groupby("instrument_id", sort=True):
        for ex_date, dividend, before in _dividends(told[name], *_paid(part, told[name])):
            if dividend >= before:
                found.append((str(name), ex_date, dividend, before))
    return pd.DataFrame(found, columns=["instrument_id", "ex_date", "dividend", "close_before"])


def dividends_on_old_closes(bars: pd.DataFrame, actions: pd.DataFrame) -> pd.DataFrame:
    """Dividends that count and whose close before is older than OLD_CLOSE: instrument_id, ex_date, dividend,
    close_date, close_before. Their step is exact after a halt and wrong over a hole; nobody here knows which it is.
    """
    found = []
    told = dict(list(actions.groupby("instrument_id", sort=True)))
    for name, part in bars[bars["instrument_id"].isin(told.keys())].groupby("instrument_id", sort=True):
        days, closes = _paid(part, told[name])
        for ex_date, kinds in _by_ex_date(told[name]):
            last = int(np.searchsorted(days, np.datetime64(ex_date), side="left")) - 1
            if last < 0 or DIVIDEND not in kinds or ex_date > part["date"].max():
                continue
            close_date = days[last].astype(date)
            if ex_date - close_date > OLD_CLOSE:
                found.append((str(name), ex_date, kinds[DIVIDEND], close_date, float(closes[last])))
    return pd.DataFrame(found, columns=["instrument_id", "ex_date", "dividend", "close_date", "close_before"])


def _dividends(actions: pd.DataFrame, days: Days, closes: Floats) -> Iterator[tuple[date, float, float]]:
    """Ex-date and amount of each dividend behind a bar, with the close before it in shares of the ex-date."""
    for ex_date, told in _by_ex_date(actions):
        last = int(np.searchsorted(days, np.datetime64(ex_date), side="left")) - 1
        if last >= 0 and DIVIDEND in told:
            yield ex_date, told[DIVIDEND], float(closes[last]) / told.get(SPLIT, 1.0)


def _by_ex_date(actions: pd.DataFrame) -> list[tuple[date, dict[str, float]]]:
    """Kinds and values of the actions of each ex-date, ascending."""
    values: dict[date, dict[str, float]] = {}
    for ex_date, kind, value in zip(actions["ex_date"], actions["kind"], actions["value"], strict=True):
        values.setdefault(ex_date, {})[kind] = float(value)
    return sorted(values.items())


def _steps(actions: pd.DataFrame, days: Days, closes: Floats, newest: np.datetime64) -> tuple[Days, Floats, Floats]:
    """Ex-dates that count, ascending, and the steps of each day: of all actions, and of splits alone.

    `days`, `closes`: bars whose closes are what was paid, ascending. Both steps of a day with an impossible dividend
    are NaN: nobody knows what its row means.
    """
    told = [(ex_date, kinds) for ex_date, kinds in _by_ex_date(actions) if np.datetime64(ex_date) <= newest]
    ex_dates = np.array([ex_date for ex_date, _ in told], dtype="datetime64[D]")
    split_steps = np.array([1.0 / kinds.get(SPLIT, 1.0) for _, kinds in told])
    all_steps = split_steps.copy()
    place = {ex_date: number for number, (ex_date, _) in enumerate(told)}
    for ex_date, dividend, before in _dividends(actions, days, closes):
        if ex_date in place:
            number = place[ex_date]
            is_possible = dividend < before
            all_steps[number] *= 1.0 - dividend / before if is_possible else np.nan
            split_steps[number] *= 1.0 if is_possible else np.nan
    return ex_dates, all_steps, split_steps


def payout_growth(bars: pd.DataFrame, actions: pd.DataFrame) -> Floats:
    """By how much a holding of one instrument grew at each bar through what was paid out or split: 1 on most days.

    `bars`: date (ascending), close (raw), adj_factor; `actions`: ex_date, kind, value. It rests on the actions of that
    bar alone, so that no later action changes a bit of it. Whether a step counts is what the factors say: not between
    closes that are adjusted already, nor at the first bar. Where prices of a file that are adjusted up to a later day
    meet raw ones, the growth is the quotient of the factors (to SHOWN_DIGITS: a later action moves its last bits).
    """
    days, closes = np.array(bars["date"].to_numpy(), dtype="datetime64[D]"), bars["close"].to_numpy(float)
    growth = np.ones(len(days))
    if not len(days):
        return growth
    factors = bars["adj_factor"].to_numpy(float)
    ex_dates, steps, _ = _steps(actions, days, closes, days[-1])
    first = np.searchsorted(days, ex_dates, side="left")
    counts = first > 0
    np.multiply.at(growth, first[counts], 1.0 / steps[counts])
    restated = np.concatenate([[1.0], factors[1:] / factors[:-1]])
    for place in np.flatnonzero(~(np.abs(restated / growth - 1.0) <= SAME_GROWTH)):
        growth[place] = float(f"{restated[place]:.{SHOWN_DIGITS}g}")
    return growth


def total_return_levels(bars: pd.DataFrame, actions: pd.DataFrame) -> Floats:
    """Level of one instrument at each bar, from whose first raw close on everything paid out is reinvested.

    Arguments as of `payout_growth`. Its returns are those of adjusted closes, but no later action changes a bit of it,
    as it does with theirs: what compares others with a benchmark reads it.
    """
    return bars["close"].to_numpy(float) * np.multiply.accumulate(payout_growth(bars, actions))


def with_payout_growth(bars: pd.DataFrame, actions: pd.DataFrame) -> pd.DataFrame:
    """`bars` of many instruments, ordered by instrument and date, with `payout_growth` as a column of that name."""
    ordered = bars.sort_values(["instrument_id", "date"], ignore_index=True)
    growth = np.ones(len(ordered))
    told = dict(list(actions.groupby("instrument_id", sort=False)))
    for name, part in ordered[ordered["instrument_id"].isin(told.keys())].groupby("instrument_id", sort=False):
        growth[part.index.to_numpy()] = payout_growth(part, told[name])
    return ordered.assign(payout_growth=growth)


def compare_with_vendor(
    rows: pd.DataFrame, factors: Mapping[tuple[str, date], float], tolerance: float
) -> tuple[pd.DataFrame, int]:
    """Bars whose vendor adjusts them otherwise than we do, and how many were compared.

    `rows`: a vendor's bars with close and adjusted_close; `factors`: our adj_factor by (instrument, day). Vendors and
    we may know actions up to different days, so both are taken relative to the instrument's newest bar among `rows`.
    Columns: instrument_id, date, ours, vendors, difference (fraction).
    """
    known = rows[rows["adjusted_close"].notna() & (rows["close"].astype(float) > 0)]
    keys = zip(known["instrument_id"], known["date"], strict=True)
    known = known.assign(
        ours=[factors.get(key, np.nan) for key in keys],
        vendors=known["adjusted_close"].astype(float) / known["close"].astype(float),
    )
    known = known[known["ours"].notna()].sort_values(["instrument_id", "date"], ignore_index=True)
    newest = known.groupby("instrument_id")[["ours", "vendors"]].transform("last")
    known["ours"], known["vendors"] = known["ours"] / newest["ours"], known["vendors"] / newest["vendors"]
    known["difference"] = known["ours"] / known["vendors"] - 1.0
    apart = known[known["difference"].abs() > tolerance]
    columns = ["instrument_id", "date", "ours", "vendors", "difference"]
    return apart[columns].reset_index(drop=True), len(known)
