"""The section about forecasts: what is expected of the plan's pools and of gas, and how good earlier ones were.

Lives here: bands that go on from what happened, and scores. Not here: the rate that the plan used (pool_sections.py),
the forecasts themselves (domain/forecasting).
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.forecasting.scoreboard import CHAMPION, WINDOW_DAYS
from defiyield_assets.domain.reporting.formats import (
    UNKNOWN,
    clean,
    is_missing,
    number,
    percent,
    signed_percent,
)
from defiyield_assets.domain.reporting.inputs import Names, ReportInputs
from defiyield_assets.domain.reporting.layout import Chart, Point, Section, Series, Table, Unit, numbers, text
from defiyield_assets.domain.reporting.plan_sections import IDLE, records

HISTORY_DAYS = 60
"""Days of history in front of a band, the day of the report included."""
MOST_CHARTS = 6
"""Pools whose band is drawn, the largest positions first; the table lists all."""
GAS_KIND = "gas_price"
"""What a transaction pays: the effective price, not the base fee alone."""
SCORE_TARGETS = ("apy", "apy_base", "apy_reward", "base_fee_gwei", "gas_price_gwei", "tvl_usd")
TARGETS = {
    "apy": "APY",
    "apy_base": "base APY",
    "apy_reward": "reward APY",
    "base_fee_gwei": "base fee",
    "gas_price_gwei": "gas price",
    "tvl_usd": "TVL",
}
"""What the targets are called; errors of APYs are in percentage points (pp)."""
SCORE_COLUMNS = (
    *text("Target"),
    *numbers("Days ahead", "Forecasts", "Mean error", "Error of the last value", "Better by", "Within p10 to p90"),
)
SCOREBOARD_COLUMNS = (
    *text("Target"),
    *numbers("Days ahead", "Forecasts", "Mean error", "Bias", "Better by", "Last 30 days", "MASE", "Within p10 to p90"),
    *text("Best model"),
    *numbers("Better by"),
)
COMPARABLE = 0.9
"""Share of the champions' forecasts that a single model must have made to be called better or worse than others: the
costly ones speak of few pools on few days."""


def forecasts_section(inputs: ReportInputs, names: Names, *, is_published: bool) -> Section:
    """Bands of the pools that the plan holds (or that are held today) and of gas, then the worth of past forecasts."""
    amount = "amount" if is_published else "amount_before"
    pools = _pools_by_size(inputs, amount)
    charts = [chart for pool in pools[:MOST_CHARTS] if (chart := _pool_chart(inputs, pool, names)) is not None]
    gas = gas_chart(inputs.gas_forecasts, inputs.gas_fees_daily, inputs.day)
    charts += [] if gas is None else [gas]
    bands = _band_table(inputs, pools, names)
    scored = _scores_words(inputs)
    words = [scored] if scored else []
    if bands is not None or gas is not None:
        told = f"Forecasts made at the end of {inputs.day}. Each is the mean over the days ahead; the band from p10 to "
        words.insert(0, f"{told}p90 should hold four times in five.")
    if len(pools) > MOST_CHARTS:
        words.append(f"Drawn are the {MOST_CHARTS} largest positions; the table has all {len(pools)}.")
    tables = [table for table in (bands, *_score_tables(inputs)) if table is not None]
    title = "Forecasts and how good they were"
    return Section("forecasts", title, tuple(words), tables=tuple(tables), charts=tuple(charts))


def _pools_by_size(inputs: ReportInputs, amount: str) -> list[str]:
    """Pools with an amount, the largest by value first; what has no price comes last."""
    if inputs.allocations.empty:
        return []
    sizes: dict[str, Decimal] = {}
    for row in records(inputs.allocations):
        if row["pool_id"] != IDLE and int(row[amount]) > 0:
            is_after = amount == "amount" and not is_missing(row["value_usd"])
            value = row["value_usd"] if is_after else Decimal(int(row[amount])) / 10 ** int(row["decimals"])
            sizes[str(row["pool_id"])] = sizes.get(str(row["pool_id"]), Decimal(0)) + value
    return sorted(sizes, key=lambda pool: (-sizes[pool], pool))


def _bands_of(inputs: ReportInputs, pool_id: str) -> list[dict[str, Any]]:
    """Forecasts of the APY of a pool made on the day, the nearest horizon first."""
    rows = [
        row
        for row in _records_of(inputs.pool_forecasts, pool_id)
        if row["as_of"] == inputs.day and row["target"] == "apy"
    ]
    return sorted(rows, key=lambda row: int(row["horizon_days"]))


def _history_of(inputs: ReportInputs, pool_id: str) -> dict[date, float]:
    """APY by day of the last days up to the day of the report."""
    shown = DayRange.of(inputs.day).back(HISTORY_DAYS - 1)
    return {
        row["date"]: float(row["apy"])
        for row in _records_of(inputs.pool_histories, pool_id)
        if row["date"] in shown and not is_missing(row["apy"])
    }


def _records_of(frame: pd.DataFrame, pool_id: str) -> list[dict[str, Any]]:
    """The pool's rows."""
    return records(frame[frame["pool_id"] == pool_id]) if len(frame) else []


def _pool_chart(inputs: ReportInputs, pool_id: str, names: Names) -> Chart | None:
    history, bands = _history_of(inputs, pool_id), _bands_of(inputs, pool_id)
    if not bands:
        return None
    return band_chart(f"APY of {names.pool(pool_id)}", "percent", history, bands, inputs.day)


def gas_chart(forecasts: pd.DataFrame, fees: pd.DataFrame, day: date) -> Chart | None:
    """The price that transactions paid, and what is expected of it: rows of `gas_forecasts` and `gas_fees_daily`, one
    source a day; None where the day has no forecast."""
    bands = [row for row in records(forecasts) if row["kind"] == GAS_KIND and row["as_of"] == day]
    if not bands:
        return None
    shown = DayRange.of(day).back(HISTORY_DAYS - 1)
    history = {
        row["date"]: float(row["mean_gwei"])
        for row in records(fees)
        if row["kind"] == GAS_KIND and row["date"] in shown and not is_missing(row["mean_gwei"])
    }
    bands.sort(key=lambda row: int(row["horizon_days"]))
    return band_chart("Gas price, daily mean in gwei", "gwei", history, bands, day)


def band_chart(
    title: str, unit: Unit, history: dict[date, float], bands: Sequence[Mapping[str, Any]], day: date
) -> Chart:
    """What happened (by day) and what is expected: rows with horizon_days, mean, p10 and p90, nearest horizon first."""
    past = tuple(Point(str(known), history[known]) for known in sorted(history))
    ahead = tuple(
        Point(
            str(day + timedelta(days=int(row["horizon_days"]))),
            float(row["mean"]),
            float(row["p10"]),
            float(row["p90"]),
        )
        for row in bands
    )
    last = bands[-1]
    days = f"{int(last['horizon_days'])} day{'' if int(last['horizon_days']) == 1 else 's'}"
    told = (
        f"Expected over the next {days}: {_level(unit, last['mean'])}, "
        f"between {_level(unit, last['p10'])} and {_level(unit, last['p90'])} four times in five."
    )
    if history:
        low, high, newest = min(history.values()), max(history.values()), max(history)
        told = (
            f"{title} was between {_level(unit, low)} and {_level(unit, high)} from {min(history)} to {newest}, last "
            f"{_level(unit, history[newest])}. {told}"
        )
    series = [Series("What happened", past, "history")] if past else []
    return Chart("bands", title, unit, (*series, Series("Mean up to the day, p10 to p90", ahead, "forecast")), told)


def _level(unit: Unit, value: Any) -> str:
    return percent(value) if unit == "percent" else f"{number(value, 2)} {unit}"


def _band_table(inputs: ReportInputs, pools: Sequence[str], names: Names) -> Table | None:
    """Every pool with its last APY and the bands of all horizons; None where no pool has a forecast."""
    found = {pool: _bands_of(inputs, pool) for pool in pools}
    horizons = sorted({int(row["horizon_days"]) for rows in found.values() for row in rows})
    if not horizons:
        return None
    ahead = numbers(*(f"Next {days} day{'' if days == 1 else 's'}" for days in horizons))
    columns = (*text("Pool"), *numbers("Last told"), *ahead, *text("Model", "Remark"), *numbers("Days used"))
    rows = []
    for pool, bands in found.items():
        history = _history_of(inputs, pool)
        of_horizon = {int(row["horizon_days"]): row for row in bands}
        rows.append(
            (
                names.pool_link(pool),
                f"{percent(history[max(history)])} on {max(history)}" if history else UNKNOWN,
                *(_band_words(of_horizon.get(days)) for days in horizons),
                ", ".join(dict.fromkeys(clean(row["model"], 24) for row in bands)) or UNKNOWN,
                band_remark(bands),
                number(max(int(row["n_obs"]) for row in bands)) if bands else UNKNOWN,
            )
        )
    return Table(columns, tuple(rows), caption="Forecast APY of each position: mean (p10 to p90)")


def _band_words(row: dict[str, Any] | None) -> str:
    if row is None:
        return UNKNOWN
    return f"{percent(row['mean'])} ({percent(row['p10'])} to {percent(row['p90'])})"


def band_remark(bands: Sequence[Mapping[str, Any]]) -> str:
    """Why a simpler model was used, and whether the forecast knew what nobody knew on the day."""
    reasons = dict.fromkeys(
        clean(row["fallback_reason"], 60).lower().replace("_", " ")
        for row in bands
        if not is_missing(row["fallback_reason"]) and str(row["fallback_reason"])
    )
    told = list(reasons)
    if any(bool(row["is_hindsight"]) for row in bands):
        told.append("rests on values seen only after the day")
    return "; ".join(told)


def _scores_words(inputs: ReportInputs) -> str:
    is_due = bool(_due_rows(inputs))
    due = f"Forecasts that fell due on {inputs.day} are held against what happened."
    due = due if is_due else f"No forecast fell due on {inputs.day}."
    if is_due or _lately_rows(inputs):
        return f"{due} Better by compares with repeating the last value."
    return due


def _score_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    due, lately = _due_rows(inputs), _lately_rows(inputs)
    tables = [Table(SCORE_COLUMNS, due, caption=f"Forecasts that fell due on {inputs.day}")] if due else []
    if lately:
        caption = f"Forecasts that fell due in the last {WINDOW_DAYS} days, and the single model that was best at each"
        tables.append(Table(SCOREBOARD_COLUMNS, lately, caption=caption))
    return tuple(tables)


def _due_rows(inputs: ReportInputs) -> tuple[tuple[str, ...], ...]:
    scores = inputs.forecast_scores
    if scores.empty:
        return ()
    scores = scores.loc[scores["is_champion"].astype(bool)]
    return tuple(
        _score_row(target, int(horizon), of_horizon)
        for target in SCORE_TARGETS
        for horizon, of_horizon in sorted(_by_horizon(scores.loc[scores["target"] == target]).items())
    )


def _lately_rows(inputs: ReportInputs) -> tuple[tuple[str, ...], ...]:
    board = inputs.forecast_scoreboard
    if board.empty:
        return ()
    return tuple(
        _scoreboard_row(target, int(horizon), of_horizon)
        for target in SCORE_TARGETS
        for horizon, of_horizon in sorted(_by_horizon(board.loc[board["target"] == target]).items())
        if CHAMPION in set(of_horizon["model"])
    )


def _by_horizon(scores: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(horizon): scores.loc[scores["horizon_days"] == horizon] for horizon in set(scores["horizon_days"])}


def _score_row(target: str, horizon: int, scores: pd.DataFrame) -> tuple[str, ...]:
    error = float(scores["absolute_error"].astype(float).mean())
    naive = float(scores["naive_absolute_error"].astype(float).mean())
    # A pool that pays nothing has nothing to cover.
    banded = scores.loc[scores["has_band"].astype(bool)]
    covered = float(banded["is_covered"].astype(bool).mean()) if len(banded) else None
    return (
        TARGETS.get(target, target),
        number(horizon),
        number(len(scores)),
        error_words(target, error),
        error_words(target, naive),
        # Nothing is better than a last value without error; nothing covers what has no band.
        signed_percent(1.0 - error / naive, 0) if naive > 0 else "",
        "" if covered is None else percent(covered, 0),
    )


def _scoreboard_row(target: str, horizon: int, board: pd.DataFrame) -> tuple[str, ...]:
    (champion,) = records(board.loc[board["model"] == CHAMPION])
    ranked = [
        row
        for row in records(board)
        if row["model"] != CHAMPION
        and not is_missing(row["skill"])
        and row["n_forecasts"] >= COMPARABLE * champion["n_forecasts"]
    ]
    best = min(ranked, key=lambda row: (-row["skill"], str(row["model"])), default=None)
    return (
        TARGETS.get(target, target),
        number(horizon),
        number(champion["n_forecasts"]),
        error_words(target, champion["mae"]),
        error_words(target, champion["bias"], "+"),
        *(
            "" if is_missing(champion[name]) else written(champion[name], digits)
            for name, written, digits in (
                ("skill", signed_percent, 0),
                ("skill_30d", signed_percent, 0),
                ("mase", number, 2),
                ("coverage", percent, 0),
            )
        ),
        clean(best["model"], 40) if best else "",
        signed_percent(best["skill"], 0) if best else "",
    )


def error_words(target: str, error: float, sign: str = "") -> str:
    """An error in the unit in which people speak of the target; `sign` "+" puts one before a positive error."""
    if target.startswith("apy"):
        return f"{error * 100:{sign}.2f} pp"
    if target.endswith("_gwei"):
        return f"{error:{sign},.3f} gwei"
    return f"{'-' if error < 0 else sign}${number(abs(error))}"
