"""Which columns conditions may name, and how many bars each needs before it has a value.

Lives here: the columns of bars and of the registry of features with their warm-ups, and the nearest known name. Not
here: a strategy's own indicators (their arithmetic: indicators.py), evaluation (signals.py).
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from defiyield_assets.domain.strategies.bars import BAR_COLUMNS
from defiyield_assets.domain.strategies.language import Indicator

SCENARIO_WARM_UP = 253
"""Bars before the first scored one that every scenario has (domain/market/scenarios): on the last of them strategies
decide for the first time."""

MOST_NAMES = 40
"""Names that are listed where none is near to what was asked for."""


def known_columns() -> dict[str, int]:
    """Column -> bars until its first value (1: at once), of bars and of the registry of features."""
    from defiyield_assets.domain.market.features.registry import METRICS

    return {**dict.fromkeys(BAR_COLUMNS, 1), **{metric.name: metric.warm_up for metric in METRICS}}


def with_indicators(columns: Mapping[str, int], indicators: Mapping[str, Indicator]) -> dict[str, int]:
    """The columns and those of a strategy's own; one that reads an unknown column is left out."""
    found = dict(columns)
    for name, one in indicators.items():
        if one.col in found:
            found[name] = found[one.col] + indicator_bars(one) - 1
    return found


def indicator_bars(one: Indicator) -> int:
    """Bars of its column that a value is made of, from the first to today's."""
    return one.bars + (1 if one.method == "change" else 0) + (1 if one.before_today else 0)


def nearest(name: str, names: Iterable[str]) -> str:
    """In words: the known name that is meant, or the first ones of all."""
    known = sorted(names)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(known[:MOST_NAMES])}{', …' if len(known) > MOST_NAMES else ''}"
