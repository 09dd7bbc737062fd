"""Every table of the warehouse: the single source of schema for migrations, validation and documentation.

Lives here: tables, keys, units and bounds. Not here: SQL that reads or writes them (reads.py, writes.py).
A column's comment is its description with unit; `info` may bound it (`ge`, `le`, `isin`). A table's `info["day"]` names
the column that holds its partition date. Rates and shares are fractions, `_usd` US dollars, `_gwei` gwei, amounts base
units.
"""

from typing import Any

from sqlalchemy import Boolean, Column, Date, Float, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.types import TypeEngine

from defiyield_assets.store.types import BaseUnits, ExactDecimal, UtcDateTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s",
    }
)
Type = type[TypeEngine[Any]] | TypeEngine[Any]


def key(name: str, type_: Type, comment: str) -> Column[Any]:
    """A column of the primary key."""
    return Column(name, type_, primary_key=True, nullable=False, autoincrement=False, comment=comment)


def must(name: str, type_: Type, comment: str, **info: Any) -> Column[Any]:
    """A column that is never null."""
    return Column(name, type_, nullable=False, comment=comment, info=info)


def may(name: str, type_: Type, comment: str, **info: Any) -> Column[Any]:
    """A column where null means unknown."""
    return Column(name, type_, nullable=True, comment=comment, info=info)


def table(name: str, comment: str, *columns: Column[Any] | Index, day: str | None = "date") -> Table:
    """A table with its description and the column that holds its partition date (None: not partitioned)."""
    return Table(name, metadata, *columns, comment=comment, info={"day": day})


SHARE = {"ge": 0.0, "le": 1.0}
ZERO_UP = {"ge": 0.0}

# --- archive -------------------------------------------------------------------------------------------------------
raw_fetches = table(
    "raw_fetches",
    "One row per vendor request, successful or not; never holds a key",
    Column("fetch_id", Integer, primary_key=True, autoincrement=True, comment="Sequence of requests"),
    must("vendor", Text, "Vendor's short name"),
    must("endpoint", Text, "Path template of the endpoint"),
    must("params_hash", Text, "SHA-256 of params_json"),
    must("params_json", Text, "Parameters as canonical JSON, keys and secrets removed"),
    must("fetched_at", UtcDateTime, "The transport's stamp of the answer"),
    may("partition_date", Date, "Partition that asked"),
    may("status", Integer, "HTTP status, null when no answer came"),
    must("attempts", Integer, "Requests sent, retries included", ge=1),
    must("waited_seconds", Float, "Seconds spent waiting for pacing and retries", ge=0.0),
    must("bytes", Integer, "Length of the body", ge=0),
    may("rows", Integer, "Rows that the parser found"),
    may("error_class", Text, "Class of the error, null on success"),
    may("error_message", Text, "The error in words, secrets removed"),
    may("sha256", Text, "Body in raw_bodies"),
    may("earlier_sha256", Text, "Bodies of attempts before the last one, separated by spaces"),
    Index(None, "vendor", "endpoint", "params_hash", "fetched_at"),
    day=None,
)
raw_bodies = table(
    "raw_bodies",
    "Vendor answers, compressed, by content; append-only",
    key("sha256", Text, "SHA-256 of the body"),
    must("encoding", Text, "Compression of the body", isin=["zlib"]),
    must("body", LargeBinary, "Compressed body"),
    must("bytes", Integer, "Length before compression", ge=0),
    day=None,
)
vendor_usage = table(
    "vendor_usage",
    "Calls sent to a vendor under one key, by minute, day and month of the wall clock: what is left of its budgets",
    key("vendor", Text, "Vendor's short name"),
    key("key_id", Text, "Fingerprint of the key, `none` without one; never the key"),
    key("period", Text, "minute, day or month"),
    key("starts_at", UtcDateTime, "Start of the period"),
    must("calls", Integer, "Calls (or credits, where the vendor counts them) reserved in the period", ge=0),
    day=None,
)
vendor_paces = table(
    "vendor_paces",
    "When the next call to a vendor under one key may be sent, whichever process sends it",
    key("vendor", Text, "Vendor's short name"),
    key("key_id", Text, "Fingerprint of the key, `none` without one; never the key"),
    must("next_at", UtcDateTime, "First instant that no process has reserved yet"),
    day=None,
)
warehouse_identity = table(
    "warehouse_identity",
    "Which market this warehouse holds; two markets never share one",
    key("market", Text, "live, simulated or recorded"),
    day=None,
)
asset_outcomes = table(
    "asset_outcomes",
    "Why an asset of a day is degraded or failed; empty when all went well",
    key("date", Date, "Partition"),
    key("asset", Text, "Asset"),
    must("status", Text, "What happened", isin=["degraded", "failed"]),
    must("error_class", Text, "Class of the error or of the degradation"),
    must("reason", Text, "What is missing and what follows"),
    must("is_recoverable", Boolean, "False: no sensor asks again"),
)

# --- policy --------------------------------------------------------------------------------------------------------
policy_snapshot = table(
    "policy_snapshot",
    "The policy as it stood at the start of the day; later steps read this, never the files",
    key("date", Date, "Partition"),
    must("policy_hash", Text, "SHA-256 of policy_json"),
    must("policy_json", Text, "The whole policy as canonical JSON"),
    must("n_tokens", Integer, "Approved tokens"),
    must("n_protocols", Integer, "Approved protocols"),
    must("n_overrides", Integer, "Pool overrides in force"),
)
allocation_snapshot = table(
    "allocation_snapshot",
    "The effective lists of the day once the icebox has spoken",
    key("date", Date, "Partition"),
    must("allocation_hash", Text, "SHA-256 of the lists and the policy hash"),
    must("policy_hash", Text, "Policy that it rests on"),
    must("allowed_tokens_json", Text, "Addresses (chain:address) that may be bought"),
    must("barred_tokens_json", Text, "Addresses (chain:address) in the icebox or blacklisted, with the reason"),
    must("parameters_json", Text, "Parameters as canonical JSON"),
)
pool_aliases = table(
    "pool_aliases",
    "Old pool ids and what they are called now",
    key("old_id", Text, "Pool id that is gone"),
    must("new_id", Text, "Pool id that goes on"),
    must("since", Date, "First day of the new id"),
    must("source", Text, "Who says so"),
    day=None,
)
pool_contracts = table(
    "pool_contracts",
    "Which on-chain contract a pool is, so that the ledger knows a deposit when it sees one",
    key("pool_id", Text, "Pool"),
    key("share_token", Text, "Token that the pool mints for deposits (lower case)"),
    must("chain_id", Integer, "EVM chain id"),
    must("contract", Text, "Address that takes deposits (lower case)"),
    must("share_decimals", Integer, "Decimals of the share token", ge=0, le=36),
    must("source", Text, "Who says so"),
    day=None,
)

# --- pools ---------------------------------------------------------------------------------------------------------
pools = table(
    "pools",
    "Every pool of the day's snapshot",
    key("snapshot_date", Date, "Partition"),
    key("pool_id", Text, "DeFiLlama pool id"),
    must("chain", Text, "Chain as DeFiLlama spells it"),
    must("project", Text, "Protocol slug as recorded"),
    must("symbol", Text, "Symbol for display only"),
    may("pool_meta", Text, "Vendor's remark on the pool"),
    may("tvl_usd", Float, "Value locked; for lending pools supply minus borrow", **ZERO_UP),
    may("total_supply_usd", Float, "Supplied value of a lending pool", **ZERO_UP),
    may("total_borrow_usd", Float, "Borrowed value of a lending pool", **ZERO_UP),
    may("apy", Float, "Total APY, fraction"),
    may("apy_base", Float, "Base APY, fraction"),
    may("apy_reward", Float, "Reward APY, fraction, simple"),
    may("exposure", Text, "single or multi"),
    may("il_risk", Text, "yes or no"),
    may("is_stablecoin", Boolean, "Vendor's symbol match; no de-peg guard"),
    must("underlying_addresses_json", Text, "Underlying token addresses, lower case, JSON list; [] unknown"),
    must("reward_tokens_json", Text, "Reward token addresses, lower case, JSON list"),
    must("observed_at", UtcDateTime, "When the vendor was asked"),
    must("is_stale", Boolean, "The vendor's own row is older than a day"),
    Index(None, "pool_id"),
    day="snapshot_date",
)
pool_histories = table(
    "pool_histories",
    "Daily points of every tracked pool; a changed past value is a new revision",
    key("pool_id", Text, "Pool"),
    key("date", Date, "UTC day of the point"),
    key("revision", Integer, "0 for the first value seen, then 1, 2 …"),
    may("apy", Float, "Total APY, fraction"),
    may("apy_base", Float, "Base APY, fraction"),
    may("apy_reward", Float, "Reward APY, fraction, simple"),
    may("tvl_usd", Float, "Value locked", **ZERO_UP),
    may("il_7d", Float, "Impermanent loss over 7 days, fraction"),
    must("is_provisional", Boolean, "The day was not over when this was seen"),
    must("source", Text, "chart or snapshot", isin=["chart", "snapshot"]),
    must("seen_at", UtcDateTime, "When we first saw this value"),
    Index(None, "date"),
)
history_revisions = table(
    "history_revisions",
    "Past values that a vendor changed, by the day on which we saw the change",
    key("date", Date, "Partition: the day whose run saw the change"),
    key("pool_id", Text, "Pool"),
    key("point_date", Date, "Day of the changed point"),
    key("revision", Integer, "Revision that the change made, from 1 on"),
    may("apy_before", Float, "Total APY of the revision before, fraction"),
    may("apy", Float, "Total APY now, fraction"),
    may("apy_change", Float, "apy minus apy_before, fraction"),
    may("tvl_before_usd", Float, "Value locked of the revision before", **ZERO_UP),
    may("tvl_usd", Float, "Value locked now", **ZERO_UP),
    must("age_days", Integer, "Days between the point and the day that saw the change", ge=0),
    must("source", Text, "chart or snapshot", isin=["chart", "snapshot"]),
    must("seen_at", UtcDateTime, "When the change was seen"),
)
lending_histories = table(
    "lending_histories",
    "Daily supply, borrow and both rates of tracked lending pools, as first seen",
    key("pool_id", Text, "Pool"),
    key("date", Date, "UTC day of the point"),
    may("total_supply_usd", Float, "Supplied value", **ZERO_UP),
    may("total_borrow_usd", Float, "Borrowed value", **ZERO_UP),
    may("apy_base", Float, "Supply APY, fraction"),
    may("apy_reward", Float, "Reward APY of suppliers, fraction"),
    may("apy_base_borrow", Float, "Borrow APY, fraction"),
    may("apy_reward_borrow", Float, "Reward APY of borrowers, fraction"),
    must("seen_at", UtcDateTime, "When we first saw this point"),
    Index(None, "date"),
)
pendle_markets = table(
    "pendle_markets",
    "Pendle's market map of the day: what each market's tokens stand for",
    key("date", Date, "Partition"),
    key("chain_id", Integer, "EVM chain id"),
    key("market", Text, "Address of the market, lower case"),
    must("name", Text, "Pendle's name, display only"),
    must("expiry", Date, "Day of maturity"),
    may("principal_token", Text, "Address of PT, lower case"),
    may("yield_token", Text, "Address of YT, lower case"),
    may("standardised_yield", Text, "Address of SY, lower case"),
    may("underlying", Text, "Address of the underlying asset, lower case"),
)
resolved_underlyings = table(
    "resolved_underlyings",
    "Underlying tokens of pools whose vendor names none, as a resolver found them; a list is whole or absent",
    key("date", Date, "Partition"),
    key("pool_id", Text, "Pool"),
    key("address", Text, "Underlying token, lower case"),
    must("resolver", Text, "Who says so", isin=["pendle_market_map", "most_frequent_token"]),
    must("evidence", Text, "What it rests on, in words with figures"),
    may("maturity", Date, "Maturity, where the resolver knows one"),
)
pool_quality = table(
    "pool_quality",
    "What is wrong with a pool's data on a day",
    key("date", Date, "Partition"),
    key("pool_id", Text, "Pool"),
    must("is_passed", Boolean, "No blocking finding"),
    must("reason_codes", Text, "Findings, comma separated codes"),
    must("reasons", Text, "Findings in words"),
    must("is_stuck", Boolean, "Same APY and TVL to the last digit for stuck_days"),
    must("has_gap", Boolean, "A gap longer than gap_days within 30 days"),
    must("is_spike", Boolean, "Today's APY is a spike"),
    must("is_implausible", Boolean, "APY below 0 or above apy_plausible_max"),
    must("has_tvl_jump", Boolean, "TVL changed more than fivefold in a day"),
    must("largest_gap_days", Integer, "Longest run of missing days within 30 days", ge=0),
    may("winsorised_apy", Float, "APY as used for metrics and forecasts, fraction"),
    must("is_hindsight", Boolean, "Rests on values seen after the day's cutoff"),
)
pool_metrics = table(
    "pool_metrics",
    "Rolling APY statistics of every tracked pool, one row per pool per day; a window is days, not rows",
    key("date", Date, "Partition"),
    key("pool_id", Text, "Pool"),
    may("apy", Float, "APY of the day, winsorised, fraction"),
    may("tvl_usd", Float, "TVL of the day"),
    may("apy_mean_7d", Float, "Mean APY over 7 days, fraction"),
    may("apy_mean_30d", Float, "Mean APY over 30 days, fraction"),
    may("apy_std_7d", Float, "Standard deviation over 7 days (ddof 1), fraction", **ZERO_UP),
    may("apy_std_30d", Float, "Standard deviation over 30 days (ddof 1), fraction", **ZERO_UP),
    may("apy_change_1d", Float, "APY minus yesterday's, fraction"),
    may("apy_mean_7d_change_1d", Float, "Change of apy_mean_7d since yesterday"),
    may("apy_mean_30d_change_1d", Float, "Change of apy_mean_30d since yesterday"),
    may("apy_std_7d_change_1d", Float, "Change of apy_std_7d since yesterday"),
    may("apy_std_30d_change_1d", Float, "Change of apy_std_30d since yesterday"),
    may("apy_ewma_7d", Float, "Exponentially weighted mean, half-life 7 days, fraction"),
    may("tvl_change_1d", Float, "Relative change of TVL in a day, fraction"),
    may("tvl_change_7d", Float, "Relative change of TVL in 7 days, fraction"),
    must("observed_days", Integer, "Days observed within the last 30", ge=0, le=30),
    must("age_days", Integer, "Days since the first known point", ge=0),
    may("reward_share", Float, "Reward part of total APY, fraction", **SHARE),
    may("utilisation", Float, "Borrowed over supplied, fraction", **ZERO_UP),
    must("is_hindsight", Boolean, "Rests on values seen after the day's cutoff"),
)
pool_groups = table(
    "pool_groups",
    "Risk group of every tracked pool: 1 low, 2 medium, 3 high, 4 unrated",
    key("date", Date, "Partition"),
    key("pool_id", Text, "Pool"),
    must("pool_group", Integer, "1 low, 2 medium, 3 high, 4 unrated", isin=[1, 2, 3, 4]),
    must("reason", Text, "Which limits decided"),
    must("is_hindsight", Boolean, "Rests on values seen after the day's cutoff"),
)

# --- tokens and prices ---------------------------------------------------------------------------------------------
instruments = table(
    "instruments",
    "Everything that has a price",
    key("instrument_id", Text, "<chain>:<address> for tokens, <type>:<symbol> otherwise"),
    must("type", Text, "Kind of instrument", isin=["crypto", "equity", "etf", "index", "fx"]),
    must("symbol", Text, "Symbol for display"),
    must("calendar", Text, "24x7 or an exchange calendar such as XNYS"),
    may("chain", Text, "Chain of a token"),
    may("address", Text, "Address of a token, lower case"),
    may("decimals", Integer, "Decimals of a token", ge=0, le=36),
    may("cmc_id", Integer, "CoinMarketCap id"),
    may("coingecko_id", Text, "CoinGecko id"),
    may("alpha_vantage_symbol", Text, "Alpha Vantage symbol"),
    must("price_scale", Float, "Factor by which a source's quotes are divided", ge=0.0),
    may("listed_at", Date, "First day"),
    may("delisted_at", Date, "Last day"),
    day=None,
)
token_registry = table(
    "token_registry",
    "Every token that a pool of the day names, with what we think of it",
    key("date", Date, "Partition"),
    key("chain", Text, "Chain"),
    key("address", Text, "Address, lower case"),
    must("instrument_id", Text, "Id in the price tables"),
    may("symbol", Text, "Symbol from our list, null when unknown"),
    may("decimals", Integer, "Decimals", ge=0, le=36),
    may("issuer", Text, "Issuer"),
    may("peg", Text, "usd, accruing or other"),
    may("is_rebasing", Boolean, "Balance changes without a transfer"),
    may("access", Text, "open or permissioned"),
    may("exit_days", Integer, "Days to leave", ge=0),
    may("coingecko_id", Text, "CoinGecko id"),
    may("cmc_id", Integer, "CoinMarketCap id"),
    must("verdict", Text, "Our word on it", isin=["approved", "blacklisted", "unknown"]),
    must("n_pools", Integer, "Pools of the day that name it", ge=0),
)
ohlcv_coinmarketcap = table(
    "ohlcv_coinmarketcap",
    "Daily bars as CoinMarketCap tells them",
    key("instrument_id", Text, "Instrument"),
    key("interval", Text, "1d"),
    key("ts", UtcDateTime, "Open of the bar"),
    must("date", Date, "UTC day of the bar"),
    must("open", Float, "Open in USD", **ZERO_UP),
    must("high", Float, "High in USD", **ZERO_UP),
    must("low", Float, "Low in USD", **ZERO_UP),
    must("close", Float, "Close in USD", **ZERO_UP),
    may("volume_usd", Float, "Volume in USD", **ZERO_UP),
    may("market_cap_usd", Float, "Market capitalisation in USD, null when the vendor says 0", **ZERO_UP),
    must("fetched_at", UtcDateTime, "The transport's stamp"),
    Index(None, "date"),
)
ohlcv_coingecko = table(
    "ohlcv_coingecko",
    "Daily bars as CoinGecko tells them: candles of the UTC day, volume and capitalisation from market_chart",
    key("instrument_id", Text, "Instrument"),
    key("interval", Text, "1d"),
    key("ts", UtcDateTime, "Open of the bar"),
    must("date", Date, "UTC day of the bar"),
    may("open", Float, "Open in USD", **ZERO_UP),
    may("high", Float, "High in USD", **ZERO_UP),
    may("low", Float, "Low in USD", **ZERO_UP),
    must("close", Float, "Close in USD", **ZERO_UP),
    may("volume_usd", Float, "Volume in USD", **ZERO_UP),
    may("market_cap_usd", Float, "Market capitalisation in USD, null when the vendor says 0", **ZERO_UP),
    must("fetched_at", UtcDateTime, "The transport's stamp"),
    Index(None, "date"),
)
coin_markets = table(
    "coin_markets",
    "CoinGecko's rolling 24 hours at the end of the day: a snapshot, not a bar",
    key("date", Date, "Partition"),
    key("instrument_id", Text, "Instrument"),
    must("coingecko_id", Text, "CoinGecko id"),
    may("price_usd", Float, "Current price in USD", **ZERO_UP),
    may("market_cap_usd", Float, "Market capitalisation in USD, null when the vendor says 0", **ZERO_UP),
    may("volume_24h_usd", Float, "Volume of the last 24 hours in USD", **ZERO_UP),
    may("high_24h_usd", Float, "High of the last 24 hours in USD", **ZERO_UP),
    may("low_24h_usd", Float, "Low of the last 24 hours in USD", **ZERO_UP),
    may("updated_at", UtcDateTime, "When the vendor last updated the row"),
    must("fetched_at", UtcDateTime, "The transport's stamp"),
)
closes_defillama = table(
    "closes_defillama",
    "Daily closes by token address as DeFiLlama coins tells them",
    key("instrument_id", Text, "Instrument"),
    key("interval", Text, "1d"),
    key("ts", UtcDateTime, "Start of the UTC day of the close"),
    must("date", Date, "UTC day of the close"),
    must("close", Float, "Last price of the day in USD", **ZERO_UP),
    may("confidence", Float, "Vendor's confidence; 0 means assumed", **SHARE),
    may("symbol", Text, "Symbol as claimed"),
    may("decimals", Integer, "Decimals as claimed"),
    must("fetched_at", UtcDateTime, "The transport's stamp"),
    Index(None, "date"),
)
daily_bars = table(
    "daily_bars",
    "Curated daily bars: one vendor per row by priority",
    key("instrument_id", Text, "Instrument"),
    key("date", Date, "UTC day"),
    may("open", Float, "Open in USD", **ZERO_UP),
    may("high", Float, "High in USD", **ZERO_UP),
    may("low", Float, "Low in USD", **ZERO_UP),
    must("close", Float, "Close in USD", **ZERO_UP),
    must("adj_factor", Float, "Factor for splits and dividends; 1 for tokens", **ZERO_UP),
    may("volume_usd", Float, "Volume in USD", **ZERO_UP),
    may("volume_units", Float, "Volume in units", **ZERO_UP),
    may("volume_source", Text, "Vendor of the volume"),
    may("market_cap_usd", Float, "Market capitalisation in USD", **ZERO_UP),
    must("source", Text, "Vendor of the prices"),
    must(
        "quality",
        Text,
        "How much of a bar it is",
        isin=["full", "partial", "close_only", "snapshot", "masked_gap", "assumed"],
    ),
    Index(None, "date"),
)
macro_series = table(
    "macro_series",
    "Macro observations by vintage",
    key("series_id", Text, "FRED series"),
    key("date", Date, "Observation date"),
    key("vintage", Date, "Known since"),
    may("value", Float, "Value in the series' unit"),
    must("unit", Text, "Unit as FRED states it"),
    must("frequency", Text, "Frequency as FRED states it"),
    must("is_vintage_assumed", Boolean, "Vintage is observation date plus publication lag"),
    must("fetched_at", UtcDateTime, "The transport's stamp"),
    day="vintage",
)

# --- gas -----------------------------------------------------------------------------------------------------------
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

# --- selection -----------------------------------------------------------------------------------------------------
VERDICT = (
    ("is_passed", Boolean, "Verdict"),
    ("reason_codes", Text, "Reasons against, comma separated codes; empty when passed"),
    ("warning_codes", Text, "Doubts that do not bar, comma separated codes"),
    ("reasons", Text, "Reasons and doubts in words"),
)
prefiltered_pools = table(
    "prefiltered_pools",
    "Every active pool with verdict and all reasons of the pre-filter",
    key("date", Date, "Partition"),
    key("pool_id", Text, "Pool"),
    *[must(name, type_, text) for name, type_, text in VERDICT],
    must("chain", Text, "Chain"),
    must("protocol", Text, "Protocol slug after alias resolution"),
    must("symbol", Text, "Symbol for display only"),
    may("role", Text, "lend, vault, staking, liquidity, or why it is no dollar pool"),
    must("underlying_addresses_json", Text, "Resolved underlying addresses, JSON list; complete or []"),
    must("underlying_symbols", Text, "Our symbols of the underlyings, joined by +; display only"),
    may("size_usd", Float, "Supply where known, else TVL", **ZERO_UP),
    must("is_size_lower_bound", Boolean, "Only TVL is known"),
    must("exit_days", Integer, "Days to leave", ge=0),
    may("maturity", Date, "Maturity, if any"),
)
icebox_events = table(
    "icebox_events",
    "Tokens entering and leaving the icebox, and premium alerts",
    key("date", Date, "Partition"),
    key("chain", Text, "Chain"),
    key("address", Text, "Token address, lower case"),
    key("kind", Text, "enter, leave, override_in, override_out, premium_alert or checked (the day was looked at)"),
    must("symbol", Text, "Symbol for display"),
    must("reason_codes", Text, "LOW, CLOSE, NO_PRICE, MANUAL, PREMIUM …"),
    must("reason", Text, "In words with the figures"),
    may("grade", Integer, "Strength of an alert: multiple of the band, rounded down; checked: tokens barred"),
)
icebox = table(
    "icebox",
    "Tokens barred at the end of the day",
    key("date", Date, "Partition"),
    key("chain", Text, "Chain"),
    key("address", Text, "Token address, lower case"),
    must("symbol", Text, "Symbol for display"),
    must("since", Date, "Day of entry"),
    must("reason_codes", Text, "Why it entered"),
    must("reason", Text, "In words"),
    may("reference_price", Float, "1 for usd tokens, running maximum for accruing ones"),
    may("last_low", Float, "Low of the day in USD (close where there is no low)"),
    may("last_close", Float, "Close of the day in USD"),
    must("good_lows", Integer, "Consecutive days with a good low", ge=0),
    must("good_closes", Integer, "Consecutive good closes", ge=0),
    must("is_manual", Boolean, "Barred by an override"),
)
eligible_pools = table(
    "eligible_pools",
    "Every pre-filtered or held pool with the final verdict",
    key("date", Date, "Partition"),
    key("pool_id", Text, "Pool"),
    *[must(name, type_, text) for name, type_, text in VERDICT],
    must("is_held", Boolean, "We have a position"),
    must("is_exit_only", Boolean, "Held, no longer eligible: keep or leave, never increase"),
    must("is_must_exit", Boolean, "Held and has to be left: blacklisted token or removed protocol"),
    must("chain", Text, "Chain"),
    must("protocol", Text, "Protocol slug"),
    must("symbol", Text, "Symbol for display only"),
    may("role", Text, "lend, vault, staking, liquidity"),
    must("underlying_addresses_json", Text, "Underlying addresses, JSON list"),
    may("size_usd", Float, "Observed size", **ZERO_UP),
    may("total_supply_usd", Float, "Supply where known", **ZERO_UP),
    may("total_borrow_usd", Float, "Borrow where known", **ZERO_UP),
    must("is_size_lower_bound", Boolean, "Only TVL is known"),
    may("pool_group", Integer, "Risk group"),
    may("forecast_apy", Float, "Forecast of total APY over the policy's horizon, fraction"),
    may("last_apy", Float, "Last observed total APY, fraction"),
    must("exit_days", Integer, "Days to leave", ge=0),
    may("age_days", Integer, "Days since the first known point"),
)

# --- forecasts -----------------------------------------------------------------------------------------------------
pool_forecasts = table(
    "pool_forecasts",
    "Forecast vintages; never overwritten by a run of another day",
    key("pool_id", Text, "Pool"),
    key("as_of", Date, "Partition"),
    key("horizon_days", Integer, "Days ahead; the value is the mean over the horizon"),
    key("target", Text, "apy, apy_base, apy_reward (fractions) or tvl_usd"),
    must("mean", Float, "Expected mean over the horizon", **ZERO_UP),
    must("p10", Float, "10 % quantile", **ZERO_UP),
    must("p50", Float, "Median", **ZERO_UP),
    must("p90", Float, "90 % quantile", **ZERO_UP),
    must("model", Text, "Model"),
    must("model_version", Text, "Version of the model"),
    must("trained_from", Date, "First day used"),
    must("trained_to", Date, "Last day used"),
    must("n_obs", Integer, "Days used", ge=1),
    may("fallback_reason", Text, "Why a simpler model was used"),
    must("is_hindsight", Boolean, "Rests on values seen after the day's cutoff"),
    Index(None, "as_of"),
    day="as_of",
)
forecast_scores = table(
    "forecast_scores",
    "What the forecasts that fell due on the day were worth",
    key("date", Date, "Partition: last day of the horizon"),
    key("pool_id", Text, "Pool, or GAS"),
    key("horizon_days", Integer, "Days ahead"),
    key("target", Text, "apy, apy_base, apy_reward, tvl_usd; for GAS base_fee_gwei or gas_price_gwei"),
    must("as_of", Date, "Vintage that is scored"),
    must("model", Text, "Model"),
    must("forecast", Float, "Forecast mean"),
    must("actual", Float, "Mean of what happened"),
    must("naive", Float, "The last value known at as_of"),
    must("absolute_error", Float, "|forecast - actual|", **ZERO_UP),
    must("naive_absolute_error", Float, "|naive - actual|", **ZERO_UP),
    must("error", Float, "forecast - actual"),
    must("is_covered", Boolean, "p10 <= actual <= p90"),
    must("pinball_loss", Float, "Mean pinball loss over p10, p50, p90", **ZERO_UP),
)

# --- ledger --------------------------------------------------------------------------------------------------------
account_transactions = table(
    "account_transactions",
    "Everything that moved value in or out of our wallets, or cost gas",
    key("chain_id", Integer, "EVM chain id"),
    key("tx_hash", Text, "Transaction, lower case"),
    key("kind", Text, "native, internal, token or gas"),
    key("ordinal", Integer, "Rank by (token, from, to, value) within transaction and kind"),
    must("date", Date, "UTC day of the block"),
    must("block_number", Integer, "Block", ge=0),
    must("block_time", UtcDateTime, "Time of the block"),
    must("from_address", Text, "Sender, lower case"),
    must("to_address", Text, "Receiver, lower case; empty for contract creation"),
    must("token_address", Text, "Token, lower case; 'native' for ETH"),
    must("value", BaseUnits, "Base units"),
    must("decimals", Integer, "Decimals as the vendor claims", ge=0, le=255),
    may("symbol_claimed", Text, "Symbol as the token claims; display only, hostile"),
    must("is_success", Boolean, "False: reverted, gas only"),
    may("gas_used", BaseUnits, "Gas used by the transaction"),
    may("gas_price_wei", BaseUnits, "Effective gas price in wei"),
    may("function_name", Text, "Called function as the vendor tells it; display only"),
    must("source", Text, "Vendor"),
    Index(None, "date"),
)
account_cursors = table(
    "account_cursors",
    "How far each wallet's history has been read",
    key("chain_id", Integer, "EVM chain id"),
    key("wallet", Text, "Wallet address, lower case"),
    key("kind", Text, "native, internal or token"),
    key("read_through", Date, "Last complete day read"),
    must("last_block", Integer, "Highest block read", ge=0),
    day=None,
)
chain_balances = table(
    "chain_balances",
    "Balances as the chain tells them at the end of the day, to reconcile against",
    key("date", Date, "Partition"),
    key("chain_id", Integer, "EVM chain id"),
    key("wallet", Text, "Wallet address, lower case"),
    key("token_address", Text, "Token, lower case; 'native' for ETH"),
    must("balance", BaseUnits, "Base units"),
    must("decimals", Integer, "Decimals as the vendor claims", ge=0, le=255),
    must("source", Text, "Vendor"),
    must("observed_at", UtcDateTime, "The transport's stamp"),
)
ledger_postings = table(
    "ledger_postings",
    "Double entry over chain transfers; the legs of a transaction sum to zero per token",
    key("chain_id", Integer, "EVM chain id"),
    key("tx_hash", Text, "Transaction"),
    key("kind", Text, "native, internal, token, gas, or accrual"),
    key("ordinal", Integer, "Rank within transaction and kind"),
    key("leg", Integer, "0, 1 …"),
    must("date", Date, "UTC day of the block"),
    must("block_number", Integer, "Block"),
    must("block_time", UtcDateTime, "Time of the block"),
    must("account", Text, "Account, such as assets:wallet:<address>"),
    may("wallet", Text, "Wallet that an asset or income leg belongs to, lower case; null for equity and expenses"),
    must("token_address", Text, "Token, lower case; 'native' for ETH"),
    must("amount", BaseUnits, "Signed base units"),
    must("decimals", Integer, "Decimals", ge=0, le=255),
    may("valued_usd", ExactDecimal, "Value at the day's close; 0 for untrusted tokens"),
    must("classification", Text, "What the transaction was"),
    may("pool_id", Text, "Pool, where one is involved"),
    must("is_pending", Boolean, "Not deep enough in the chain; will be replaced"),
    may("corrects", Text, "Posting that this one corrects"),
    Index(None, "date"),
)
daily_balances = table(
    "daily_balances",
    "What each wallet holds at the end of the day",
    key("date", Date, "Partition"),
    key("chain_id", Integer, "EVM chain id"),
    key("wallet", Text, "Wallet address, lower case"),
    key("token_address", Text, "Token, lower case; 'native' for ETH"),
    must("balance", BaseUnits, "Base units"),
    must("decimals", Integer, "Decimals", ge=0, le=255),
    may("symbol", Text, "Our symbol, null for untrusted tokens"),
    may("price_usd", ExactDecimal, "Close of the day; null for untrusted tokens"),
    must("value_usd", ExactDecimal, "Balance times price; 0 for untrusted tokens"),
    must("is_trusted", Boolean, "Token is on the approved list or native"),
)
pool_positions = table(
    "pool_positions",
    "What we hold in each pool at the end of the day, one row per underlying token",
    key("date", Date, "Partition"),
    key("chain_id", Integer, "EVM chain id"),
    key("wallet", Text, "Wallet address, lower case"),
    key("pool_id", Text, "Pool"),
    key("token_address", Text, "Underlying token, lower case"),
    must("share_token", Text, "Share token, lower case"),
    must("shares", BaseUnits, "Shares held, base units"),
    must("exchange_rate", ExactDecimal, "Underlying base units per share base unit"),
    must("rate_source", Text, "mint_ratio, apy_growth or chain"),
    must("rate_age_days", Integer, "Days since the rate was last seen on chain", ge=0),
    must("underlying_amount", BaseUnits, "Underlying base units"),
    must("decimals", Integer, "Decimals of the underlying", ge=0, le=255),
    may("price_usd", ExactDecimal, "Close of the underlying"),
    must("value_usd", ExactDecimal, "Underlying times price"),
)
nav_daily = table(
    "nav_daily",
    "Net asset value and what moved it",
    key("date", Date, "Partition"),
    must("nav_usd", ExactDecimal, "Everything that we hold"),
    must("wallets_usd", ExactDecimal, "Stablecoins and other trusted tokens in wallets"),
    must("pools_usd", ExactDecimal, "Positions in pools"),
    must("eth_usd", ExactDecimal, "ETH in wallets"),
    must("flows_usd", ExactDecimal, "Capital in minus capital out"),
    must("income_usd", ExactDecimal, "Yield and rewards"),
    must("expenses_usd", ExactDecimal, "Gas and conversion cost"),
    must("price_change_usd", ExactDecimal, "Change of prices on what was held"),
    must("unexplained_usd", ExactDecimal, "Moves that nobody explained"),
    may("return_1d", Float, "Time-weighted return of the day, fraction"),
    may("return_mtd", Float, "Time-weighted return, month to date, fraction"),
    may("return_ytd", Float, "Time-weighted return, year to date, fraction"),
    may("realised_yield_1d", Float, "Income over opening NAV, fraction"),
    must("idle_share", Float, "Share of NAV that is in no pool", **SHARE),
)
yield_attribution = table(
    "yield_attribution",
    "What each held pool promised, what we expected and what it really earned",
    key("date", Date, "Partition"),
    key("pool_id", Text, "Pool"),
    may("advertised_apy", Float, "APY that the vendor advertised for the day before, fraction"),
    may("forecast_apy", Float, "Forecast when we decided, fraction"),
    may("realised_apy", Float, "Realised return of the day, annualised by compounding, fraction"),
    must("opening_usd", ExactDecimal, "Position at the start of the day"),
    must("income_usd", ExactDecimal, "Yield of the day"),
    may("gap_rate", Float, "Part of realised minus forecast from the rate, fraction"),
    may("gap_dilution", Float, "Part from our own size, fraction"),
    may("gap_price", Float, "Part from prices, fraction"),
    may("gap_cost", Float, "Part from costs, fraction"),
)

# --- allocation ----------------------------------------------------------------------------------------------------
allocation_runs = table(
    "allocation_runs",
    "One row per plan: what it promises, what it costs, how sure the solver is",
    key("run_id", Text, "Day, policy hash and input hash"),
    must("date", Date, "Partition"),
    must(
        "status", Text, "What came out", isin=["optimal", "hold", "infeasible", "no_capital", "no_pools", "unverified"]
    ),
    must("message", Text, "The outcome in words; for infeasible days the smallest relaxation"),
    must("policy_hash", Text, "Policy"),
    must("input_hash", Text, "All other inputs"),
    must("objective", Text, "expected, robust or profit"),
    must("method", Text, "milp or lp"),
    must("horizon_days", Integer, "Horizon", ge=1),
    must("aum_usd", ExactDecimal, "Investable capital: wallet and positions"),
    must("eth_balance_wei", BaseUnits, "ETH that pays for gas"),
    must("gain_usd", ExactDecimal, "Expected gain over the horizon of the plan, after costs"),
    must("hold_gain_usd", ExactDecimal, "Expected gain over the horizon of doing nothing"),
    must("gas_usd", ExactDecimal, "Gas of all steps"),
    must("conversion_usd", ExactDecimal, "Conversion cost of all steps"),
    must("projected_apy", Float, "Expected APY on all AUM, idle cash at 0, before costs, fraction"),
    must("projected_apy_net", Float, "The same after costs spread over the horizon, fraction"),
    must("hold_apy", Float, "APY on all AUM of doing nothing, fraction"),
    may("break_even_days", Float, "Days until the costs are earned back against doing nothing"),
    must("turnover", Float, "Moved value over AUM, fraction", **ZERO_UP),
    must("n_pools", Integer, "Pools held at the end"),
    must("n_steps", Integer, "Transactions to send"),
    may("solver", Text, "First solver and version"),
    may("solver_status", Text, "Its status"),
    may("solver_objective", Float, "Its objective in USD"),
    may("solver_bound", Float, "Its bound in USD"),
    may("solver_gap", Float, "Absolute gap in USD"),
    may("solver_seconds", Float, "Its seconds"),
    may("second_solver", Text, "Second solver and version"),
    may("second_objective", Float, "Its objective in USD"),
    may("second_bound", Float, "Its bound in USD"),
    may("verified_by", Text, "objective or bound"),
    must("assumed_prices_json", Text, "Tokens whose price is assumed, JSON list"),
    Index(None, "date"),
)
allocations = table(
    "allocations",
    "What the plan holds in each pool, and why; pools left out carry the reason",
    key("run_id", Text, "Plan"),
    key("pool_id", Text, "Pool, or IDLE for cash"),
    key("token_address", Text, "Underlying token, lower case"),
    must("date", Date, "Partition"),
    must("amount", BaseUnits, "Base units held after the plan"),
    must("amount_before", BaseUnits, "Base units held before the plan"),
    must("decimals", Integer, "Decimals", ge=0, le=255),
    must("value_usd", ExactDecimal, "Value at the close"),
    must("share_of_aum", Float, "Fraction of AUM", **ZERO_UP),
    may("forecast_apy", Float, "Forecast APY before our own deposit, fraction"),
    may("diluted_apy", Float, "Forecast APY after our own deposit, fraction"),
    may("pool_group", Integer, "Risk group"),
    must("is_price_assumed", Boolean, "The value rests on an assumed price"),
    must(
        "action", Text, "What the plan does", isin=["hold", "increase", "decrease", "exit", "enter", "left_out", "idle"]
    ),
    must("why", Text, "Binding limit, next best pool, or why left out"),
    Index(None, "date"),
)
allocation_steps = table(
    "allocation_steps",
    "Transactions in executable order; nothing is spent before it is there",
    key("run_id", Text, "Plan"),
    key("seq", Integer, "Order, from 1"),
    key("leg", Integer, "0 for the first token, 1 … for the further tokens of a multi-token pool"),
    must("date", Date, "Partition"),
    must("step_type", Text, "What to do", isin=["HOLD", "WITHDRAW", "CONVERT", "DEPOSIT"]),
    must("wallet", Text, "Wallet that acts, lower case"),
    may("pool_id", Text, "Pool; null for CONVERT"),
    may("token_in", Text, "Token that leaves the wallet or, for HOLD, is held; null for WITHDRAW"),
    may("amount_in", BaseUnits, "Base units that leave the wallet (HOLD: that stay in the pool)"),
    may("token_out", Text, "Token that arrives in the wallet; null for DEPOSIT and HOLD"),
    may("amount_out", BaseUnits, "Base units that arrive in the wallet"),
    must("is_full_exit", Boolean, "WITHDRAW: burn all shares"),
    must("value_usd", ExactDecimal, "Value moved at the close"),
    must("gas_units", Integer, "Gas of the step, approvals included; 0 on legs after the first", ge=0),
    must("gas_usd", ExactDecimal, "Gas cost of the step"),
    must("conversion_usd", ExactDecimal, "Conversion cost of the step"),
    Index(None, "date"),
)
plan_executions = table(
    "plan_executions",
    "What became of a plan in a closed loop; a live market only gets advice",
    key("date", Date, "Partition whose plan was executed"),
    must("run_id", Text, "Plan"),
    must("status", Text, "What happened", isin=["executed", "nothing_to_do", "advice_only", "not_published"]),
    must("n_transactions", Integer, "Transactions sent, approvals included", ge=0),
    must("message", Text, "In words"),
)

# --- reporting -----------------------------------------------------------------------------------------------------
daily_report = table(
    "daily_report",
    "The page that the analyst reads in the morning",
    key("date", Date, "Partition"),
    must("run_id", Text, "Plan"),
    must("title", Text, "Headline"),
    must("markdown", Text, "Report as Markdown"),
    must("html", Text, "Report as one self-contained page"),
)
slack_notification = table(
    "slack_notification",
    "What was said to Slack, or to the local sink",
    key("date", Date, "Partition"),
    must("text", Text, "Message"),
    must("blocks_json", Text, "Blocks as canonical JSON"),
    must("sink", Text, "Where it went", isin=["slack", "local"]),
    must("status", Text, "Answer of the sink"),
)
