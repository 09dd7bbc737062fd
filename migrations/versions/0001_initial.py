"""Revision 0001: initial.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human.
"""

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import BaseUnits, ExactDecimal, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "account_cursors",
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("wallet", sa.Text(), nullable=False, comment="Wallet address, lower case"),
        sa.Column("kind", sa.Text(), nullable=False, comment="native, internal or token"),
        sa.Column("last_block", sa.Integer(), nullable=False, comment="Highest block read"),
        sa.Column("read_through", sa.Date(), nullable=False, comment="Last complete day read"),
        sa.PrimaryKeyConstraint("chain_id", "wallet", "kind", name=op.f("pk_account_cursors")),
        comment="How far each wallet's history has been read",
    )
    op.create_table(
        "account_transactions",
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("tx_hash", sa.Text(), nullable=False, comment="Transaction, lower case"),
        sa.Column("kind", sa.Text(), nullable=False, comment="native, internal, token or gas"),
        sa.Column(
            "ordinal",
            sa.Integer(),
            nullable=False,
            comment="Rank by (token, from, to, value) within transaction and kind",
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the block"),
        sa.Column("block_number", sa.Integer(), nullable=False, comment="Block"),
        sa.Column("block_time", UtcDateTime(), nullable=False, comment="Time of the block"),
        sa.Column("from_address", sa.Text(), nullable=False, comment="Sender, lower case"),
        sa.Column("to_address", sa.Text(), nullable=False, comment="Receiver, lower case; empty for contract creation"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("value", BaseUnits(), nullable=False, comment="Base units"),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals as the vendor claims"),
        sa.Column(
            "symbol_claimed", sa.Text(), nullable=True, comment="Symbol as the token claims; display only, hostile"
        ),
        sa.Column("is_success", sa.Boolean(), nullable=False, comment="False: reverted, gas only"),
        sa.Column("gas_used", BaseUnits(), nullable=True, comment="Gas used by the transaction"),
        sa.Column("gas_price_wei", BaseUnits(), nullable=True, comment="Effective gas price in wei"),
        sa.Column(
            "function_name", sa.Text(), nullable=True, comment="Called function as the vendor tells it; display only"
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor"),
        sa.PrimaryKeyConstraint("chain_id", "tx_hash", "kind", "ordinal", name=op.f("pk_account_transactions")),
        comment="Everything that moved value in or out of our wallets, or cost gas",
    )
    op.create_index(op.f("ix_account_transactions_date"), "account_transactions", ["date"], unique=False)
    op.create_table(
        "allocation_runs",
        sa.Column("run_id", sa.Text(), nullable=False, comment="Day, policy hash and input hash"),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("status", sa.Text(), nullable=False, comment="What came out"),
        sa.Column(
            "message",
            sa.Text(),
            nullable=False,
            comment="The outcome in words; for infeasible days the smallest relaxation",
        ),
        sa.Column("policy_hash", sa.Text(), nullable=False, comment="Policy"),
        sa.Column("input_hash", sa.Text(), nullable=False, comment="All other inputs"),
        sa.Column("objective", sa.Text(), nullable=False, comment="expected, robust or profit"),
        sa.Column("method", sa.Text(), nullable=False, comment="milp or lp"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Horizon"),
        sa.Column("aum_usd", ExactDecimal(), nullable=False, comment="Investable capital: wallet and positions"),
        sa.Column("eth_balance_wei", BaseUnits(), nullable=False, comment="ETH that pays for gas"),
        sa.Column(
            "gain_usd",
            ExactDecimal(),
            nullable=False,
            comment="Expected gain over the horizon of the plan, after costs",
        ),
        sa.Column(
            "hold_gain_usd", ExactDecimal(), nullable=False, comment="Expected gain over the horizon of doing nothing"
        ),
        sa.Column("gas_usd", ExactDecimal(), nullable=False, comment="Gas of all steps"),
        sa.Column("conversion_usd", ExactDecimal(), nullable=False, comment="Conversion cost of all steps"),
        sa.Column(
            "projected_apy",
            sa.Float(),
            nullable=False,
            comment="Expected APY on all AUM, idle cash at 0, before costs, fraction",
        ),
        sa.Column(
            "projected_apy_net",
            sa.Float(),
            nullable=False,
            comment="The same after costs spread over the horizon, fraction",
        ),
        sa.Column("hold_apy", sa.Float(), nullable=False, comment="APY on all AUM of doing nothing, fraction"),
        sa.Column(
            "break_even_days",
            sa.Float(),
            nullable=True,
            comment="Days until the costs are earned back against doing nothing",
        ),
        sa.Column("turnover", sa.Float(), nullable=False, comment="Moved value over AUM, fraction"),
        sa.Column("n_pools", sa.Integer(), nullable=False, comment="Pools held at the end"),
        sa.Column("n_steps", sa.Integer(), nullable=False, comment="Transactions to send"),
        sa.Column("solver", sa.Text(), nullable=True, comment="First solver and version"),
        sa.Column("solver_status", sa.Text(), nullable=True, comment="Its status"),
        sa.Column("solver_objective", sa.Float(), nullable=True, comment="Its objective in USD"),
        sa.Column("solver_bound", sa.Float(), nullable=True, comment="Its bound in USD"),
        sa.Column("solver_gap", sa.Float(), nullable=True, comment="Absolute gap in USD"),
        sa.Column("solver_seconds", sa.Float(), nullable=True, comment="Its seconds"),
        sa.Column("second_solver", sa.Text(), nullable=True, comment="Second solver and version"),
        sa.Column("second_objective", sa.Float(), nullable=True, comment="Its objective in USD"),
        sa.Column("second_bound", sa.Float(), nullable=True, comment="Its bound in USD"),
        sa.Column("verified_by", sa.Text(), nullable=True, comment="objective or bound"),
        sa.Column("assumed_prices_json", sa.Text(), nullable=False, comment="Tokens whose price is assumed, JSON list"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_allocation_runs")),
        comment="One row per plan: what it promises, what it costs, how sure the solver is",
    )
    op.create_index(op.f("ix_allocation_runs_date"), "allocation_runs", ["date"], unique=False)
    op.create_table(
        "allocation_snapshot",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("allocation_hash", sa.Text(), nullable=False, comment="SHA-256 of the lists and the policy hash"),
        sa.Column("policy_hash", sa.Text(), nullable=False, comment="Policy that it rests on"),
        sa.Column(
            "allowed_tokens_json", sa.Text(), nullable=False, comment="Addresses (chain:address) that may be bought"
        ),
        sa.Column(
            "barred_tokens_json",
            sa.Text(),
            nullable=False,
            comment="Addresses (chain:address) in the icebox or blacklisted, with the reason",
        ),
        sa.Column("parameters_json", sa.Text(), nullable=False, comment="Parameters as canonical JSON"),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_allocation_snapshot")),
        comment="The effective lists of the day once the icebox has spoken",
    )
    op.create_table(
        "allocation_steps",
        sa.Column("run_id", sa.Text(), nullable=False, comment="Plan"),
        sa.Column("seq", sa.Integer(), nullable=False, comment="Order, from 1"),
        sa.Column(
            "leg",
            sa.Integer(),
            nullable=False,
            comment="0 for the first token, 1 … for the further tokens of a multi-token pool",
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("step_type", sa.Text(), nullable=False, comment="What to do"),
        sa.Column("wallet", sa.Text(), nullable=False, comment="Wallet that acts, lower case"),
        sa.Column("pool_id", sa.Text(), nullable=True, comment="Pool; null for CONVERT"),
        sa.Column(
            "token_in",
            sa.Text(),
            nullable=True,
            comment="Token that leaves the wallet or, for HOLD, is held; null for WITHDRAW",
        ),
        sa.Column(
            "amount_in",
            BaseUnits(),
            nullable=True,
            comment="Base units that leave the wallet (HOLD: that stay in the pool)",
        ),
        sa.Column(
            "token_out", sa.Text(), nullable=True, comment="Token that arrives in the wallet; null for DEPOSIT and HOLD"
        ),
        sa.Column("amount_out", BaseUnits(), nullable=True, comment="Base units that arrive in the wallet"),
        sa.Column("is_full_exit", sa.Boolean(), nullable=False, comment="WITHDRAW: burn all shares"),
        sa.Column("value_usd", ExactDecimal(), nullable=False, comment="Value moved at the close"),
        sa.Column(
            "gas_units",
            sa.Integer(),
            nullable=False,
            comment="Gas of the step, approvals included; 0 on legs after the first",
        ),
        sa.Column("gas_usd", ExactDecimal(), nullable=False, comment="Gas cost of the step"),
        sa.Column("conversion_usd", ExactDecimal(), nullable=False, comment="Conversion cost of the step"),
        sa.PrimaryKeyConstraint("run_id", "seq", "leg", name=op.f("pk_allocation_steps")),
        comment="Transactions in executable order; nothing is spent before it is there",
    )
    op.create_index(op.f("ix_allocation_steps_date"), "allocation_steps", ["date"], unique=False)
    op.create_table(
        "allocations",
        sa.Column("run_id", sa.Text(), nullable=False, comment="Plan"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool, or IDLE for cash"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Underlying token, lower case"),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("amount", BaseUnits(), nullable=False, comment="Base units held after the plan"),
        sa.Column("amount_before", BaseUnits(), nullable=False, comment="Base units held before the plan"),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals"),
        sa.Column("value_usd", ExactDecimal(), nullable=False, comment="Value at the close"),
        sa.Column("share_of_aum", sa.Float(), nullable=False, comment="Fraction of AUM"),
        sa.Column("forecast_apy", sa.Float(), nullable=True, comment="Forecast APY before our own deposit, fraction"),
        sa.Column("diluted_apy", sa.Float(), nullable=True, comment="Forecast APY after our own deposit, fraction"),
        sa.Column("pool_group", sa.Integer(), nullable=True, comment="Risk group"),
        sa.Column("is_price_assumed", sa.Boolean(), nullable=False, comment="The value rests on an assumed price"),
        sa.Column("action", sa.Text(), nullable=False, comment="What the plan does"),
        sa.Column("why", sa.Text(), nullable=False, comment="Binding limit, next best pool, or why left out"),
        sa.PrimaryKeyConstraint("run_id", "pool_id", "token_address", name=op.f("pk_allocations")),
        comment="What the plan holds in each pool, and why; pools left out carry the reason",
    )
    op.create_index(op.f("ix_allocations_date"), "allocations", ["date"], unique=False)
    op.create_table(
        "asset_outcomes",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("asset", sa.Text(), nullable=False, comment="Asset"),
        sa.Column("status", sa.Text(), nullable=False, comment="What happened"),
        sa.Column("error_class", sa.Text(), nullable=False, comment="Class of the error or of the degradation"),
        sa.Column("reason", sa.Text(), nullable=False, comment="What is missing and what follows"),
        sa.Column("is_recoverable", sa.Boolean(), nullable=False, comment="False: no sensor asks again"),
        sa.PrimaryKeyConstraint("date", "asset", name=op.f("pk_asset_outcomes")),
        comment="Why an asset of a day is degraded or failed; empty when all went well",
    )
    op.create_table(
        "chain_balances",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("wallet", sa.Text(), nullable=False, comment="Wallet address, lower case"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("balance", BaseUnits(), nullable=False, comment="Base units"),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals as the vendor claims"),
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor"),
        sa.Column("observed_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("date", "chain_id", "wallet", "token_address", name=op.f("pk_chain_balances")),
        comment="Balances as the chain tells them at the end of the day, to reconcile against",
    )
    op.create_table(
        "closes_defillama",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("interval", sa.Text(), nullable=False, comment="1d"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Start of the UTC day of the close"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the close"),
        sa.Column("close", sa.Float(), nullable=False, comment="Last price of the day in USD"),
        sa.Column("confidence", sa.Float(), nullable=True, comment="Vendor's confidence; 0 means assumed"),
        sa.Column("symbol", sa.Text(), nullable=True, comment="Symbol as claimed"),
        sa.Column("decimals", sa.Integer(), nullable=True, comment="Decimals as claimed"),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "ts", name=op.f("pk_closes_defillama")),
        comment="Daily closes by token address as DeFiLlama coins tells them",
    )
    op.create_index(op.f("ix_closes_defillama_date"), "closes_defillama", ["date"], unique=False)
    op.create_table(
        "daily_balances",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("wallet", sa.Text(), nullable=False, comment="Wallet address, lower case"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("balance", BaseUnits(), nullable=False, comment="Base units"),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals"),
        sa.Column("symbol", sa.Text(), nullable=True, comment="Our symbol, null for untrusted tokens"),
        sa.Column("price_usd", ExactDecimal(), nullable=True, comment="Close of the day; null for untrusted tokens"),
        sa.Column("value_usd", ExactDecimal(), nullable=False, comment="Balance times price; 0 for untrusted tokens"),
        sa.Column("is_trusted", sa.Boolean(), nullable=False, comment="Token is on the approved list or native"),
        sa.PrimaryKeyConstraint("date", "chain_id", "wallet", "token_address", name=op.f("pk_daily_balances")),
        comment="What each wallet holds at the end of the day",
    )
    op.create_table(
        "daily_bars",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day"),
        sa.Column("open", sa.Float(), nullable=True, comment="Open in USD"),
        sa.Column("high", sa.Float(), nullable=True, comment="High in USD"),
        sa.Column("low", sa.Float(), nullable=True, comment="Low in USD"),
        sa.Column("close", sa.Float(), nullable=False, comment="Close in USD"),
        sa.Column("adj_factor", sa.Float(), nullable=False, comment="Factor for splits and dividends; 1 for tokens"),
        sa.Column("volume_usd", sa.Float(), nullable=True, comment="Volume in USD"),
        sa.Column("volume_units", sa.Float(), nullable=True, comment="Volume in units"),
        sa.Column("volume_source", sa.Text(), nullable=True, comment="Vendor of the volume"),
        sa.Column("market_cap_usd", sa.Float(), nullable=True, comment="Market capitalisation in USD"),
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor of the prices"),
        sa.Column("quality", sa.Text(), nullable=False, comment="How much of a bar it is"),
        sa.PrimaryKeyConstraint("instrument_id", "date", name=op.f("pk_daily_bars")),
        comment="Curated daily bars: one vendor per row by priority",
    )
    op.create_index(op.f("ix_daily_bars_date"), "daily_bars", ["date"], unique=False)
    op.create_table(
        "daily_report",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Plan"),
        sa.Column("title", sa.Text(), nullable=False, comment="Headline"),
        sa.Column("markdown", sa.Text(), nullable=False, comment="Report as Markdown"),
        sa.Column("html", sa.Text(), nullable=False, comment="Report as one self-contained page"),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_daily_report")),
        comment="The page that the analyst reads in the morning",
    )
    op.create_table(
        "eligible_pools",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("is_passed", sa.Boolean(), nullable=False, comment="Verdict"),
        sa.Column(
            "reason_codes",
            sa.Text(),
            nullable=False,
            comment="Reasons against, comma separated codes; empty when passed",
        ),
        sa.Column("warning_codes", sa.Text(), nullable=False, comment="Doubts that do not bar, comma separated codes"),
        sa.Column("reasons", sa.Text(), nullable=False, comment="Reasons and doubts in words"),
        sa.Column("is_held", sa.Boolean(), nullable=False, comment="We have a position"),
        sa.Column(
            "is_exit_only",
            sa.Boolean(),
            nullable=False,
            comment="Held, no longer eligible: keep or leave, never increase",
        ),
        sa.Column(
            "is_must_exit",
            sa.Boolean(),
            nullable=False,
            comment="Held and has to be left: blacklisted token or removed protocol",
        ),
        sa.Column("chain", sa.Text(), nullable=False, comment="Chain"),
        sa.Column("protocol", sa.Text(), nullable=False, comment="Protocol slug"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="Symbol for display only"),
        sa.Column("role", sa.Text(), nullable=True, comment="lend, vault, staking, liquidity"),
        sa.Column("underlying_addresses_json", sa.Text(), nullable=False, comment="Underlying addresses, JSON list"),
        sa.Column("size_usd", sa.Float(), nullable=True, comment="Observed size"),
        sa.Column("total_supply_usd", sa.Float(), nullable=True, comment="Supply where known"),
        sa.Column("total_borrow_usd", sa.Float(), nullable=True, comment="Borrow where known"),
        sa.Column("is_size_lower_bound", sa.Boolean(), nullable=False, comment="Only TVL is known"),
        sa.Column("pool_group", sa.Integer(), nullable=True, comment="Risk group"),
        sa.Column(
            "forecast_apy",
            sa.Float(),
            nullable=True,
            comment="Forecast of total APY over the policy's horizon, fraction",
        ),
        sa.Column("last_apy", sa.Float(), nullable=True, comment="Last observed total APY, fraction"),
        sa.Column("exit_days", sa.Integer(), nullable=False, comment="Days to leave"),
        sa.Column("age_days", sa.Integer(), nullable=True, comment="Days since the first known point"),
        sa.PrimaryKeyConstraint("date", "pool_id", name=op.f("pk_eligible_pools")),
        comment="Every pre-filtered or held pool with the final verdict",
    )
    op.create_table(
        "forecast_scores",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition: last day of the horizon"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool, or GAS"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column(
            "target",
            sa.Text(),
            nullable=False,
            comment="apy, apy_base, apy_reward, tvl_usd; for GAS base_fee_gwei or gas_price_gwei",
        ),
        sa.Column("as_of", sa.Date(), nullable=False, comment="Vintage that is scored"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("forecast", sa.Float(), nullable=False, comment="Forecast mean"),
        sa.Column("actual", sa.Float(), nullable=False, comment="Mean of what happened"),
        sa.Column("naive", sa.Float(), nullable=False, comment="The last value known at as_of"),
        sa.Column("absolute_error", sa.Float(), nullable=False, comment="|forecast - actual|"),
        sa.Column("naive_absolute_error", sa.Float(), nullable=False, comment="|naive - actual|"),
        sa.Column("error", sa.Float(), nullable=False, comment="forecast - actual"),
        sa.Column("is_covered", sa.Boolean(), nullable=False, comment="p10 <= actual <= p90"),
        sa.Column("pinball_loss", sa.Float(), nullable=False, comment="Mean pinball loss over p10, p50, p90"),
        sa.PrimaryKeyConstraint("date", "pool_id", "horizon_days", "target", name=op.f("pk_forecast_scores")),
        comment="What the forecasts that fell due on the day were worth",
    )
    op.create_table(
        "gas_fees_daily",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("kind", sa.Text(), nullable=False, comment="base_fee or gas_price"),
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor"),
        sa.Column("mean_gwei", sa.Float(), nullable=True, comment="Mean over the hours of the day"),
        sa.Column("median_gwei", sa.Float(), nullable=True, comment="Median over the hours of the day"),
        sa.Column("p10_gwei", sa.Float(), nullable=True, comment="10th percentile over the hours of the day"),
        sa.Column("p90_gwei", sa.Float(), nullable=True, comment="90th percentile over the hours of the day"),
        sa.Column("max_gwei", sa.Float(), nullable=True, comment="Maximum over the hours of the day"),
        sa.Column("eth_price_usd", sa.Float(), nullable=True, comment="ETH price, last of the day"),
        sa.Column("n_hours", sa.Integer(), nullable=False, comment="Hours observed"),
        sa.PrimaryKeyConstraint("date", "kind", "source", name=op.f("pk_gas_fees_daily")),
        comment="Gas by the day",
    )
    op.create_table(
        "gas_fees_hourly",
        sa.Column("hour", UtcDateTime(), nullable=False, comment="Start of the hour"),
        sa.Column("kind", sa.Text(), nullable=False, comment="base_fee or gas_price"),
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the hour"),
        sa.Column("mean_gwei", sa.Float(), nullable=True, comment="Mean over the blocks of the hour"),
        sa.Column("median_gwei", sa.Float(), nullable=True, comment="Median over the blocks of the hour"),
        sa.Column("p10_gwei", sa.Float(), nullable=True, comment="10th percentile over the blocks of the hour"),
        sa.Column("p90_gwei", sa.Float(), nullable=True, comment="90th percentile over the blocks of the hour"),
        sa.Column("max_gwei", sa.Float(), nullable=True, comment="Maximum over the blocks of the hour"),
        sa.Column("eth_price_usd", sa.Float(), nullable=True, comment="ETH price"),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("hour", "kind", "source", name=op.f("pk_gas_fees_hourly")),
        comment="Gas by the hour; base fee and effective price are different series",
    )
    op.create_index(op.f("ix_gas_fees_hourly_date"), "gas_fees_hourly", ["date"], unique=False)
    op.create_table(
        "gas_forecasts",
        sa.Column("as_of", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("kind", sa.Text(), nullable=False, comment="base_fee or gas_price"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column("mean", sa.Float(), nullable=False, comment="Expected daily mean over the horizon, gwei"),
        sa.Column("p10", sa.Float(), nullable=False, comment="10 % quantile, gwei"),
        sa.Column("p50", sa.Float(), nullable=False, comment="Median, gwei"),
        sa.Column("p90", sa.Float(), nullable=False, comment="90 % quantile, gwei"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Version of the model"),
        sa.Column("trained_from", sa.Date(), nullable=False, comment="First day used"),
        sa.Column("trained_to", sa.Date(), nullable=False, comment="Last day used"),
        sa.Column("n_obs", sa.Integer(), nullable=False, comment="Days used"),
        sa.Column("fallback_reason", sa.Text(), nullable=True, comment="Why a simpler model was used"),
        sa.PrimaryKeyConstraint("as_of", "kind", "horizon_days", name=op.f("pk_gas_forecasts")),
        comment="Expected gas over the coming days",
    )
    op.create_table(
        "icebox",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain", sa.Text(), nullable=False, comment="Chain"),
        sa.Column("address", sa.Text(), nullable=False, comment="Token address, lower case"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="Symbol for display"),
        sa.Column("since", sa.Date(), nullable=False, comment="Day of entry"),
        sa.Column("reason_codes", sa.Text(), nullable=False, comment="Why it entered"),
        sa.Column("reason", sa.Text(), nullable=False, comment="In words"),
        sa.Column(
            "reference_price", sa.Float(), nullable=True, comment="1 for usd tokens, running maximum for accruing ones"
        ),
        sa.Column("last_low", sa.Float(), nullable=True, comment="Low of the day in USD (close where there is no low)"),
        sa.Column("last_close", sa.Float(), nullable=True, comment="Close of the day in USD"),
        sa.Column("good_lows", sa.Integer(), nullable=False, comment="Consecutive days with a good low"),
        sa.Column("good_closes", sa.Integer(), nullable=False, comment="Consecutive good closes"),
        sa.Column("is_manual", sa.Boolean(), nullable=False, comment="Barred by an override"),
        sa.PrimaryKeyConstraint("date", "chain", "address", name=op.f("pk_icebox")),
        comment="Tokens barred at the end of the day",
    )
    op.create_table(
        "icebox_events",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain", sa.Text(), nullable=False, comment="Chain"),
        sa.Column("address", sa.Text(), nullable=False, comment="Token address, lower case"),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="enter, leave, override_in, override_out, premium_alert or checked (the day was looked at)",
        ),
        sa.Column("symbol", sa.Text(), nullable=False, comment="Symbol for display"),
        sa.Column("reason_codes", sa.Text(), nullable=False, comment="LOW, CLOSE, NO_PRICE, MANUAL, PREMIUM …"),
        sa.Column("reason", sa.Text(), nullable=False, comment="In words with the figures"),
        sa.Column(
            "grade",
            sa.Integer(),
            nullable=True,
            comment="Strength of an alert: multiple of the band, rounded down; checked: tokens barred",
        ),
        sa.PrimaryKeyConstraint("date", "chain", "address", "kind", name=op.f("pk_icebox_events")),
        comment="Tokens entering and leaving the icebox, and premium alerts",
    )
    op.create_table(
        "instruments",
        sa.Column(
            "instrument_id",
            sa.Text(),
            nullable=False,
            comment="<chain>:<address> for tokens, <type>:<symbol> otherwise",
        ),
        sa.Column("type", sa.Text(), nullable=False, comment="Kind of instrument"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="Symbol for display"),
        sa.Column("calendar", sa.Text(), nullable=False, comment="24x7 or an exchange calendar such as XNYS"),
        sa.Column("chain", sa.Text(), nullable=True, comment="Chain of a token"),
        sa.Column("address", sa.Text(), nullable=True, comment="Address of a token, lower case"),
        sa.Column("decimals", sa.Integer(), nullable=True, comment="Decimals of a token"),
        sa.Column("cmc_id", sa.Integer(), nullable=True, comment="CoinMarketCap id"),
        sa.Column("coingecko_id", sa.Text(), nullable=True, comment="CoinGecko id"),
        sa.Column("alpha_vantage_symbol", sa.Text(), nullable=True, comment="Alpha Vantage symbol"),
        sa.Column("price_scale", sa.Float(), nullable=False, comment="Factor by which a source's quotes are divided"),
        sa.Column("listed_at", sa.Date(), nullable=True, comment="First day"),
        sa.Column("delisted_at", sa.Date(), nullable=True, comment="Last day"),
        sa.PrimaryKeyConstraint("instrument_id", name=op.f("pk_instruments")),
        comment="Everything that has a price",
    )
    op.create_table(
        "ledger_postings",
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("tx_hash", sa.Text(), nullable=False, comment="Transaction"),
        sa.Column("kind", sa.Text(), nullable=False, comment="native, internal, token, gas, or accrual"),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="Rank within transaction and kind"),
        sa.Column("leg", sa.Integer(), nullable=False, comment="0, 1 …"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the block"),
        sa.Column("block_number", sa.Integer(), nullable=False, comment="Block"),
        sa.Column("block_time", UtcDateTime(), nullable=False, comment="Time of the block"),
        sa.Column("account", sa.Text(), nullable=False, comment="Account, such as assets:wallet:<address>"),
        sa.Column(
            "wallet",
            sa.Text(),
            nullable=True,
            comment="Wallet that an asset or income leg belongs to, lower case; null for equity and expenses",
        ),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("amount", BaseUnits(), nullable=False, comment="Signed base units"),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals"),
        sa.Column(
            "valued_usd", ExactDecimal(), nullable=True, comment="Value at the day's close; 0 for untrusted tokens"
        ),
        sa.Column("classification", sa.Text(), nullable=False, comment="What the transaction was"),
        sa.Column("pool_id", sa.Text(), nullable=True, comment="Pool, where one is involved"),
        sa.Column("is_pending", sa.Boolean(), nullable=False, comment="Not deep enough in the chain; will be replaced"),
        sa.Column("corrects", sa.Text(), nullable=True, comment="Posting that this one corrects"),
        sa.PrimaryKeyConstraint("chain_id", "tx_hash", "kind", "ordinal", "leg", name=op.f("pk_ledger_postings")),
        comment="Double entry over chain transfers; the legs of a transaction sum to zero per token",
    )
    op.create_index(op.f("ix_ledger_postings_date"), "ledger_postings", ["date"], unique=False)
    op.create_table(
        "macro_series",
        sa.Column("series_id", sa.Text(), nullable=False, comment="FRED series"),
        sa.Column("date", sa.Date(), nullable=False, comment="Observation date"),
        sa.Column("vintage", sa.Date(), nullable=False, comment="Known since"),
        sa.Column("value", sa.Float(), nullable=True, comment="Value in the series' unit"),
        sa.Column("unit", sa.Text(), nullable=False, comment="Unit as FRED states it"),
        sa.Column("frequency", sa.Text(), nullable=False, comment="Frequency as FRED states it"),
        sa.Column(
            "is_vintage_assumed",
            sa.Boolean(),
            nullable=False,
            comment="Vintage is observation date plus publication lag",
        ),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("series_id", "date", "vintage", name=op.f("pk_macro_series")),
        comment="Macro observations by vintage",
    )
    op.create_table(
        "nav_daily",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("nav_usd", ExactDecimal(), nullable=False, comment="Everything that we hold"),
        sa.Column(
            "wallets_usd", ExactDecimal(), nullable=False, comment="Stablecoins and other trusted tokens in wallets"
        ),
        sa.Column("pools_usd", ExactDecimal(), nullable=False, comment="Positions in pools"),
        sa.Column("eth_usd", ExactDecimal(), nullable=False, comment="ETH in wallets"),
        sa.Column("flows_usd", ExactDecimal(), nullable=False, comment="Capital in minus capital out"),
        sa.Column("income_usd", ExactDecimal(), nullable=False, comment="Yield and rewards"),
        sa.Column("expenses_usd", ExactDecimal(), nullable=False, comment="Gas and conversion cost"),
        sa.Column("price_change_usd", ExactDecimal(), nullable=False, comment="Change of prices on what was held"),
        sa.Column("unexplained_usd", ExactDecimal(), nullable=False, comment="Moves that nobody explained"),
        sa.Column("return_1d", sa.Float(), nullable=True, comment="Time-weighted return of the day, fraction"),
        sa.Column("return_mtd", sa.Float(), nullable=True, comment="Time-weighted return, month to date, fraction"),
        sa.Column("return_ytd", sa.Float(), nullable=True, comment="Time-weighted return, year to date, fraction"),
        sa.Column("realised_yield_1d", sa.Float(), nullable=True, comment="Income over opening NAV, fraction"),
        sa.Column("idle_share", sa.Float(), nullable=False, comment="Share of NAV that is in no pool"),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_nav_daily")),
        comment="Net asset value and what moved it",
    )
    op.create_table(
        "ohlcv_coinmarketcap",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("interval", sa.Text(), nullable=False, comment="1d"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Open of the bar"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the bar"),
        sa.Column("open", sa.Float(), nullable=False, comment="Open in USD"),
        sa.Column("high", sa.Float(), nullable=False, comment="High in USD"),
        sa.Column("low", sa.Float(), nullable=False, comment="Low in USD"),
        sa.Column("close", sa.Float(), nullable=False, comment="Close in USD"),
        sa.Column("volume_usd", sa.Float(), nullable=True, comment="Volume in USD"),
        sa.Column(
            "market_cap_usd",
            sa.Float(),
            nullable=True,
            comment="Market capitalisation in USD, null when the vendor says 0",
        ),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "ts", name=op.f("pk_ohlcv_coinmarketcap")),
        comment="Daily bars as CoinMarketCap tells them",
    )
    op.create_index(op.f("ix_ohlcv_coinmarketcap_date"), "ohlcv_coinmarketcap", ["date"], unique=False)
    op.create_table(
        "plan_executions",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition whose plan was executed"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Plan"),
        sa.Column("status", sa.Text(), nullable=False, comment="What happened"),
        sa.Column("n_transactions", sa.Integer(), nullable=False, comment="Transactions sent, approvals included"),
        sa.Column("message", sa.Text(), nullable=False, comment="In words"),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_plan_executions")),
        comment="What became of a plan in a closed loop; a live market only gets advice",
    )
    op.create_table(
        "policy_snapshot",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("policy_hash", sa.Text(), nullable=False, comment="SHA-256 of policy_json"),
        sa.Column("policy_json", sa.Text(), nullable=False, comment="The whole policy as canonical JSON"),
        sa.Column("n_tokens", sa.Integer(), nullable=False, comment="Approved tokens"),
        sa.Column("n_protocols", sa.Integer(), nullable=False, comment="Approved protocols"),
        sa.Column("n_overrides", sa.Integer(), nullable=False, comment="Pool overrides in force"),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_policy_snapshot")),
        comment="The policy as it stood at the start of the day; later steps read this, never the files",
    )
    op.create_table(
        "pool_aliases",
        sa.Column("old_id", sa.Text(), nullable=False, comment="Pool id that is gone"),
        sa.Column("new_id", sa.Text(), nullable=False, comment="Pool id that goes on"),
        sa.Column("since", sa.Date(), nullable=False, comment="First day of the new id"),
        sa.Column("source", sa.Text(), nullable=False, comment="Who says so"),
        sa.PrimaryKeyConstraint("old_id", name=op.f("pk_pool_aliases")),
        comment="Old pool ids and what they are called now",
    )
    op.create_table(
        "pool_contracts",
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column(
            "share_token", sa.Text(), nullable=False, comment="Token that the pool mints for deposits (lower case)"
        ),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("contract", sa.Text(), nullable=False, comment="Address that takes deposits (lower case)"),
        sa.Column("share_decimals", sa.Integer(), nullable=False, comment="Decimals of the share token"),
        sa.Column("source", sa.Text(), nullable=False, comment="Who says so"),
        sa.PrimaryKeyConstraint("pool_id", "share_token", name=op.f("pk_pool_contracts")),
        comment="Which on-chain contract a pool is, so that the ledger knows a deposit when it sees one",
    )
    op.create_table(
        "pool_forecasts",
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("as_of", sa.Date(), nullable=False, comment="Partition"),
        sa.Column(
            "horizon_days", sa.Integer(), nullable=False, comment="Days ahead; the value is the mean over the horizon"
        ),
        sa.Column("target", sa.Text(), nullable=False, comment="apy, apy_base, apy_reward (fractions) or tvl_usd"),
        sa.Column("mean", sa.Float(), nullable=False, comment="Expected mean over the horizon"),
        sa.Column("p10", sa.Float(), nullable=False, comment="10 % quantile"),
        sa.Column("p50", sa.Float(), nullable=False, comment="Median"),
        sa.Column("p90", sa.Float(), nullable=False, comment="90 % quantile"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Version of the model"),
        sa.Column("trained_from", sa.Date(), nullable=False, comment="First day used"),
        sa.Column("trained_to", sa.Date(), nullable=False, comment="Last day used"),
        sa.Column("n_obs", sa.Integer(), nullable=False, comment="Days used"),
        sa.Column("fallback_reason", sa.Text(), nullable=True, comment="Why a simpler model was used"),
        sa.Column("is_hindsight", sa.Boolean(), nullable=False, comment="Rests on values seen after the day's cutoff"),
        sa.PrimaryKeyConstraint("pool_id", "as_of", "horizon_days", "target", name=op.f("pk_pool_forecasts")),
        comment="Forecast vintages; never overwritten by a run of another day",
    )
    op.create_index(op.f("ix_pool_forecasts_as_of"), "pool_forecasts", ["as_of"], unique=False)
    op.create_table(
        "pool_groups",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("pool_group", sa.Integer(), nullable=False, comment="1 low, 2 medium, 3 high, 4 unrated"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Which limits decided"),
        sa.Column("is_hindsight", sa.Boolean(), nullable=False, comment="Rests on values seen after the day's cutoff"),
        sa.PrimaryKeyConstraint("date", "pool_id", name=op.f("pk_pool_groups")),
        comment="Risk group of every tracked pool: 1 low, 2 medium, 3 high, 4 unrated",
    )
    op.create_table(
        "pool_histories",
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the point"),
        sa.Column("revision", sa.Integer(), nullable=False, comment="0 for the first value seen, then 1, 2 …"),
        sa.Column("apy", sa.Float(), nullable=True, comment="Total APY, fraction"),
        sa.Column("apy_base", sa.Float(), nullable=True, comment="Base APY, fraction"),
        sa.Column("apy_reward", sa.Float(), nullable=True, comment="Reward APY, fraction, simple"),
        sa.Column("tvl_usd", sa.Float(), nullable=True, comment="Value locked"),
        sa.Column("il_7d", sa.Float(), nullable=True, comment="Impermanent loss over 7 days, fraction"),
        sa.Column("is_provisional", sa.Boolean(), nullable=False, comment="The day was not over when this was seen"),
        sa.Column("source", sa.Text(), nullable=False, comment="chart or snapshot"),
        sa.Column("seen_at", UtcDateTime(), nullable=False, comment="When we first saw this value"),
        sa.PrimaryKeyConstraint("pool_id", "date", "revision", name=op.f("pk_pool_histories")),
        comment="Daily points of every tracked pool; a changed past value is a new revision",
    )
    op.create_index(op.f("ix_pool_histories_date"), "pool_histories", ["date"], unique=False)
    op.create_table(
        "pool_metrics",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("apy", sa.Float(), nullable=True, comment="APY of the day, winsorised, fraction"),
        sa.Column("tvl_usd", sa.Float(), nullable=True, comment="TVL of the day"),
        sa.Column("apy_mean_7d", sa.Float(), nullable=True, comment="Mean APY over 7 days, fraction"),
        sa.Column("apy_mean_30d", sa.Float(), nullable=True, comment="Mean APY over 30 days, fraction"),
        sa.Column("apy_std_7d", sa.Float(), nullable=True, comment="Standard deviation over 7 days (ddof 1), fraction"),
        sa.Column(
            "apy_std_30d", sa.Float(), nullable=True, comment="Standard deviation over 30 days (ddof 1), fraction"
        ),
        sa.Column("apy_change_1d", sa.Float(), nullable=True, comment="APY minus yesterday's, fraction"),
        sa.Column("apy_mean_7d_change_1d", sa.Float(), nullable=True, comment="Change of apy_mean_7d since yesterday"),
        sa.Column(
            "apy_mean_30d_change_1d", sa.Float(), nullable=True, comment="Change of apy_mean_30d since yesterday"
        ),
        sa.Column("apy_std_7d_change_1d", sa.Float(), nullable=True, comment="Change of apy_std_7d since yesterday"),
        sa.Column("apy_std_30d_change_1d", sa.Float(), nullable=True, comment="Change of apy_std_30d since yesterday"),
        sa.Column(
            "apy_ewma_7d", sa.Float(), nullable=True, comment="Exponentially weighted mean, half-life 7 days, fraction"
        ),
        sa.Column("tvl_change_1d", sa.Float(), nullable=True, comment="Relative change of TVL in a day, fraction"),
        sa.Column("tvl_change_7d", sa.Float(), nullable=True, comment="Relative change of TVL in 7 days, fraction"),
        sa.Column("observed_days", sa.Integer(), nullable=False, comment="Days observed within the last 30"),
        sa.Column("age_days", sa.Integer(), nullable=False, comment="Days since the first known point"),
        sa.Column("reward_share", sa.Float(), nullable=True, comment="Reward part of total APY, fraction"),
        sa.Column("utilisation", sa.Float(), nullable=True, comment="Borrowed over supplied, fraction"),
        sa.Column("is_hindsight", sa.Boolean(), nullable=False, comment="Rests on values seen after the day's cutoff"),
        sa.PrimaryKeyConstraint("date", "pool_id", name=op.f("pk_pool_metrics")),
        comment="Rolling APY statistics of every tracked pool, one row per pool per day; a window is days, not rows",
    )
    op.create_table(
        "pool_positions",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("wallet", sa.Text(), nullable=False, comment="Wallet address, lower case"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Underlying token, lower case"),
        sa.Column("share_token", sa.Text(), nullable=False, comment="Share token, lower case"),
        sa.Column("shares", BaseUnits(), nullable=False, comment="Shares held, base units"),
        sa.Column("exchange_rate", ExactDecimal(), nullable=False, comment="Underlying base units per share base unit"),
        sa.Column("rate_source", sa.Text(), nullable=False, comment="mint_ratio, apy_growth or chain"),
        sa.Column("rate_age_days", sa.Integer(), nullable=False, comment="Days since the rate was last seen on chain"),
        sa.Column("underlying_amount", BaseUnits(), nullable=False, comment="Underlying base units"),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals of the underlying"),
        sa.Column("price_usd", ExactDecimal(), nullable=True, comment="Close of the underlying"),
        sa.Column("value_usd", ExactDecimal(), nullable=False, comment="Underlying times price"),
        sa.PrimaryKeyConstraint(
            "date", "chain_id", "wallet", "pool_id", "token_address", name=op.f("pk_pool_positions")
        ),
        comment="What we hold in each pool at the end of the day, one row per underlying token",
    )
    op.create_table(
        "pool_quality",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("is_passed", sa.Boolean(), nullable=False, comment="No blocking finding"),
        sa.Column("reason_codes", sa.Text(), nullable=False, comment="Findings, comma separated codes"),
        sa.Column("reasons", sa.Text(), nullable=False, comment="Findings in words"),
        sa.Column(
            "is_stuck", sa.Boolean(), nullable=False, comment="Same APY and TVL to the last digit for stuck_days"
        ),
        sa.Column("has_gap", sa.Boolean(), nullable=False, comment="A gap longer than gap_days within 30 days"),
        sa.Column("is_spike", sa.Boolean(), nullable=False, comment="Today's APY is a spike"),
        sa.Column("is_implausible", sa.Boolean(), nullable=False, comment="APY below 0 or above apy_plausible_max"),
        sa.Column("has_tvl_jump", sa.Boolean(), nullable=False, comment="TVL changed more than fivefold in a day"),
        sa.Column(
            "largest_gap_days", sa.Integer(), nullable=False, comment="Longest run of missing days within 30 days"
        ),
        sa.Column(
            "winsorised_apy", sa.Float(), nullable=True, comment="APY as used for metrics and forecasts, fraction"
        ),
        sa.Column("is_hindsight", sa.Boolean(), nullable=False, comment="Rests on values seen after the day's cutoff"),
        sa.PrimaryKeyConstraint("date", "pool_id", name=op.f("pk_pool_quality")),
        comment="What is wrong with a pool's data on a day",
    )
    op.create_table(
        "pools",
        sa.Column("snapshot_date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="DeFiLlama pool id"),
        sa.Column("chain", sa.Text(), nullable=False, comment="Chain as DeFiLlama spells it"),
        sa.Column("project", sa.Text(), nullable=False, comment="Protocol slug as recorded"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="Symbol for display only"),
        sa.Column("pool_meta", sa.Text(), nullable=True, comment="Vendor's remark on the pool"),
        sa.Column("tvl_usd", sa.Float(), nullable=True, comment="Value locked; for lending pools supply minus borrow"),
        sa.Column("total_supply_usd", sa.Float(), nullable=True, comment="Supplied value of a lending pool"),
        sa.Column("total_borrow_usd", sa.Float(), nullable=True, comment="Borrowed value of a lending pool"),
        sa.Column("apy", sa.Float(), nullable=True, comment="Total APY, fraction"),
        sa.Column("apy_base", sa.Float(), nullable=True, comment="Base APY, fraction"),
        sa.Column("apy_reward", sa.Float(), nullable=True, comment="Reward APY, fraction, simple"),
        sa.Column("exposure", sa.Text(), nullable=True, comment="single or multi"),
        sa.Column("il_risk", sa.Text(), nullable=True, comment="yes or no"),
        sa.Column("is_stablecoin", sa.Boolean(), nullable=True, comment="Vendor's symbol match; no de-peg guard"),
        sa.Column(
            "underlying_addresses_json",
            sa.Text(),
            nullable=False,
            comment="Underlying token addresses, lower case, JSON list; [] unknown",
        ),
        sa.Column(
            "reward_tokens_json", sa.Text(), nullable=False, comment="Reward token addresses, lower case, JSON list"
        ),
        sa.Column("observed_at", UtcDateTime(), nullable=False, comment="When the vendor was asked"),
        sa.Column("is_stale", sa.Boolean(), nullable=False, comment="The vendor's own row is older than a day"),
        sa.PrimaryKeyConstraint("snapshot_date", "pool_id", name=op.f("pk_pools")),
        comment="Every pool of the day's snapshot",
    )
    op.create_index(op.f("ix_pools_pool_id"), "pools", ["pool_id"], unique=False)
    op.create_table(
        "prefiltered_pools",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("is_passed", sa.Boolean(), nullable=False, comment="Verdict"),
        sa.Column(
            "reason_codes",
            sa.Text(),
            nullable=False,
            comment="Reasons against, comma separated codes; empty when passed",
        ),
        sa.Column("warning_codes", sa.Text(), nullable=False, comment="Doubts that do not bar, comma separated codes"),
        sa.Column("reasons", sa.Text(), nullable=False, comment="Reasons and doubts in words"),
        sa.Column("chain", sa.Text(), nullable=False, comment="Chain"),
        sa.Column("protocol", sa.Text(), nullable=False, comment="Protocol slug after alias resolution"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="Symbol for display only"),
        sa.Column(
            "role", sa.Text(), nullable=True, comment="lend, vault, staking, liquidity, or why it is no dollar pool"
        ),
        sa.Column(
            "underlying_addresses_json",
            sa.Text(),
            nullable=False,
            comment="Resolved underlying addresses, JSON list; complete or []",
        ),
        sa.Column(
            "underlying_symbols",
            sa.Text(),
            nullable=False,
            comment="Our symbols of the underlyings, joined by +; display only",
        ),
        sa.Column("size_usd", sa.Float(), nullable=True, comment="Supply where known, else TVL"),
        sa.Column("is_size_lower_bound", sa.Boolean(), nullable=False, comment="Only TVL is known"),
        sa.Column("exit_days", sa.Integer(), nullable=False, comment="Days to leave"),
        sa.Column("maturity", sa.Date(), nullable=True, comment="Maturity, if any"),
        sa.PrimaryKeyConstraint("date", "pool_id", name=op.f("pk_prefiltered_pools")),
        comment="Every active pool with verdict and all reasons of the pre-filter",
    )
    op.create_table(
        "raw_bodies",
        sa.Column("sha256", sa.Text(), nullable=False, comment="SHA-256 of the body"),
        sa.Column("encoding", sa.Text(), nullable=False, comment="Compression of the body"),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="Compressed body"),
        sa.Column("bytes", sa.Integer(), nullable=False, comment="Length before compression"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_raw_bodies")),
        comment="Vendor answers, compressed, by content; append-only",
    )
    op.create_table(
        "raw_fetches",
        sa.Column("fetch_id", sa.Integer(), autoincrement=True, nullable=False, comment="Sequence of requests"),
        sa.Column("vendor", sa.Text(), nullable=False, comment="Vendor's short name"),
        sa.Column("endpoint", sa.Text(), nullable=False, comment="Path template of the endpoint"),
        sa.Column("params_hash", sa.Text(), nullable=False, comment="SHA-256 of params_json"),
        sa.Column(
            "params_json", sa.Text(), nullable=False, comment="Parameters as canonical JSON, keys and secrets removed"
        ),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp of the answer"),
        sa.Column("partition_date", sa.Date(), nullable=True, comment="Partition that asked"),
        sa.Column("status", sa.Integer(), nullable=True, comment="HTTP status, null when no answer came"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="Requests sent, retries included"),
        sa.Column("waited_seconds", sa.Float(), nullable=False, comment="Seconds spent waiting for pacing and retries"),
        sa.Column("bytes", sa.Integer(), nullable=False, comment="Length of the body"),
        sa.Column("rows", sa.Integer(), nullable=True, comment="Rows that the parser found"),
        sa.Column("error_class", sa.Text(), nullable=True, comment="Class of the error, null on success"),
        sa.Column("error_message", sa.Text(), nullable=True, comment="The error in words, secrets removed"),
        sa.Column("sha256", sa.Text(), nullable=True, comment="Body in raw_bodies"),
        sa.PrimaryKeyConstraint("fetch_id", name=op.f("pk_raw_fetches")),
        comment="One row per vendor request, successful or not; never holds a key",
    )
    op.create_index(
        op.f("ix_raw_fetches_vendor_endpoint_params_hash_fetched_at"),
        "raw_fetches",
        ["vendor", "endpoint", "params_hash", "fetched_at"],
        unique=False,
    )
    op.create_table(
        "slack_notification",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("text", sa.Text(), nullable=False, comment="Message"),
        sa.Column("blocks_json", sa.Text(), nullable=False, comment="Blocks as canonical JSON"),
        sa.Column("sink", sa.Text(), nullable=False, comment="Where it went"),
        sa.Column("status", sa.Text(), nullable=False, comment="Answer of the sink"),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_slack_notification")),
        comment="What was said to Slack, or to the local sink",
    )
    op.create_table(
        "token_registry",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain", sa.Text(), nullable=False, comment="Chain"),
        sa.Column("address", sa.Text(), nullable=False, comment="Address, lower case"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Id in the price tables"),
        sa.Column("symbol", sa.Text(), nullable=True, comment="Symbol from our list, null when unknown"),
        sa.Column("decimals", sa.Integer(), nullable=True, comment="Decimals"),
        sa.Column("issuer", sa.Text(), nullable=True, comment="Issuer"),
        sa.Column("peg", sa.Text(), nullable=True, comment="usd, accruing or other"),
        sa.Column("is_rebasing", sa.Boolean(), nullable=True, comment="Balance changes without a transfer"),
        sa.Column("access", sa.Text(), nullable=True, comment="open or permissioned"),
        sa.Column("exit_days", sa.Integer(), nullable=True, comment="Days to leave"),
        sa.Column("coingecko_id", sa.Text(), nullable=True, comment="CoinGecko id"),
        sa.Column("cmc_id", sa.Integer(), nullable=True, comment="CoinMarketCap id"),
        sa.Column("verdict", sa.Text(), nullable=False, comment="Our word on it"),
        sa.Column("n_pools", sa.Integer(), nullable=False, comment="Pools of the day that name it"),
        sa.PrimaryKeyConstraint("date", "chain", "address", name=op.f("pk_token_registry")),
        comment="Every token that a pool of the day names, with what we think of it",
    )
    op.create_table(
        "warehouse_identity",
        sa.Column("market", sa.Text(), nullable=False, comment="live, simulated or recorded"),
        sa.PrimaryKeyConstraint("market", name=op.f("pk_warehouse_identity")),
        comment="Which market this warehouse holds; two markets never share one",
    )
    op.create_table(
        "yield_attribution",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column(
            "advertised_apy",
            sa.Float(),
            nullable=True,
            comment="APY that the vendor advertised for the day before, fraction",
        ),
        sa.Column("forecast_apy", sa.Float(), nullable=True, comment="Forecast when we decided, fraction"),
        sa.Column(
            "realised_apy",
            sa.Float(),
            nullable=True,
            comment="Realised return of the day, annualised by compounding, fraction",
        ),
        sa.Column("opening_usd", ExactDecimal(), nullable=False, comment="Position at the start of the day"),
        sa.Column("income_usd", ExactDecimal(), nullable=False, comment="Yield of the day"),
        sa.Column(
            "gap_rate", sa.Float(), nullable=True, comment="Part of realised minus forecast from the rate, fraction"
        ),
        sa.Column("gap_dilution", sa.Float(), nullable=True, comment="Part from our own size, fraction"),
        sa.Column("gap_price", sa.Float(), nullable=True, comment="Part from prices, fraction"),
        sa.Column("gap_cost", sa.Float(), nullable=True, comment="Part from costs, fraction"),
        sa.PrimaryKeyConstraint("date", "pool_id", name=op.f("pk_yield_attribution")),
        comment="What each held pool promised, what we expected and what it really earned",
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_table("yield_attribution")
    op.drop_table("warehouse_identity")
    op.drop_table("token_registry")
    op.drop_table("slack_notification")
    op.drop_index(op.f("ix_raw_fetches_vendor_endpoint_params_hash_fetched_at"), table_name="raw_fetches")
    op.drop_table("raw_fetches")
    op.drop_table("raw_bodies")
    op.drop_table("prefiltered_pools")
    op.drop_index(op.f("ix_pools_pool_id"), table_name="pools")
    op.drop_table("pools")
    op.drop_table("pool_quality")
    op.drop_table("pool_positions")
    op.drop_table("pool_metrics")
    op.drop_index(op.f("ix_pool_histories_date"), table_name="pool_histories")
    op.drop_table("pool_histories")
    op.drop_table("pool_groups")
    op.drop_index(op.f("ix_pool_forecasts_as_of"), table_name="pool_forecasts")
    op.drop_table("pool_forecasts")
    op.drop_table("pool_contracts")
    op.drop_table("pool_aliases")
    op.drop_table("policy_snapshot")
    op.drop_table("plan_executions")
    op.drop_index(op.f("ix_ohlcv_coinmarketcap_date"), table_name="ohlcv_coinmarketcap")
    op.drop_table("ohlcv_coinmarketcap")
    op.drop_table("nav_daily")
    op.drop_table("macro_series")
    op.drop_index(op.f("ix_ledger_postings_date"), table_name="ledger_postings")
    op.drop_table("ledger_postings")
    op.drop_table("instruments")
    op.drop_table("icebox_events")
    op.drop_table("icebox")
    op.drop_table("gas_forecasts")
    op.drop_index(op.f("ix_gas_fees_hourly_date"), table_name="gas_fees_hourly")
    op.drop_table("gas_fees_hourly")
    op.drop_table("gas_fees_daily")
    op.drop_table("forecast_scores")
    op.drop_table("eligible_pools")
    op.drop_table("daily_report")
    op.drop_index(op.f("ix_daily_bars_date"), table_name="daily_bars")
    op.drop_table("daily_bars")
    op.drop_table("daily_balances")
    op.drop_index(op.f("ix_closes_defillama_date"), table_name="closes_defillama")
    op.drop_table("closes_defillama")
    op.drop_table("chain_balances")
    op.drop_table("asset_outcomes")
    op.drop_index(op.f("ix_allocations_date"), table_name="allocations")
    op.drop_table("allocations")
    op.drop_index(op.f("ix_allocation_steps_date"), table_name="allocation_steps")
    op.drop_table("allocation_steps")
    op.drop_table("allocation_snapshot")
    op.drop_index(op.f("ix_allocation_runs_date"), table_name="allocation_runs")
    op.drop_table("allocation_runs")
    op.drop_index(op.f("ix_account_transactions_date"), table_name="account_transactions")
    op.drop_table("account_transactions")
    op.drop_table("account_cursors")
