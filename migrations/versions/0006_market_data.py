"""Revision 0006: market data.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human.
"""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


COMMENTS = {
    ("instruments", "delisted_at"): ("Last day", "The day after the last bar"),
    ("daily_bars", "date"): ("UTC day", "UTC day, or session of the exchange"),
    ("daily_bars", "open"): ("Open in USD", "Raw open in USD"),
    ("daily_bars", "high"): ("High in USD", "Raw high in USD"),
    ("daily_bars", "low"): ("Low in USD", "Raw low in USD"),
    ("daily_bars", "close"): ("Close in USD", "Raw close in USD"),
    ("daily_bars", "adj_factor"): (
        "Factor for splits and dividends; 1 for tokens",
        "Adjusted price = raw price * this: later splits and dividends; 1 for tokens",
    ),
    ("daily_bars", "volume_units"): ("Volume in units", "Volume in units, raw"),
}
TABLE_COMMENTS = {
    "instruments": (
        "Everything that has a price",
        "Everything that has a price: the policy's tokens and the instruments of instruments.yaml",
    ),
    "daily_bars": (
        "Curated daily bars: one vendor per row by priority",
        "Curated daily bars: one vendor per row by priority; raw prices, adjusted price = raw * adj_factor",
    ),
}
METRICS = ("price_usd", "market_cap_usd", "volume_24h_usd", "high_24h_usd", "low_24h_usd")
"""Columns of coin_markets that become observations, by the same name."""


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "corporate_actions",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("ex_date", sa.Date(), nullable=False, comment="First session without the right"),
        sa.Column("kind", sa.Text(), nullable=False, comment="What happened"),
        sa.Column(
            "value", sa.Float(), nullable=False, comment="New shares for an old one, or dividend in USD per share"
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor"),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("instrument_id", "ex_date", "kind", name=op.f("pk_corporate_actions")),
        comment="Splits and dividends by ex-date",
    )
    op.create_table(
        "csv_imports",
        sa.Column("file_sha256", sa.Text(), nullable=False, comment="Hash of the file's bytes"),
        sa.Column("file_name", sa.Text(), nullable=False, comment="Name of the file, without folders"),
        sa.Column("csv_source", sa.Text(), nullable=False, comment="Source in csv_sources.yaml"),
        sa.Column("layout", sa.Text(), nullable=False, comment="Layout that was detected"),
        sa.Column("interval", sa.Text(), nullable=False, comment="Interval of its bars"),
        sa.Column("rows_read", sa.Integer(), nullable=False, comment="Good rows"),
        sa.Column("rows_new", sa.Integer(), nullable=False, comment="Rows that no earlier file had told"),
        sa.Column(
            "rows_changed",
            sa.Integer(),
            nullable=False,
            comment="Rows that an earlier file of the source had told otherwise",
        ),
        sa.Column("rows_bad", sa.Integer(), nullable=False, comment="Lines that were not understood"),
        sa.Column(
            "bad_lines_json",
            sa.Text(),
            nullable=False,
            comment="Numbers of all bad lines, and number and reason of the first thousand",
        ),
        sa.Column("first_ts", UtcDateTime(), nullable=True, comment="First bar"),
        sa.Column("last_ts", UtcDateTime(), nullable=True, comment="Last bar"),
        sa.Column(
            "changed_from",
            sa.Date(),
            nullable=True,
            comment="First day on which a bar is new, changed or gone; null: nothing changed",
        ),
        sa.Column("changed_to", sa.Date(), nullable=True, comment="Last day on which a bar is new, changed or gone"),
        sa.Column(
            "is_followed",
            sa.Boolean(),
            nullable=False,
            comment="Bars were made of it: a file without is followed by the next import",
        ),
        sa.Column("imported_at", UtcDateTime(), nullable=False, comment="When the file was imported"),
        sa.PrimaryKeyConstraint("file_sha256", name=op.f("pk_csv_imports")),
        comment="Files that were imported: what was in them and what was not understood",
    )
    op.create_table(
        "daily_features",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="Day of the bar"),
        sa.Column("feature_set", sa.Text(), nullable=False, comment="Set of definitions: standard"),
        sa.Column(
            "instrument_type", sa.Text(), nullable=False, server_default="crypto", comment="Type of the instrument"
        ),
        *features("bar", "session", "day"),
        sa.PrimaryKeyConstraint("instrument_id", "date", "feature_set", name=op.f("pk_daily_features")),
        comment="Features of every instrument and bar, on adjusted prices; null until the warm-up is complete",
    )
    op.create_index(op.f("ix_daily_features_date"), "daily_features", ["date"], unique=False)
    op.create_table(
        "feature_state",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="Day of the bar"),
        sa.Column("feature_set", sa.Text(), nullable=False, comment="Set of definitions: standard"),
        sa.Column(
            "instrument_type", sa.Text(), nullable=False, server_default="crypto", comment="Type of the instrument"
        ),
        sa.Column(
            "adj_factor",
            sa.Float(),
            nullable=False,
            comment="Factor of that bar when the state was made: another one now restates everything",
        ),
        sa.Column("n_bars", sa.Integer(), nullable=False, comment="Bars up to and including that one"),
        sa.Column("n_close", sa.Float(), nullable=True, comment="Bars in a row with a close"),
        sa.Column("n_range", sa.Float(), nullable=True, comment="Bars in a row with high, low and close"),
        sa.Column("n_volume", sa.Float(), nullable=True, comment="Bars in a row with close and volume"),
        sa.Column("n_flow", sa.Float(), nullable=True, comment="Bars in a row with high, low, close and volume"),
        sa.Column("ema_12", sa.Float(), nullable=True, comment="EMA 12 of the close; their sum until there are 12"),
        sa.Column("ema_20", sa.Float(), nullable=True, comment="EMA 20 of the close; their sum until there are 20"),
        sa.Column("ema_26", sa.Float(), nullable=True, comment="EMA 26 of the close; their sum until there are 26"),
        sa.Column("ema_50", sa.Float(), nullable=True, comment="EMA 50 of the close; their sum until there are 50"),
        sa.Column("ema_200", sa.Float(), nullable=True, comment="EMA 200 of the close; their sum until there are 200"),
        sa.Column("macd_fast", sa.Float(), nullable=True, comment="EMA 12 of the close; their sum until there are 12"),
        sa.Column(
            "gain_14",
            sa.Float(),
            nullable=True,
            comment="Wilder average over 14 of rises; their sum until there are 14",
        ),
        sa.Column(
            "gain_21",
            sa.Float(),
            nullable=True,
            comment="Wilder average over 21 of rises; their sum until there are 21",
        ),
        sa.Column(
            "loss_14",
            sa.Float(),
            nullable=True,
            comment="Wilder average over 14 of falls; their sum until there are 14",
        ),
        sa.Column(
            "loss_21",
            sa.Float(),
            nullable=True,
            comment="Wilder average over 21 of falls; their sum until there are 21",
        ),
        sa.Column(
            "atr_14",
            sa.Float(),
            nullable=True,
            comment="Wilder average over 14 of the true range; their sum until there are 14",
        ),
        sa.Column(
            "ewma_variance",
            sa.Float(),
            nullable=True,
            comment="EWMA 0.94 of squared log returns; their sum until there are 20",
        ),
        sa.Column("macd_signal", sa.Float(), nullable=True, comment="EMA 9 of MACD; their sum until there are 9"),
        sa.Column(
            "adx_14", sa.Float(), nullable=True, comment="Wilder average over 14 of DX; their sum until there are 14"
        ),
        sa.Column("plus_dm_14", sa.Float(), nullable=True, comment="Wilder sum over 14 of upward movement"),
        sa.Column("minus_dm_14", sa.Float(), nullable=True, comment="Wilder sum over 14 of downward movement"),
        sa.Column("true_range_14", sa.Float(), nullable=True, comment="Wilder sum over 14 of the true range"),
        sa.Column("close_before", sa.Float(), nullable=True, comment="Close of the bar"),
        sa.Column("high_before", sa.Float(), nullable=True, comment="High of the bar"),
        sa.Column("low_before", sa.Float(), nullable=True, comment="Low of the bar"),
        sa.Column("psar", sa.Float(), nullable=True, comment="Parabolic SAR of the bar"),
        sa.Column("psar_next", sa.Float(), nullable=True, comment="Parabolic SAR for the next bar"),
        sa.Column("psar_extreme", sa.Float(), nullable=True, comment="Extreme point of its trend"),
        sa.Column("psar_factor", sa.Float(), nullable=True, comment="Its acceleration factor"),
        sa.Column("psar_is_long", sa.Float(), nullable=True, comment="1: its trend is up"),
        sa.Column("obv", sa.Float(), nullable=True, comment="On-balance volume"),
        sa.Column("accumulation_distribution", sa.Float(), nullable=True, comment="Accumulation/distribution line"),
        sa.Column(
            "benchmark_close",
            sa.Float(),
            nullable=True,
            comment="Level of the benchmark: another one now restates everything",
        ),
        sa.Column(
            "first_factor",
            sa.Float(),
            nullable=True,
            comment="Factor of the instrument's first bar: another one now restates everything",
        ),
        sa.PrimaryKeyConstraint("instrument_id", "date", "feature_set", name=op.f("pk_feature_state")),
        comment="State of recursive features behind the last bar of a run, from which the next bar goes on",
    )
    op.create_index(op.f("ix_feature_state_date"), "feature_state", ["date"], unique=False)
    op.create_table(
        "feature_targets",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="Day of the bar that the return starts from"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Bars ahead"),
        sa.Column(
            "instrument_type", sa.Text(), nullable=False, server_default="crypto", comment="Type of the instrument"
        ),
        sa.Column("known_on", sa.Date(), nullable=False, comment="Day of the bar that the return ends with"),
        sa.Column(
            "forward_log_return", sa.Float(), nullable=False, comment="ln(adjusted close at the end / at the start)"
        ),
        sa.PrimaryKeyConstraint("instrument_id", "date", "horizon_days", name=op.f("pk_feature_targets")),
        comment="Forward returns for learning, written on the day on which they become known; never a feature",
    )
    op.create_index(op.f("ix_feature_targets_known_on"), "feature_targets", ["known_on"], unique=False)
    op.create_table(
        "intraday_bars",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("interval", sa.Text(), nullable=False, comment="5m, …"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Open of the bar in UTC"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the bar"),
        sa.Column("open", sa.Float(), nullable=False, comment="Open in USD"),
        sa.Column("high", sa.Float(), nullable=False, comment="High in USD"),
        sa.Column("low", sa.Float(), nullable=False, comment="Low in USD"),
        sa.Column("close", sa.Float(), nullable=False, comment="Close in USD"),
        sa.Column("volume_units", sa.Float(), nullable=True, comment="Volume in units"),
        sa.Column("volume_usd", sa.Float(), nullable=True, comment="Volume in USD"),
        sa.Column("source", sa.Text(), nullable=False, comment="csv:<source>"),
        sa.Column(
            "quality", sa.Text(), nullable=False, comment="masked_gap: the jump over a hole hides inside the bar"
        ),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "ts", name=op.f("pk_intraday_bars")),
        comment="Curated bars below a day from imported files: USD, UTC, holes and masked gaps marked",
    )
    op.create_index(op.f("ix_intraday_bars_date"), "intraday_bars", ["date"], unique=False)
    op.create_table(
        "intraday_features",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("interval", sa.Text(), nullable=False, comment="5m, …"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Open of the bar"),
        sa.Column("feature_set", sa.Text(), nullable=False, comment="Set of definitions: standard"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the bar"),
        *features("bar"),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "ts", "feature_set", name=op.f("pk_intraday_features")),
        comment="Features of bars below a day",
    )
    op.create_index(op.f("ix_intraday_features_date"), "intraday_features", ["date"], unique=False)
    op.create_table(
        "market_events",
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor or csv:<file>"),
        sa.Column(
            "event_id", sa.Text(), nullable=False, comment="Id of the source, or a hash of what identifies the event"
        ),
        sa.Column("instrument_id", sa.Text(), nullable=True, comment="Instrument; null: the whole market"),
        sa.Column("kind", sa.Text(), nullable=False, comment="earnings, economic or on_chain"),
        sa.Column("date", sa.Date(), nullable=False, comment="Day of the event"),
        sa.Column("title", sa.Text(), nullable=True, comment="What it is, as told"),
        sa.Column(
            "announced_on",
            sa.Date(),
            nullable=True,
            comment="Since when the day is known beforehand; null: known on the day itself",
        ),
        sa.Column("known_on", sa.Date(), nullable=False, comment="Since when the outcome is known"),
        sa.Column("expected", sa.Float(), nullable=True, comment="Expected value in its unit"),
        sa.Column("actual", sa.Float(), nullable=True, comment="Actual value in its unit"),
        sa.Column("surprise", sa.Float(), nullable=True, comment="Actual less expected"),
        sa.Column(
            "surprise_fraction",
            sa.Float(),
            nullable=True,
            comment="Surprise / |expected|; null where nothing or zero was expected",
        ),
        sa.Column("unit", sa.Text(), nullable=True, comment="Unit of the values"),
        sa.Column(
            "is_known_assumed", sa.Boolean(), nullable=False, comment="The day of knowledge is assumed, not told"
        ),
        sa.Column(
            "fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp, or when the file was imported"
        ),
        sa.PrimaryKeyConstraint("source", "event_id", name=op.f("pk_market_events")),
        comment="Earnings, economic and on-chain events, with surprise where it is known",
    )
    op.create_index(op.f("ix_market_events_date"), "market_events", ["date"], unique=False)
    op.create_table(
        "market_regimes",
        sa.Column("market", sa.Text(), nullable=False, comment="crypto or us_equities"),
        sa.Column("date", sa.Date(), nullable=False, comment="Day of the bar"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument whose returns speak for the market"),
        sa.Column("state", sa.Text(), nullable=False, comment="Most probable state"),
        sa.Column(
            "p_calm", sa.Float(), nullable=False, comment="Filtered probability of the state of least volatility"
        ),
        sa.Column("p_normal", sa.Float(), nullable=False, comment="Filtered probability of the state between"),
        sa.Column(
            "p_turbulent", sa.Float(), nullable=False, comment="Filtered probability of the state of most volatility"
        ),
        sa.Column("fitted_through", sa.Date(), nullable=False, comment="Last day that the parameters know"),
        sa.Column("n_returns", sa.Integer(), nullable=False, comment="Returns that they were fitted on"),
        sa.Column("model_json", sa.Text(), nullable=False, comment="Means and variances a day, transition matrix"),
        sa.PrimaryKeyConstraint("market", "date", name=op.f("pk_market_regimes")),
        comment="State of a market as filtered from its returns up to the day, by a model fitted on days before its quarter",
    )
    op.create_index(op.f("ix_market_regimes_date"), "market_regimes", ["date"], unique=False)
    op.create_table(
        "observations",
        sa.Column("source", sa.Text(), nullable=False, comment="Vendor"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column(
            "metric",
            sa.Text(),
            nullable=False,
            comment="What was observed: prices, volumes and capitalisations in USD, supplies in units, the rank as a number",
        ),
        sa.Column("observed_at", UtcDateTime(), nullable=False, comment="When the vendor last updated it"),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition in which it was first told"),
        sa.Column("value", sa.Float(), nullable=False, comment="Value in the metric's unit"),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("source", "instrument_id", "metric", "observed_at", name=op.f("pk_observations")),
        comment="Snapshots of what a vendor said at an instant: append-only, never bars except where a bar says so",
    )
    op.create_index(op.f("ix_observations_date"), "observations", ["date"], unique=False)
    op.create_table(
        "ohlcv_alpha_vantage",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("interval", sa.Text(), nullable=False, comment="1d"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Start of the UTC day of the session"),
        sa.Column("date", sa.Date(), nullable=False, comment="Session"),
        sa.Column("open", sa.Float(), nullable=False, comment="Raw open in USD"),
        sa.Column("high", sa.Float(), nullable=False, comment="Raw high in USD"),
        sa.Column("low", sa.Float(), nullable=False, comment="Raw low in USD"),
        sa.Column("close", sa.Float(), nullable=False, comment="Raw close in USD"),
        sa.Column(
            "adjusted_close",
            sa.Float(),
            nullable=True,
            comment="Close as the vendor adjusts it on the day of the answer: a cross-check",
        ),
        sa.Column("volume_units", sa.Float(), nullable=True, comment="Shares traded"),
        sa.Column("dividend", sa.Float(), nullable=False, comment="Dividend in USD per share with this ex-date"),
        sa.Column(
            "split_coefficient",
            sa.Float(),
            nullable=False,
            comment="New shares for an old one with this ex-date; 1: no split",
        ),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "ts", name=op.f("pk_ohlcv_alpha_vantage")),
        comment="Daily bars as Alpha Vantage tells them: raw prices of the session, with its dividend and split",
    )
    op.create_index(op.f("ix_ohlcv_alpha_vantage_date"), "ohlcv_alpha_vantage", ["date"], unique=False)
    op.create_table(
        "ohlcv_csv",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("interval", sa.Text(), nullable=False, comment="1d, 5m, …"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Open of the bar in UTC"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the bar"),
        sa.Column(
            "open", sa.Float(), nullable=True, comment="Open in the file's quotes; null where it has closes only"
        ),
        sa.Column("high", sa.Float(), nullable=True, comment="High in the file's quotes"),
        sa.Column("low", sa.Float(), nullable=True, comment="Low in the file's quotes"),
        sa.Column("close", sa.Float(), nullable=False, comment="Close in the file's quotes"),
        sa.Column(
            "volume_units",
            sa.Float(),
            nullable=True,
            comment="Volume in units; null: unknown, or zero in the whole file",
        ),
        sa.Column("volume_usd", sa.Float(), nullable=True, comment="Volume in USD"),
        sa.Column(
            "market_cap_usd",
            sa.Float(),
            nullable=True,
            comment="Market capitalisation in USD, null when the file says 0",
        ),
        sa.Column("csv_source", sa.Text(), nullable=False, comment="Source in csv_sources.yaml"),
        sa.Column("price_scale", sa.Float(), nullable=False, comment="Quotes are divided by it to give USD"),
        sa.Column(
            "is_adjusted", sa.Boolean(), nullable=False, comment="Prices are already adjusted for splits and dividends"
        ),
        sa.Column("file_sha256", sa.Text(), nullable=False, comment="File that told these values first"),
        sa.Column("row_number", sa.Integer(), nullable=False, comment="Line of the file"),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "ts", name=op.f("pk_ohlcv_csv")),
        comment="Bars as imported files tell them: in UTC, unscaled",
    )
    op.create_index(op.f("ix_ohlcv_csv_date"), "ohlcv_csv", ["date"], unique=False)
    op.create_index(op.f("ix_ohlcv_csv_file_sha256"), "ohlcv_csv", ["file_sha256"], unique=False)
    add_required(
        "daily_bars",
        sa.Column(
            "instrument_type",
            sa.Text(),
            nullable=False,
            server_default="crypto",
            comment="Type of the instrument: the slice of one writer is (date, type)",
        ),
    )
    add_required(
        "daily_bars",
        sa.Column(
            "split_factor",
            sa.Float(),
            nullable=False,
            server_default="1",
            comment="Adjusted volume = volume_units / this: later splits; 1 for tokens",
        ),
    )
    add_required(
        "instruments",
        sa.Column(
            "universe",
            sa.Text(),
            nullable=False,
            server_default="stablecoins",
            comment="Group in which it is ranked and that strategies name",
        ),
    )
    op.add_column(
        "instruments",
        sa.Column(
            "benchmark",
            sa.Text(),
            nullable=True,
            comment="Instrument that beta and relative strength are measured against",
        ),
    )
    add_required(
        "instruments",
        sa.Column(
            "is_configured",
            sa.Boolean(),
            nullable=False,
            server_default=sa.true(),
            comment="Still in a configuration file; what is not is no longer asked for",
        ),
    )
    observe_coin_markets()
    for (table, column), (_, comment) in COMMENTS.items():
        say(table, column, comment)
    for table, (_, comment) in TABLE_COMMENTS.items():
        say_of_table(table, comment)


def downgrade() -> None:
    """Take the schema back."""
    for table, (comment, _) in TABLE_COMMENTS.items():
        say_of_table(table, comment)
    for (table, column), (comment, _) in COMMENTS.items():
        say(table, column, comment)
    recall_coin_markets()
    op.drop_column("instruments", "is_configured")
    op.drop_column("instruments", "benchmark")
    op.drop_column("instruments", "universe")
    op.drop_column("daily_bars", "split_factor")
    op.drop_column("daily_bars", "instrument_type")
    op.drop_index(op.f("ix_ohlcv_csv_file_sha256"), table_name="ohlcv_csv")
    op.drop_index(op.f("ix_ohlcv_csv_date"), table_name="ohlcv_csv")
    op.drop_table("ohlcv_csv")
    op.drop_index(op.f("ix_ohlcv_alpha_vantage_date"), table_name="ohlcv_alpha_vantage")
    op.drop_table("ohlcv_alpha_vantage")
    op.drop_index(op.f("ix_observations_date"), table_name="observations")
    op.drop_table("observations")
    op.drop_index(op.f("ix_market_regimes_date"), table_name="market_regimes")
    op.drop_table("market_regimes")
    op.drop_index(op.f("ix_market_events_date"), table_name="market_events")
    op.drop_table("market_events")
    op.drop_index(op.f("ix_intraday_features_date"), table_name="intraday_features")
    op.drop_table("intraday_features")
    op.drop_index(op.f("ix_intraday_bars_date"), table_name="intraday_bars")
    op.drop_table("intraday_bars")
    op.drop_index(op.f("ix_feature_targets_known_on"), table_name="feature_targets")
    op.drop_table("feature_targets")
    op.drop_index(op.f("ix_feature_state_date"), table_name="feature_state")
    op.drop_table("feature_state")
    op.drop_index(op.f("ix_daily_features_date"), table_name="daily_features")
    op.drop_table("daily_features")
    op.drop_table("csv_imports")
    op.drop_table("corporate_actions")


def add_required(table: str, column: "sa.Column[Any]") -> None:
    """Add a column that is never null: the rows that are there get its default, later ones must name a value."""
    op.add_column(table, column)
    with op.batch_alter_table(table) as batch:
        batch.alter_column(column.name, existing_type=column.type, existing_nullable=False, server_default=None)


def observe_coin_markets() -> None:
    """The snapshots of coin_markets as observations, one row per metric; what was not told has no row.

    Two snapshots with one stamp of the vendor are one observation, of the earlier day.
    """
    parts = [
        f"SELECT instrument_id, '{metric}' AS metric, COALESCE(updated_at, fetched_at) AS observed_at, date, "  # noqa: S608
        f"{metric} AS value, fetched_at FROM coin_markets WHERE {metric} IS NOT NULL"
        for metric in METRICS
    ]
    op.execute(
        "INSERT INTO observations (source, instrument_id, metric, observed_at, date, value, fetched_at) "  # noqa: S608
        "SELECT 'coingecko', instrument_id, metric, observed_at, date, value, fetched_at FROM ("
        "SELECT told.*, ROW_NUMBER() OVER (PARTITION BY instrument_id, metric, observed_at ORDER BY date) AS place "
        f"FROM ({' UNION ALL '.join(parts)}) AS told) AS ranked WHERE place = 1"
    )
    op.drop_table("coin_markets")


def recall_coin_markets() -> None:
    """coin_markets as it was, with what the observations of CoinGecko tell."""
    told = "MAX(CASE WHEN metric = '{metric}' THEN value END)"
    op.create_table(
        "coin_markets",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("coingecko_id", sa.Text(), nullable=False, comment="CoinGecko id"),
        sa.Column("price_usd", sa.Float(), nullable=True, comment="Current price in USD"),
        sa.Column(
            "market_cap_usd",
            sa.Float(),
            nullable=True,
            comment="Market capitalisation in USD, null when the vendor says 0",
        ),
        sa.Column("volume_24h_usd", sa.Float(), nullable=True, comment="Volume of the last 24 hours in USD"),
        sa.Column("high_24h_usd", sa.Float(), nullable=True, comment="High of the last 24 hours in USD"),
        sa.Column("low_24h_usd", sa.Float(), nullable=True, comment="Low of the last 24 hours in USD"),
        sa.Column("updated_at", UtcDateTime(), nullable=True, comment="When the vendor last updated the row"),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("date", "instrument_id", name=op.f("pk_coin_markets")),
        comment="CoinGecko's rolling 24 hours at the end of the day: a snapshot, not a bar",
    )
    op.execute(
        f"INSERT INTO coin_markets (date, instrument_id, coingecko_id, {', '.join(METRICS)}, updated_at, "  # noqa: S608
        "fetched_at) SELECT o.date, o.instrument_id, i.coingecko_id, "
        f"{', '.join(told.format(metric=metric) for metric in METRICS)}, MAX(o.observed_at), MAX(o.fetched_at) "
        "FROM observations AS o JOIN instruments AS i ON i.instrument_id = o.instrument_id "
        "WHERE o.source = 'coingecko' AND i.coingecko_id IS NOT NULL GROUP BY o.date, o.instrument_id, i.coingecko_id"
    )


def say(table: str, column: str, words: str) -> None:
    """Describe a column, on databases that keep descriptions."""
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, column, comment=words)


def say_of_table(table: str, words: str) -> None:
    """Describe a table, on databases that keep descriptions."""
    if op.get_bind().dialect.name != "sqlite":
        op.create_table_comment(table, words)


def features(*reaches: str) -> list[sa.Column[Any]]:
    """Columns of features as they stood at revision 0006: of any bar, of sessions, of days with a universe."""
    told = json.loads((Path(__file__).parents[1] / "feature_columns_0006.json").read_text(encoding="utf-8"))
    return [
        sa.Column(one["name"], sa.Float(), nullable=True, comment=one["comment"])
        for one in told
        if one["reach"] in reaches
    ]
