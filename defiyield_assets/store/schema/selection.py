"""The icebox and the filters with their reasons.

Lives here: tables of which tokens and pools may be used. Not here: SQL (store/reads.py, writes.py).
"""

from sqlalchemy import Boolean, Date, Float, Integer, Text

from defiyield_assets.store.schema.columns import ZERO_UP, key, may, must, table

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
