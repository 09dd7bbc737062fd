"""Features, regimes, events and targets of the market part.

Lives here: tables of what is computed from bars. Not here: bars (prices.py), formulas (domain/market). The columns of
features and of their state are those of the registry: a new metric is a new column and a migration.
"""

from typing import Any

from sqlalchemy import Boolean, Column, Date, Float, Index, Integer, Text

from defiyield_assets.domain.market.features.metric import Definition
from defiyield_assets.domain.market.features.recursions import STATE_FIELDS
from defiyield_assets.domain.market.features.registry import INTRADAY_METRICS, METRICS
from defiyield_assets.store.schema.columns import POSITIVE, SHARE, key, may, must, table
from defiyield_assets.store.types import UtcDateTime


def _column(metric: Definition) -> Column[Any]:
    """One metric as a column: formula and unit in its comment, mathematical bounds as its rule."""
    low, high = metric.bounds
    limits = {name: bound for name, bound in (("ge", low), ("le", high)) if bound is not None}
    return may(metric.name, Float, f"{metric.formula} ({metric.unit})", **limits)


daily_features = table(
    "daily_features",
    "Features of every instrument and bar, on adjusted prices; null until the warm-up is complete",
    key("instrument_id", Text, "Instrument"),
    key("date", Date, "Day of the bar"),
    key("feature_set", Text, "Set of definitions: standard"),
    must("instrument_type", Text, "Type of the instrument"),
    *[_column(metric) for metric in METRICS],
    Index(None, "date"),
)
intraday_features = table(
    "intraday_features",
    "Features of bars below a day",
    key("instrument_id", Text, "Instrument"),
    key("interval", Text, "5m, …"),
    key("ts", UtcDateTime, "Open of the bar"),
    key("feature_set", Text, "Set of definitions: standard"),
    must("date", Date, "UTC day of the bar"),
    *[_column(metric) for metric in INTRADAY_METRICS],
    Index(None, "date"),
)
feature_state = table(
    "feature_state",
    "State of recursive features behind the last bar of a run, from which the next bar goes on",
    key("instrument_id", Text, "Instrument"),
    key("date", Date, "Day of the bar"),
    key("feature_set", Text, "Set of definitions: standard"),
    must("instrument_type", Text, "Type of the instrument"),
    must(
        "adj_factor",
        Float,
        "Factor of that bar when the state was made: another one now restates everything",
        **POSITIVE,
    ),
    must("n_bars", Integer, "Bars up to and including that one", ge=1),
    *[may(name, Float, comment) for name, comment in STATE_FIELDS.items()],
    Index(None, "date"),
)
feature_targets = table(
    "feature_targets",
    "Forward returns for learning, written on the day on which they become known; never a feature",
    key("instrument_id", Text, "Instrument"),
    key("date", Date, "Day of the bar that the return starts from"),
    key("horizon_days", Integer, "Bars ahead", ge=1),
    must("instrument_type", Text, "Type of the instrument"),
    must("known_on", Date, "Day of the bar that the return ends with"),
    must("forward_log_return", Float, "ln(adjusted close at the end / at the start)"),
    Index(None, "known_on"),
    day="known_on",
)
market_regimes = table(
    "market_regimes",
    "State of a market as filtered from its returns up to the day, by a model fitted on days before its quarter",
    key("market", Text, "crypto or us_equities"),
    key("date", Date, "Day of the bar"),
    must("instrument_id", Text, "Instrument whose returns speak for the market"),
    must("state", Text, "Most probable state", isin=["calm", "normal", "turbulent"]),
    must("p_calm", Float, "Filtered probability of the state of least volatility", **SHARE),
    must("p_normal", Float, "Filtered probability of the state between", **SHARE),
    must("p_turbulent", Float, "Filtered probability of the state of most volatility", **SHARE),
    must("fitted_through", Date, "Last day that the parameters know"),
    must("n_returns", Integer, "Returns that they were fitted on", ge=1),
    must("model_json", Text, "Means and variances a day, transition matrix"),
    Index(None, "date"),
)
market_events = table(
    "market_events",
    "Earnings, economic and on-chain events, with surprise where it is known",
    key("source", Text, "Vendor or csv:<file>"),
    key("event_id", Text, "Id of the source, or a hash of what identifies the event"),
    may("instrument_id", Text, "Instrument; null: the whole market"),
    must("kind", Text, "earnings, economic or on_chain", isin=["earnings", "economic", "on_chain"]),
    must("date", Date, "Day of the event"),
    may("title", Text, "What it is, as told"),
    may("announced_on", Date, "Since when the day is known beforehand; null: known on the day itself"),
    must("known_on", Date, "Since when the outcome is known"),
    may("expected", Float, "Expected value in its unit"),
    may("actual", Float, "Actual value in its unit"),
    may("surprise", Float, "Actual less expected"),
    may("surprise_fraction", Float, "Surprise / |expected|; null where nothing or zero was expected"),
    may("unit", Text, "Unit of the values"),
    must("is_known_assumed", Boolean, "The day of knowledge is assumed, not told"),
    must("fetched_at", UtcDateTime, "The transport's stamp, or when the file was imported"),
    Index(None, "date"),
)
