"""Gas fees by hour and day.

Lives here: tables of gas. Not here: SQL (store/reads.py, writes.py).
"""

from sqlalchemy import Boolean, Date, Float, Index, Integer, Text

from defiyield_assets.store.schema.columns import SHARE, ZERO_UP, key, may, must, table
from defiyield_assets.store.types import UtcDateTime

GAS_COLUMNS = (
    ("mean", "Mean"),
    ("median", "Median"),
    ("p10", "10th percentile"),
    ("p90", "90th percentile"),
    ("max", "Maximum"),
)
gas_fees_hourly = table(
    "gas_fees_hourly",
    "Gas by the hour; base fee and effective price are different series",
    key("hour", UtcDateTime, "Start of the hour"),
    key("kind", Text, "base_fee or gas_price"),
    key("source", Text, "Vendor"),
    must("date", Date, "UTC day of the hour"),
    *[may(f"{name}_gwei", Float, f"{text} over the blocks of the hour", **ZERO_UP) for name, text in GAS_COLUMNS],
    may("eth_price_usd", Float, "ETH price", **ZERO_UP),
    must("fetched_at", UtcDateTime, "The transport's stamp"),
    Index(None, "date"),
)
gas_fees_daily = table(
    "gas_fees_daily",
    "Gas by the day",
    key("date", Date, "Partition"),
    key("kind", Text, "base_fee or gas_price"),
    key("source", Text, "Vendor"),
    *[may(f"{name}_gwei", Float, f"{text} over the hours of the day", **ZERO_UP) for name, text in GAS_COLUMNS],
    may("eth_price_usd", Float, "ETH price, last of the day", **ZERO_UP),
    must("n_hours", Integer, "Hours observed", ge=0, le=24),
)
gas_forecasts = table(
    "gas_forecasts",
    "Expected gas over the coming days",
    key("as_of", Date, "Partition"),
    key("kind", Text, "base_fee or gas_price"),
    key("horizon_days", Integer, "Days ahead"),
    must("mean", Float, "Expected daily mean over the horizon, gwei", **ZERO_UP),
    must("p10", Float, "10 % quantile, gwei", **ZERO_UP),
    must("p50", Float, "Median, gwei", **ZERO_UP),
    must("p90", Float, "90 % quantile, gwei", **ZERO_UP),
    must("model", Text, "Model"),
    must("model_version", Text, "Version of the model"),
    must("trained_from", Date, "First day used"),
    must("trained_to", Date, "Last day used"),
    must("n_obs", Integer, "Days used", ge=1),
    may("fallback_reason", Text, "Why a simpler model was used"),
    day="as_of",
)
gas_candidates = table(
    "gas_candidates",
    "What every candidate model says about gas over the coming days, the champion among them",
    key("as_of", Date, "Partition"),
    key("kind", Text, "base_fee or gas_price"),
    key("horizon_days", Integer, "Days ahead"),
    key("model", Text, "Model"),
    must("model_version", Text, "Version of the model"),
    must("mean", Float, "Expected daily mean over the horizon, gwei", **ZERO_UP),
    must("p10", Float, "10 % quantile, gwei", **ZERO_UP),
    must("p50", Float, "Median, gwei", **ZERO_UP),
    must("p90", Float, "90 % quantile, gwei", **ZERO_UP),
    must("is_champion", Boolean, "Stands in gas_forecasts"),
    day="as_of",
)
gas_hour_profiles = table(
    "gas_hour_profiles",
    "What each hour of the UTC day costs relative to its day, and which are cheapest with what evidence",
    key("as_of", Date, "Partition"),
    key("kind", Text, "base_fee or gas_price"),
    key("hour", Integer, "Hour of the UTC day, 0 to 23"),
    must("ratio", Float, "Median over the days of the hour's price divided by its day's mean", **ZERO_UP),
    must("p10", Float, "10 % quantile of that quotient", **ZERO_UP),
    must("p90", Float, "90 % quantile of that quotient", **ZERO_UP),
    must("n_days", Integer, "Days observed", ge=0),
    must("rank", Integer, "1 for the cheapest hour", ge=1, le=24),
    may("p_value", Float, "Probability of an hour this cheap where no hour is cheaper than another", **SHARE),
    must("saving", Float, "1 minus ratio: what waiting for this hour saves against the day's mean, fraction", le=1.0),
    must("is_cheapest", Boolean, "Among the hours that are cheaper with evidence"),
    day="as_of",
)
