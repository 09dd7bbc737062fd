"""Revision 0007: strategy lab.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human.
"""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "assessment_report",
        sa.Column("as_of", sa.Date(), nullable=False, comment="As-of date of the set of scenarios"),
        sa.Column("scope", sa.Text(), nullable=False, comment="all, or a universe"),
        sa.Column("n_strategies", sa.Integer(), nullable=False, comment="Strategies ranked"),
        sa.Column("n_scenarios", sa.Integer(), nullable=False, comment="Scenarios that count"),
        sa.Column("n_runs", sa.Integer(), nullable=False, comment="Runs that it rests on"),
        sa.Column("n_trials", sa.Integer(), nullable=False, comment="Distinct strategies ever tried"),
        sa.Column("best_strategy", sa.Text(), nullable=True, comment="Rank 1; null: none is eligible"),
        sa.Column("page_html", sa.Text(), nullable=False, comment="One self-contained HTML page"),
        sa.PrimaryKeyConstraint("as_of", "scope", name=op.f("pk_assessment_report")),
        comment="The page of an assessment: rankings, families, and the matrix of strategies and scenarios",
    )
    op.create_table(
        "backtest_results",
        sa.Column(
            "run_key",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of strategy, scenario, costs, account and version of the engine",
        ),
        sa.Column("strategy_id", sa.Text(), nullable=False, comment="Strategy"),
        sa.Column("strategy_hash", sa.Text(), nullable=False, comment="Its content"),
        sa.Column("scenario_id", sa.Text(), nullable=False, comment="Scenario"),
        sa.Column("family", sa.Text(), nullable=False, comment="Family of the scenario"),
        sa.Column("universe", sa.Text(), nullable=False, comment="Universe of the strategy"),
        sa.Column("as_of", sa.Date(), nullable=False, comment="As-of date of the set in which it was run"),
        sa.Column(
            "paths_hash", sa.Text(), nullable=False, comment="Bars that it ran over: with others it is run again"
        ),
        sa.Column(
            "inputs_hash",
            sa.Text(),
            nullable=False,
            comment="Rates, regimes, stored features and signals beside them: with others it is run again",
        ),
        sa.Column("engine_version", sa.Text(), nullable=False, comment="Version of the engine"),
        sa.Column("costs_json", sa.Text(), nullable=False, comment="Cost model"),
        sa.Column("account_json", sa.Text(), nullable=False, comment="Capital and what the account allows"),
        sa.Column("instruments_json", sa.Text(), nullable=False, comment="Instruments of the universe that took part"),
        sa.Column(
            "periods_per_year", sa.Float(), nullable=False, comment="Bars a year, by which figures are annualised"
        ),
        sa.Column(
            "is_in_sample", sa.Boolean(), nullable=False, comment="Followed a model that was trained on that time"
        ),
        sa.Column(
            "has_curve",
            sa.Boolean(),
            nullable=False,
            comment="Its equity curve is stored; otherwise the run makes it again",
        ),
        sa.Column("refusals_json", sa.Text(), nullable=False, comment="Reason -> orders that were not filled"),
        sa.Column("cost_grid_json", sa.Text(), nullable=False, comment="Figures at 0, 1 and 2 times the costs"),
        sa.Column("n_bars", sa.Float(), nullable=True, comment="Scored bars"),
        sa.Column("total_return", sa.Float(), nullable=True, comment="Equity at the end over capital, less one"),
        sa.Column("annualised_return", sa.Float(), nullable=True, comment="The same a year; null under 63 bars"),
        sa.Column("volatility", sa.Float(), nullable=True, comment="Standard deviation of returns, a year"),
        sa.Column(
            "sharpe", sa.Float(), nullable=True, comment="Mean return in excess of cash over its deviation, a year"
        ),
        sa.Column("sortino", sa.Float(), nullable=True, comment="The same over the downside deviation"),
        sa.Column("calmar", sa.Float(), nullable=True, comment="Annualised return over the deepest fall"),
        sa.Column("max_drawdown", sa.Float(), nullable=True, comment="Deepest fall from a high, at most 0"),
        sa.Column(
            "average_drawdown", sa.Float(), nullable=True, comment="Mean depth of falls from one high to the next"
        ),
        sa.Column("longest_drawdown_bars", sa.Float(), nullable=True, comment="Most bars below a high in a row"),
        sa.Column(
            "recovery_bars",
            sa.Float(),
            nullable=True,
            comment="Bars from the deepest point back to the high; null: never",
        ),
        sa.Column("recovery_factor", sa.Float(), nullable=True, comment="Total return over the deepest fall"),
        sa.Column("ulcer_index", sa.Float(), nullable=True, comment="Root of the mean squared fall"),
        sa.Column("omega", sa.Float(), nullable=True, comment="Gains over losses against cash"),
        sa.Column("var_95", sa.Float(), nullable=True, comment="Loss of a bar that 5 % of bars exceed"),
        sa.Column("cvar_95", sa.Float(), nullable=True, comment="Mean loss of those bars"),
        sa.Column("tail_ratio", sa.Float(), nullable=True, comment="Right tail (95 %) over left tail (5 %)"),
        sa.Column("n_trades", sa.Float(), nullable=True, comment="Round trips"),
        sa.Column("win_rate", sa.Float(), nullable=True, comment="Share of round trips that gained, net of costs"),
        sa.Column("profit_factor", sa.Float(), nullable=True, comment="Gains over losses of round trips"),
        sa.Column("payoff", sa.Float(), nullable=True, comment="Mean gain over mean loss"),
        sa.Column("expectancy", sa.Float(), nullable=True, comment="Mean return of a round trip"),
        sa.Column("best_trade", sa.Float(), nullable=True, comment="Best return of a round trip"),
        sa.Column("worst_trade", sa.Float(), nullable=True, comment="Worst return of a round trip"),
        sa.Column("sqn", sa.Float(), nullable=True, comment="System quality number; null under 10 round trips"),
        sa.Column("kelly", sa.Float(), nullable=True, comment="Kelly share of the round trips"),
        sa.Column("longest_winning_streak", sa.Float(), nullable=True, comment="Gains in a row"),
        sa.Column("longest_losing_streak", sa.Float(), nullable=True, comment="Losses in a row"),
        sa.Column("mean_bars_held", sa.Float(), nullable=True, comment="Mean bars of a round trip"),
        sa.Column("beta", sa.Float(), nullable=True, comment="Beta against buy and hold of the same instruments"),
        sa.Column("time_in_market", sa.Float(), nullable=True, comment="Share of bars with a position"),
        sa.Column("mean_exposure", sa.Float(), nullable=True, comment="Mean exposure over equity"),
        sa.Column("fees", sa.Float(), nullable=True, comment="Fees paid, currency"),
        sa.Column("borrow_cost", sa.Float(), nullable=True, comment="Paid for borrowed shares, currency"),
        sa.Column("turnover", sa.Float(), nullable=True, comment="Value traded over mean equity"),
        sa.Column(
            "buy_and_hold_return",
            sa.Float(),
            nullable=True,
            comment="Total return of buy and hold of the same instruments by the same engine and costs",
        ),
        sa.Column("buy_and_hold_sharpe", sa.Float(), nullable=True, comment="Its Sharpe ratio"),
        sa.Column("cash_return", sa.Float(), nullable=True, comment="What cash returned meanwhile"),
        sa.Column("excess_return", sa.Float(), nullable=True, comment="Total return less that of buy and hold"),
        sa.Column(
            "regime_return_calm",
            sa.Float(),
            nullable=True,
            comment="Compounded return over bars of calm markets; null under 20",
        ),
        sa.Column(
            "regime_return_normal",
            sa.Float(),
            nullable=True,
            comment="Compounded return over bars of normal markets; null under 20",
        ),
        sa.Column(
            "regime_return_turbulent",
            sa.Float(),
            nullable=True,
            comment="Compounded return over bars of turbulent markets; null under 20",
        ),
        sa.Column(
            "regime_sharpe_calm",
            sa.Float(),
            nullable=True,
            comment="Sharpe ratio over bars of calm markets; null under 20",
        ),
        sa.Column(
            "regime_sharpe_normal",
            sa.Float(),
            nullable=True,
            comment="Sharpe ratio over bars of normal markets; null under 20",
        ),
        sa.Column(
            "regime_sharpe_turbulent",
            sa.Float(),
            nullable=True,
            comment="Sharpe ratio over bars of turbulent markets; null under 20",
        ),
        sa.PrimaryKeyConstraint("run_key", name=op.f("pk_backtest_results")),
        comment="Runs of strategies over scenarios with their figures; runs without a trade are kept",
    )
    op.create_index(op.f("ix_backtest_results_scenario_id"), "backtest_results", ["scenario_id"], unique=False)
    op.create_index(op.f("ix_backtest_results_strategy_id"), "backtest_results", ["strategy_id"], unique=False)
    op.create_table(
        "backtest_trades",
        sa.Column("run_key", sa.Text(), nullable=False, comment="Run"),
        sa.Column("number", sa.Integer(), nullable=False, comment="Place among the trades of the run"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("rule", sa.Integer(), nullable=False, comment="Number of the rule"),
        sa.Column("side", sa.Text(), nullable=False, comment="Direction"),
        sa.Column("quantity", sa.Float(), nullable=False, comment="Units"),
        sa.Column("entry_date", sa.Date(), nullable=False, comment="Day of the fill"),
        sa.Column("entry_price", sa.Float(), nullable=False, comment="Price, costs of the spread in it"),
        sa.Column("exit_date", sa.Date(), nullable=False, comment="Day of the fill"),
        sa.Column("exit_price", sa.Float(), nullable=False, comment="Price, costs of the spread in it"),
        sa.Column("entry_fee", sa.Float(), nullable=False, comment="Currency"),
        sa.Column("exit_fee", sa.Float(), nullable=False, comment="Currency"),
        sa.Column("borrow_cost", sa.Float(), nullable=False, comment="Currency"),
        sa.Column("bars_held", sa.Integer(), nullable=False, comment="Bars"),
        sa.Column(
            "exit_reason", sa.Text(), nullable=False, comment="signal, stop, target, reverse, rebalance, margin or end"
        ),
        sa.Column("pnl", sa.Float(), nullable=False, comment="Net of all costs, currency"),
        sa.Column("return", sa.Float(), nullable=True, comment="pnl over what was put in"),
        sa.PrimaryKeyConstraint("run_key", "number", name=op.f("pk_backtest_trades")),
        comment="Round trips of runs, in the order in which they were closed",
    )
    op.create_table(
        "equity_curves",
        sa.Column("run_key", sa.Text(), nullable=False, comment="Run"),
        sa.Column("step", sa.Integer(), nullable=False, comment="Number of the mark"),
        sa.Column("date", sa.Date(), nullable=False, comment="Day of the mark"),
        sa.Column("equity", sa.Float(), nullable=False, comment="Cash and positions, currency"),
        sa.Column("cash", sa.Float(), nullable=False, comment="Cash, currency"),
        sa.Column(
            "positions_value",
            sa.Float(),
            nullable=False,
            comment="Longs less shorts at their marks, currency; 0 at the end, when all is closed",
        ),
        sa.Column("drawdown", sa.Float(), nullable=False, comment="Against the greatest equity so far"),
        sa.Column("buy_and_hold", sa.Float(), nullable=False, comment="Equity of buy and hold of the same instruments"),
        sa.Column("cash_benchmark", sa.Float(), nullable=False, comment="Capital at the risk-free rate"),
        sa.PrimaryKeyConstraint("run_key", "step", name=op.f("pk_equity_curves")),
        comment="Equity of runs at every mark beside buy and hold and cash; step 0 is the capital before the first scored bar",
    )
    op.create_table(
        "regime_performance",
        sa.Column("as_of", sa.Date(), nullable=False, comment="As-of date of the set of scenarios"),
        sa.Column("scope", sa.Text(), nullable=False, comment="all, or a universe"),
        sa.Column("strategy_id", sa.Text(), nullable=False, comment="Strategy"),
        sa.Column("regime", sa.Text(), nullable=False, comment="State of the market"),
        sa.Column("sharpe", sa.Float(), nullable=True, comment="Median Sharpe ratio a year"),
        sa.Column("return", sa.Float(), nullable=True, comment="Median compounded return"),
        sa.Column("n_scenarios", sa.Integer(), nullable=False, comment="Scenarios with at least 20 bars of it"),
        sa.Column(
            "sharpe_percentile", sa.Float(), nullable=True, comment="Percentile, averaged inside families, then across"
        ),
        sa.PrimaryKeyConstraint("as_of", "scope", "strategy_id", "regime", name=op.f("pk_regime_performance")),
        comment="What strategies did in each regime: medians over scenarios",
    )
    op.create_table(
        "scenario_metrics",
        sa.Column("scenario_id", sa.Text(), nullable=False, comment="Scenario"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("step", sa.Integer(), nullable=False, comment="Number of the bar"),
        sa.Column("date", sa.Date(), nullable=False, comment="Day of the bar"),
        sa.Column("paths_hash", sa.Text(), nullable=False, comment="Bars of the scenario that they were made of"),
        *features("bar", "session"),
        sa.PrimaryKeyConstraint("scenario_id", "instrument_id", "step", name=op.f("pk_scenario_metrics")),
        comment="Features of scenarios by the calculators of daily_features: of the last scored bar, or of every stored one",
    )
    op.create_table(
        "scenario_paths",
        sa.Column("scenario_id", sa.Text(), nullable=False, comment="Scenario"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column(
            "step",
            sa.Integer(),
            nullable=False,
            comment="Number of the bar: 0 is the first scored one, below it is warm-up",
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="Real day, or the day that a generated bar would have"),
        sa.Column("open", sa.Float(), nullable=True, comment="Adjusted open"),
        sa.Column("high", sa.Float(), nullable=True, comment="Adjusted high"),
        sa.Column("low", sa.Float(), nullable=True, comment="Adjusted low"),
        sa.Column("close", sa.Float(), nullable=False, comment="Adjusted close"),
        sa.Column("volume", sa.Float(), nullable=True, comment="Units"),
        sa.Column("is_gap", sa.Boolean(), nullable=False, comment="The bar hides a jump behind a false open"),
        sa.Column("spread_multiplier", sa.Float(), nullable=False, comment="Of the bid-ask spread"),
        sa.Column("rate_shift", sa.Float(), nullable=False, comment="Of the risk-free rate, a fraction a year"),
        sa.PrimaryKeyConstraint("scenario_id", "instrument_id", "step", name=op.f("pk_scenario_paths")),
        comment="Bars of scenarios: the scored ones, adjusted, to the bit; warm-up before them are the real daily bars",
    )
    op.create_table(
        "scenarios",
        sa.Column(
            "scenario_id",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of type, parameters, seed and version of the generator",
        ),
        sa.Column(
            "partition_key",
            sa.Text(),
            nullable=False,
            comment="Name and the first ten digits of the id: the dynamic partition",
        ),
        sa.Column(
            "as_of",
            sa.Date(),
            nullable=False,
            comment="Newest day of bars known when the set was made that it belongs to",
        ),
        sa.Column("family", sa.Text(), nullable=False, comment="What a ranking averages over first"),
        sa.Column("type", sa.Text(), nullable=False, comment="Kind of generator"),
        sa.Column("name", sa.Text(), nullable=False, comment="What people call it"),
        sa.Column("params_json", sa.Text(), nullable=False, comment="Parameters as canonical JSON"),
        sa.Column("seed", sa.BigInteger(), nullable=True, comment="Seed; null: nothing is drawn"),
        sa.Column("status", sa.Text(), nullable=False, comment="Whether it can be run"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it is unavailable"),
        sa.Column("instruments_json", sa.Text(), nullable=False, comment="Instruments that take part"),
        sa.Column(
            "unavailable_json",
            sa.Text(),
            nullable=False,
            comment="The others that were asked for, each with the reason",
        ),
        sa.Column("starts_on", sa.Date(), nullable=True, comment="First scored bar"),
        sa.Column("ends_on", sa.Date(), nullable=True, comment="Last scored bar"),
        sa.Column("warm_up_from", sa.Date(), nullable=True, comment="First bar of the warm-up"),
        sa.Column("n_steps", sa.Integer(), nullable=False, comment="Scored bars"),
        sa.Column("n_warm_up", sa.Integer(), nullable=False, comment="Real bars before them"),
        sa.Column("generator_version", sa.Integer(), nullable=False, comment="Version of the generator"),
        sa.Column(
            "paths_hash", sa.Text(), nullable=True, comment="SHA-256 of all its bars, warm-up included, to the bit"
        ),
        sa.Column("bars_hash", sa.Text(), nullable=False, comment="SHA-256 of the real bars that the set was made of"),
        sa.Column("is_current", sa.Boolean(), nullable=False, comment="Of the newest set"),
        sa.Column(
            "is_ranked",
            sa.Boolean(),
            nullable=False,
            comment="Counts for rankings; a full history only serves as evidence",
        ),
        sa.Column(
            "has_rows",
            sa.Boolean(),
            nullable=False,
            comment="Its paths are stored; otherwise they are made again from type, parameters and seed",
        ),
        sa.PrimaryKeyConstraint("scenario_id", name=op.f("pk_scenarios")),
        comment="Stretches of market, real or generated, on which strategies are tried; superseded ones stay listed",
    )
    op.create_table(
        "strategies",
        sa.Column("strategy_id", sa.Text(), nullable=False, comment="Id in its file"),
        sa.Column(
            "content_hash", sa.Text(), nullable=False, comment="SHA-256 of all that a run depends on, members included"
        ),
        sa.Column("version", sa.Integer(), nullable=False, comment="As its author counts"),
        sa.Column("type", sa.Text(), nullable=False, comment="signal, allocation, composite, …"),
        sa.Column("universe", sa.Text(), nullable=False, comment="Group of instruments that it trades"),
        sa.Column("description", sa.Text(), nullable=False, comment="What it does, in words"),
        sa.Column("spec_json", sa.Text(), nullable=False, comment="Its file as canonical JSON"),
        sa.Column("columns_json", sa.Text(), nullable=False, comment="Bar columns and features that it reads"),
        sa.Column("warm_up_bars", sa.Integer(), nullable=False, comment="Bars until all that it reads is known"),
        sa.Column("is_current", sa.Boolean(), nullable=False, comment="In a file now"),
        sa.PrimaryKeyConstraint("strategy_id", "content_hash", name=op.f("pk_strategies")),
        comment="Every strategy that was ever tried, by content: how many there are is how many trials there were",
    )
    op.create_table(
        "strategy_rankings",
        sa.Column("as_of", sa.Date(), nullable=False, comment="As-of date of the set of scenarios"),
        sa.Column("scope", sa.Text(), nullable=False, comment="all, or a universe"),
        sa.Column("strategy_id", sa.Text(), nullable=False, comment="Strategy"),
        sa.Column("strategy_hash", sa.Text(), nullable=False, comment="Its content"),
        sa.Column("rank", sa.Integer(), nullable=True, comment="1 is best; null: not eligible"),
        sa.Column("score", sa.Float(), nullable=True, comment="Weighted mean of the percentiles"),
        sa.Column("sharpe_percentile", sa.Float(), nullable=True, comment="Averaged inside families, then across"),
        sa.Column("return_percentile", sa.Float(), nullable=True, comment="Of total return"),
        sa.Column(
            "drawdown_percentile", sa.Float(), nullable=True, comment="Of the deepest fall, the smaller the better"
        ),
        sa.Column("consistency_percentile", sa.Float(), nullable=True, comment="Of consistency"),
        sa.Column(
            "regime_percentile",
            sa.Float(),
            nullable=True,
            comment="Lowest of the percentiles of Sharpe ratios by regime",
        ),
        sa.Column(
            "consistency",
            sa.Float(),
            nullable=True,
            comment="Share of scenarios with positive excess return, by family and then across",
        ),
        sa.Column("worst_regime", sa.Text(), nullable=True, comment="Regime with the lowest percentile"),
        sa.Column("dispersion", sa.Float(), nullable=True, comment="Standard deviation of scores over scenarios"),
        sa.Column("worst_scenario", sa.Text(), nullable=True, comment="Scenario with the least total return"),
        sa.Column("worst_return", sa.Float(), nullable=True, comment="That return"),
        sa.Column("n_scenarios", sa.Integer(), nullable=False, comment="Scenarios with a return"),
        sa.Column("n_families", sa.Integer(), nullable=False, comment="Their families"),
        sa.Column("n_trades", sa.Integer(), nullable=False, comment="Round trips in all of them"),
        sa.Column("is_eligible", sa.Boolean(), nullable=False, comment="Nothing speaks against a rank"),
        sa.Column("eligibility_flags", sa.Text(), nullable=False, comment="What does, comma separated"),
        sa.Column("n_trials", sa.Integer(), nullable=False, comment="Distinct strategies ever tried"),
        sa.Column(
            "full_history_sharpe",
            sa.Float(),
            nullable=True,
            comment="Sharpe ratio a year over the whole history of the universe",
        ),
        sa.Column(
            "deflated_sharpe",
            sa.Float(),
            nullable=True,
            comment="Probability that it is real, given the number of trials",
        ),
        sa.Column(
            "hurdle",
            sa.Float(),
            nullable=True,
            comment="Sharpe ratio a year that so many trials of no worth are expected to reach",
        ),
        sa.Column(
            "pbo", sa.Float(), nullable=True, comment="Probability of overfitting among the universe's strategies"
        ),
        sa.Column(
            "walk_forward_sharpe",
            sa.Float(),
            nullable=True,
            comment="Sharpe ratio a year over the tests of the walk-forward",
        ),
        sa.Column(
            "efficiency", sa.Float(), nullable=True, comment="Mean out-of-sample over mean in-sample Sharpe ratio"
        ),
        sa.Column(
            "selection_sharpe",
            sa.Float(),
            nullable=True,
            comment="Sharpe ratio a year of holding, in every test, the universe's strategy that was best in training",
        ),
        sa.PrimaryKeyConstraint("as_of", "scope", "strategy_id", name=op.f("pk_strategy_rankings")),
        comment="Ranks of strategies: over the scenarios that all universes take part in, and within each universe over its own",
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_table("strategy_rankings")
    op.drop_table("strategies")
    op.drop_table("scenarios")
    op.drop_table("scenario_paths")
    op.drop_table("scenario_metrics")
    op.drop_table("regime_performance")
    op.drop_table("equity_curves")
    op.drop_table("backtest_trades")
    op.drop_index(op.f("ix_backtest_results_strategy_id"), table_name="backtest_results")
    op.drop_index(op.f("ix_backtest_results_scenario_id"), table_name="backtest_results")
    op.drop_table("backtest_results")
    op.drop_table("assessment_report")


def features(*reaches: str) -> list[sa.Column[Any]]:
    """Columns of features as they stood at revision 0006: of any bar, of sessions, of days with a universe."""
    told = json.loads((Path(__file__).parents[1] / "feature_columns_0006.json").read_text(encoding="utf-8"))
    return [
        sa.Column(one["name"], sa.Float(), nullable=True, comment=one["comment"])
        for one in told
        if one["reach"] in reaches
    ]
