"""Stored signals as strategies take them: as of when one could act, in the scale of the bars.

Lives here: reading `trading_signals` for runs. Not here: the join to bars (domain/strategies/external.py), making
signals (assets/signals.py).
"""

from collections.abc import Collection, Mapping
from datetime import date

import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.strategies.external import COLUMNS, signal_frame
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store import reads, schema

ANSWERED = "ok"
"""Status of a signal that was read from its answer as it was told."""
SAYS_NOTHING = "unavailable"
"""Status of a row that is no statement: an earlier signal stays in force. Replies that failed are HOLD."""
READ = (
    *("instrument_id", "date", "signal_type", "actionable_from", "status", "signal", "confidence"),
    *("stop_loss_price", "target_price", "training_cutoff"),
)


def followed_types(strategy: Strategy) -> tuple[str, ...]:
    """Types of signals that a strategy or its members follow, ordered; () for one that follows none."""
    return tuple(sorted(strategy.signal_types))


def stored_signals(
    engine: Engine,
    days: DayRange,
    signal_types: Collection[str] | None = None,
    instruments: Collection[str] | None = None,
) -> pd.DataFrame:
    """Signals of the bars of these days (external.COLUMNS), of some types and instruments or of all, ordered by when
    one could act.

    Prices are in the adjusted scale that `daily_bars` has now; the training cut-off is the later of the one that the
    signal was made with and the one that its type has now. Every row has `actionable_from` at the end of its bar's
    UTC day, so that a range through D holds nothing that one could not act on at the next open.
    """
    where = _where(signal_types, instruments)
    rows = reads.read_days(engine, schema.trading_signals, days, where, READ)
    rows = rows[rows["status"] != SAYS_NOTHING]
    if rows.empty:
        return signal_frame(())
    names = sorted(set(rows["instrument_id"]))
    span = DayRange(min(rows["date"]), max(rows["date"]))
    bars = reads.read_days(
        engine, schema.daily_bars, span, {"instrument_id": names}, ["instrument_id", "date", "adj_factor"]
    )
    told = rows.merge(bars, on=["instrument_id", "date"], how="inner")
    for name in ("stop_loss_price", "target_price"):
        told[name] = told[name].astype(float) * told["adj_factor"].astype(float)
    types = reads.read_all(engine, schema.signal_types)
    cutoffs = dict(zip(types["signal_type"], types["training_cutoff"], strict=True))
    pairs = zip(told["signal_type"], told["training_cutoff"], strict=True)
    latest = [_later(then, cutoffs.get(kind)) for kind, then in pairs]
    told["training_cutoff"] = pd.Series(latest, index=told.index, dtype=object)
    told = told.sort_values(["actionable_from", "instrument_id", "signal_type"], ignore_index=True)
    return told[list(COLUMNS)]


def _later(one: date | None, other: date | None) -> date | None:
    """The later of two days; None where there is none."""
    return max((day for day in (one, other) if day is not None and not pd.isna(day)), default=None)


def _where(signal_types: Collection[str] | None, instruments: Collection[str] | None) -> dict[str, list[str]]:
    """Conditions of a read; nothing where all are meant."""
    asked = {"signal_type": signal_types, "instrument_id": instruments}
    return {name: sorted(told) for name, told in asked.items() if told is not None}


def signals_for(engine: Engine, strategy: Strategy, days: DayRange, instruments: Collection[str]) -> pd.DataFrame:
    """The signals that a strategy follows, of the bars of these days and instruments; an empty frame for one that
    follows none.

    ConfigurationError where a type that it follows has not one signal that was answered well: a run without any, or of
    replies alone that could not be read and count as HOLD, would be a flat line that says nothing of the strategy.
    """
    types = followed_types(strategy)
    if not types:
        return signal_frame(())
    counted = counted_signals(engine, days, types, instruments)
    missing = [name for name in types if not counted.get(name, {}).get(ANSWERED)]
    if missing:
        unread = counted.get(missing[0], {})
        raise ConfigurationError(_nothing_of(engine, strategy, missing[0], days, unread))
    return stored_signals(engine, days, types, instruments)


def counted_signals(
    engine: Engine, days: DayRange, signal_types: Collection[str], instruments: Collection[str]
) -> dict[str, dict[str, int]]:
    """How many signals of each type there are by status, of the bars of these days and instruments."""
    where = _where(signal_types, instruments)
    rows = reads.read_days(engine, schema.trading_signals, days, where, ["signal_type", "status"])
    found: dict[str, dict[str, int]] = {}
    for kind, own in rows.groupby("signal_type", sort=True):
        found[str(kind)] = {str(status): int(n) for status, n in own["status"].value_counts().sort_index().items()}
    return found


def _nothing_of(engine: Engine, strategy: Strategy, name: str, days: DayRange, unread: Mapping[str, int]) -> str:
    """Why there is nothing to follow. `unread`: signals of the type that are stored of these bars, by status."""
    if unread:
        told = ", ".join(f"{n:,} {status}" for status, n in unread.items())
        return (
            f"{strategy.strategy_id} follows {name}, of which no signal from {days.start} to {days.end} was answered "
            f"well: {told}. Bars that are unavailable are asked again by `defiyield signals make` once the host answers"
        )
    counted = reads.read_days(engine, schema.trading_signals, days, None, ["signal_type", "status"])
    counted = counted[counted["status"] != SAYS_NOTHING]
    stored = ", ".join(f"{kind} ({n:,})" for kind, n in counted["signal_type"].value_counts().sort_index().items())
    kind, _, model = name.partition(":")
    how = f"`defiyield signals make --from D --to D --model {model}`" if kind == "ai" else "`defiyield signals make`"
    return (
        f"{strategy.strategy_id} follows {name}, of which no signal from {days.start} to {days.end} is stored; "
        f"stored are: {stored or 'none'}. Make them with {how}"
    )
