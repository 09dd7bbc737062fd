"""Revision 0002: vendors and revisions.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human.
"""

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
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
    op.create_table(
        "history_revisions",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition: the day whose run saw the change"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("point_date", sa.Date(), nullable=False, comment="Day of the changed point"),
        sa.Column("revision", sa.Integer(), nullable=False, comment="Revision that the change made, from 1 on"),
        sa.Column("apy_before", sa.Float(), nullable=True, comment="Total APY of the revision before, fraction"),
        sa.Column("apy", sa.Float(), nullable=True, comment="Total APY now, fraction"),
        sa.Column("apy_change", sa.Float(), nullable=True, comment="apy minus apy_before, fraction"),
        sa.Column("tvl_before_usd", sa.Float(), nullable=True, comment="Value locked of the revision before"),
        sa.Column("tvl_usd", sa.Float(), nullable=True, comment="Value locked now"),
        sa.Column(
            "age_days", sa.Integer(), nullable=False, comment="Days between the point and the day that saw the change"
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="chart or snapshot"),
        sa.Column("seen_at", UtcDateTime(), nullable=False, comment="When the change was seen"),
        sa.PrimaryKeyConstraint("date", "pool_id", "point_date", "revision", name=op.f("pk_history_revisions")),
        comment="Past values that a vendor changed, by the day on which we saw the change",
    )
    op.create_table(
        "lending_histories",
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the point"),
        sa.Column("total_supply_usd", sa.Float(), nullable=True, comment="Supplied value"),
        sa.Column("total_borrow_usd", sa.Float(), nullable=True, comment="Borrowed value"),
        sa.Column("apy_base", sa.Float(), nullable=True, comment="Supply APY, fraction"),
        sa.Column("apy_reward", sa.Float(), nullable=True, comment="Reward APY of suppliers, fraction"),
        sa.Column("apy_base_borrow", sa.Float(), nullable=True, comment="Borrow APY, fraction"),
        sa.Column("apy_reward_borrow", sa.Float(), nullable=True, comment="Reward APY of borrowers, fraction"),
        sa.Column("seen_at", UtcDateTime(), nullable=False, comment="When we first saw this point"),
        sa.PrimaryKeyConstraint("pool_id", "date", name=op.f("pk_lending_histories")),
        comment="Daily supply, borrow and both rates of tracked lending pools, as first seen",
    )
    op.create_index(op.f("ix_lending_histories_date"), "lending_histories", ["date"], unique=False)
    op.create_table(
        "ohlcv_coingecko",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("interval", sa.Text(), nullable=False, comment="1d"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Open of the bar"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the bar"),
        sa.Column("open", sa.Float(), nullable=True, comment="Open in USD"),
        sa.Column("high", sa.Float(), nullable=True, comment="High in USD"),
        sa.Column("low", sa.Float(), nullable=True, comment="Low in USD"),
        sa.Column("close", sa.Float(), nullable=False, comment="Close in USD"),
        sa.Column("volume_usd", sa.Float(), nullable=True, comment="Volume in USD"),
        sa.Column(
            "market_cap_usd",
            sa.Float(),
            nullable=True,
            comment="Market capitalisation in USD, null when the vendor says 0",
        ),
        sa.Column("fetched_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("instrument_id", "interval", "ts", name=op.f("pk_ohlcv_coingecko")),
        comment="Daily bars as CoinGecko tells them: candles of the UTC day, "
        "volume and capitalisation from market_chart",
    )
    op.create_index(op.f("ix_ohlcv_coingecko_date"), "ohlcv_coingecko", ["date"], unique=False)
    op.create_table(
        "pendle_markets",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("market", sa.Text(), nullable=False, comment="Address of the market, lower case"),
        sa.Column("name", sa.Text(), nullable=False, comment="Pendle's name, display only"),
        sa.Column("expiry", sa.Date(), nullable=False, comment="Day of maturity"),
        sa.Column("principal_token", sa.Text(), nullable=True, comment="Address of PT, lower case"),
        sa.Column("yield_token", sa.Text(), nullable=True, comment="Address of YT, lower case"),
        sa.Column("standardised_yield", sa.Text(), nullable=True, comment="Address of SY, lower case"),
        sa.Column("underlying", sa.Text(), nullable=True, comment="Address of the underlying asset, lower case"),
        sa.PrimaryKeyConstraint("date", "chain_id", "market", name=op.f("pk_pendle_markets")),
        comment="Pendle's market map of the day: what each market's tokens stand for",
    )
    op.create_table(
        "resolved_underlyings",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("address", sa.Text(), nullable=False, comment="Underlying token, lower case"),
        sa.Column("resolver", sa.Text(), nullable=False, comment="Who says so"),
        sa.Column("evidence", sa.Text(), nullable=False, comment="What it rests on, in words with figures"),
        sa.Column("maturity", sa.Date(), nullable=True, comment="Maturity, where the resolver knows one"),
        sa.PrimaryKeyConstraint("date", "pool_id", "address", name=op.f("pk_resolved_underlyings")),
        comment="Underlying tokens of pools whose vendor names none, as a "
        "resolver found them; a list is whole or absent",
    )
    op.create_table(
        "vendor_paces",
        sa.Column("vendor", sa.Text(), nullable=False, comment="Vendor's short name"),
        sa.Column(
            "key_id", sa.Text(), nullable=False, comment="Fingerprint of the key, `none` without one; never the key"
        ),
        sa.Column("next_at", UtcDateTime(), nullable=False, comment="First instant that no process has reserved yet"),
        sa.PrimaryKeyConstraint("vendor", "key_id", name=op.f("pk_vendor_paces")),
        comment="When the next call to a vendor under one key may be sent, whichever process sends it",
    )
    op.create_table(
        "vendor_usage",
        sa.Column("vendor", sa.Text(), nullable=False, comment="Vendor's short name"),
        sa.Column(
            "key_id", sa.Text(), nullable=False, comment="Fingerprint of the key, `none` without one; never the key"
        ),
        sa.Column("period", sa.Text(), nullable=False, comment="minute, day or month"),
        sa.Column("starts_at", UtcDateTime(), nullable=False, comment="Start of the period"),
        sa.Column(
            "calls",
            sa.Integer(),
            nullable=False,
            comment="Calls (or credits, where the vendor counts them) reserved in the period",
        ),
        sa.PrimaryKeyConstraint("vendor", "key_id", "period", "starts_at", name=op.f("pk_vendor_usage")),
        comment="Calls sent to a vendor under one key, by minute, day and "
        "month of the wall clock: what is left of its budgets",
    )
    op.add_column(
        "raw_fetches",
        sa.Column(
            "earlier_sha256",
            sa.Text(),
            nullable=True,
            comment="Bodies of attempts before the last one, separated by spaces",
        ),
    )
    # One cursor a day, so that a day read again asks what it asked before; without one a wallet is read from the start.
    op.drop_table("account_cursors")
    op.create_table(
        "account_cursors",
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("wallet", sa.Text(), nullable=False, comment="Wallet address, lower case"),
        sa.Column("kind", sa.Text(), nullable=False, comment="native, internal or token"),
        sa.Column("read_through", sa.Date(), nullable=False, comment="Last complete day read"),
        sa.Column("last_block", sa.Integer(), nullable=False, comment="Highest block read"),
        sa.PrimaryKeyConstraint("chain_id", "wallet", "kind", "read_through", name=op.f("pk_account_cursors")),
        comment="How far each wallet's history has been read",
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_table("vendor_usage")
    op.drop_table("vendor_paces")
    op.drop_table("resolved_underlyings")
    op.drop_table("pendle_markets")
    op.drop_index(op.f("ix_ohlcv_coingecko_date"), table_name="ohlcv_coingecko")
    op.drop_table("ohlcv_coingecko")
    op.drop_index(op.f("ix_lending_histories_date"), table_name="lending_histories")
    op.drop_table("lending_histories")
    op.drop_table("history_revisions")
    op.drop_table("coin_markets")
    op.drop_column("raw_fetches", "earlier_sha256")
    # One cursor a day, so that a day read again asks what it asked before; without one a wallet is read from the start.
    op.drop_table("account_cursors")
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
