"""Plans, their steps and what became of them.

Lives here: tables of plans. Not here: SQL (store/reads.py, writes.py).
"""

from sqlalchemy import Boolean, Date, Float, Index, Integer, Text

from defiyield_assets.store.schema.columns import ZERO_UP, key, may, must, table
from defiyield_assets.store.types import BaseUnits, ExactDecimal

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
