"""In what unit a column's figures are, by its name and its description: what the UI and the documentation show.

Lives here: units. Not here: what a cell must be (validation.py), the tables and their descriptions (schema/).
"""

import re
from typing import Any

import sqlalchemy as sa

from defiyield_assets.domain.market.features.registry import INTRADAY_METRICS, METRICS
from defiyield_assets.store.types import BaseUnits, ExactDecimal, UtcDateTime

FRACTION, YEARLY, COUNT, CURRENCY = "fraction", "fraction a year", "count", "currency of the account"
USD, OF_TARGET, RATIO, GAS = "USD", "of its target: fraction a year, USD or gwei", "ratio", "units of gas"
OF_METRICS = {metric.name: USD if metric.unit == "usd" else metric.unit for metric in (*METRICS, *INTRADAY_METRICS)}
OF_TARGETS = frozenset(
    {
        *("pool_forecasts", "forecast_candidates", "forecast_evaluations", "costly_candidates", "forecast_scores"),
        *("forecast_score_sums", "forecast_scoreboard"),
    }
)
"""Tables whose figures have the unit of their row's target."""
OF_GAS = frozenset({"gas_forecasts", "gas_candidates"})
OF_ACCOUNTS = frozenset({"paper_orders", "paper_trades", "paper_portfolio", "backtest_trades", "equity_curves"})
"""Tables of accounts that are kept in a currency of their own."""

ONLY_HERE = {
    ("account_transactions", "gas_used"): GAS,
    ("allocation_limits", "gain_per_usd"): "USD per USD",
    ("allocation_runs", "n_steps"): COUNT,
    ("allocation_runs", "turnover"): FRACTION,
    ("allocation_steps", "gas_units"): GAS,
    ("backtest_results", "turnover"): RATIO,
    ("closes_defillama", "confidence"): FRACTION,
    ("corporate_actions", "value"): "new shares for an old one, or USD per share",
    ("csv_imports", "rows_read"): "rows",
    ("feature_state", "ewma_variance"): "squared logarithm of a ratio",
    ("feature_state", "first_factor"): RATIO,
    ("feature_state", "psar_factor"): RATIO,
    ("feature_targets", "forward_log_return"): "logarithm of a ratio",
    ("feature_targets", "horizon_days"): "bars",
    ("forecast_evaluations", "p_value"): "probability",
    ("gas_hour_profiles", "p10"): RATIO,
    ("gas_hour_profiles", "p90"): RATIO,
    ("gas_hour_profiles", "p_value"): "probability",
    ("gas_hour_profiles", "hour"): "hour of the UTC day",
    ("icebox", "reference_price"): USD,
    ("icebox", "last_low"): USD,
    ("icebox", "last_close"): USD,
    ("icebox_events", "grade"): "multiple of the band",
    ("ledger_closings", "transactions"): "rows",
    ("macro_series", "value"): "of the series (column unit)",
    ("market_events", "expected"): "of the event (column unit)",
    ("market_events", "actual"): "of the event (column unit)",
    ("market_events", "surprise"): "of the event (column unit)",
    ("news_sentiment", "window_hours"): "hours",
    ("observations", "value"): "of the metric: USD, units or rank",
    ("ohlcv_alpha_vantage", "dividend"): "USD per share",
    ("ohlcv_alpha_vantage", "split_coefficient"): RATIO,
    ("paper_trades", "return"): FRACTION,
    ("backtest_trades", "return"): FRACTION,
    ("equity_curves", "drawdown"): FRACTION,
    ("pool_positions", "exchange_rate"): "base units of the underlying per base unit of the share",
    ("raw_fetches", "attempts"): COUNT,
    ("slack_messages", "attempts"): COUNT,
    ("slack_alerts", "repeats"): COUNT,
    ("raw_fetches", "rows"): "rows",
    ("regime_performance", "return"): FRACTION,
    ("scenario_paths", "rate_shift"): YEARLY,
    ("scenario_paths", "spread_multiplier"): RATIO,
    ("scenario_paths", "volume"): "units",
    ("vendor_usage", "calls"): COUNT,
}
"""(table, column) -> unit, where the name alone does not tell."""

PATTERNS = tuple(
    (re.compile(pattern), unit)
    for pattern, unit in (
        (r"(^|_)bars(_|$)|^n_warm_up$|^n_steps$", "bars"),
        (r"_streak$", "trades"),
        (r"^(deflated_sharpe|pbo|p_calm|p_normal|p_turbulent)$", "probability"),
        (r"_usd$", USD),
        (r"_gwei$", "gwei"),
        (r"_wei$", "wei"),
        (r"_days$", "days"),
        (r"_seconds$", "seconds"),
        (r"_units$", "units"),
        (r"^n_|^transactions$", COUNT),
        (r"^(solver|second)_(objective|bound|gap)$", USD),
        (r"(^|_)(apy|volatility)(_|$)|annualised_return|_yield$|^gap_", YEARLY),
        (r"sharpe_percentile|_percentile$|^score$|^consistency$|^dispersion$|_share$|^share_|^utilisation$", FRACTION),
        (r"sharpe|^sortino$|^calmar$|^hurdle$", "ratio, a year"),
        (r"^(recovery_factor|omega|tail_ratio|profit_factor|payoff|sqn|beta|efficiency|ratio|mase)$", RATIO),
        (r"return|yield_|drawdown|_var_|^c?var_|^kelly$|expectancy|^best_trade$|^worst_trade$|^win_rate$", FRACTION),
        (r"^(skill|skill_30d|coverage|saving|confidence|time_in_market|mean_exposure|ulcer_index)$", FRACTION),
        (r"^tvl_change_|surprise_fraction|^il_7d$|_score$|^combined$", FRACTION),
        (r"^good_(lows|closes)$|^n_obs$", "days"),
        (r"^(adj|split)_factor$|^price_scale$|^first_factor$", RATIO),
        (r"^bytes$", "bytes"),
        (r"^rows_", "rows"),
        (r"^periods_per_year$", "bars a year"),
    )
)

WITHOUT = frozenset(
    {
        *("block_number", "chain_id", "cmc_id", "decimals", "episode", "fetch_id", "final_block", "generator_version"),
        *(
            "last_block",
            "leg",
            "number",
            "ordinal",
            "part",
            "point",
            "pool_group",
            "psar_is_long",
            "rank",
            "restored_from",
            "revision",
            "row_number",
            "rule",
        ),
        *("seed", "seq", "share_decimals", "status", "step", "version"),
    }
)
"""Numbers that name or order something, and a flag among figures: they have no unit."""
PRICES = frozenset({"open", "high", "low", "close", "adjusted_close", "stop_loss_price", "target_price", "stop_price"})
STATE_OF_FEATURES = "of the metric that it goes on with"


def unit_of(column: sa.Column[Any]) -> str | None:
    """The unit of a column's figures; None for text, flags, days, and numbers that only name or order something."""
    if isinstance(column.type, UtcDateTime):
        return "UTC"
    if isinstance(column.type, BaseUnits):
        named = "wei" if column.name.endswith("_wei") else "base units"
        return ONLY_HERE.get((column.table.name, column.name), named)
    if isinstance(column.type, sa.Boolean) or not isinstance(
        column.type, sa.Integer | sa.BigInteger | sa.Float | ExactDecimal
    ):
        return None
    return _unit_of_number(column.table.name, column.name)


def _unit_of_number(table: str, name: str) -> str | None:
    if (table, name) in ONLY_HERE:
        return ONLY_HERE[table, name]
    if name in WITHOUT:
        return None
    if table in ("daily_features", "intraday_features", "scenario_metrics") and name in OF_METRICS:
        return OF_METRICS[name]
    if table == "feature_state" and name != "adj_factor":
        return "bars" if name.startswith("n_") else STATE_OF_FEATURES
    if table == "news_votes":
        return "votes"
    if table == "backtest_results" and name in ("fees", "borrow_cost"):
        return CURRENCY
    found = next((unit for pattern, unit in PATTERNS if pattern.search(name)), None)
    if found is not None:
        return found
    if table in OF_GAS:
        return "gwei"
    if table in OF_TARGETS:
        return OF_TARGET
    if table in OF_ACCOUNTS:
        return "units" if name == "quantity" else CURRENCY
    if table == "ohlcv_csv" and name in PRICES:
        return "quotes of the file"
    return USD if name in PRICES else None


def with_unit(description: str, unit: str | None) -> str:
    """A description that tells its unit, told once."""
    if unit is None or re.search(rf"(?<!\w){re.escape(unit)}(?!\w)", description, re.IGNORECASE):
        return description
    if unit == YEARLY and description.endswith(f", {FRACTION}"):
        return f"{description.removesuffix(FRACTION)}{YEARLY}"
    return f"{description} ({unit})"
