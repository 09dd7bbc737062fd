"""Revision 0004: ledger that reconciles.

Written from defiyield_assets/store/schema by migrations/autogenerate.py, then read by a human.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import BaseUnits, ExactDecimal, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COMMENTS = {
    ("account_cursors", "kind"): (
        "native, internal or token",
        "Always all: one reading covers native, internal and token",
    ),
    ("account_cursors", "last_block"): ("Highest block read", "Highest block with a transaction of the wallet"),
    ("ledger_postings", "kind"): (
        "native, internal, token, gas, or accrual",
        "native, internal, token, gas, opening, accrual or correction",
    ),
    ("ledger_postings", "date"): (
        "UTC day of the block",
        "Day on which it is booked: of the block, or when a correction was made",
    ),
    ("ledger_postings", "corrects"): ("Posting that this one corrects", "Transaction whose postings this one corrects"),
    ("pool_positions", "rate_source"): ("mint_ratio, apy_growth or chain", "Where the rate comes from"),
    ("nav_daily", "realised_yield_1d"): (
        "Income over opening NAV, fraction",
        "Income over opening NAV and the day's flows, fraction",
    ),
    ("yield_attribution", "income_usd"): (
        "Yield of the day",
        "Yield of the day and rewards of the pool's own transactions",
    ),
    ("yield_attribution", "gap_rate"): (
        "Part of realised minus forecast from the rate, fraction",
        "Part of realised minus forecast from the rate, fraction; the parts add up exactly",
    ),
    ("yield_attribution", "opening_usd"): (
        "Position at the start of the day",
        "Position at the start of the day, at the close of the day before",
    ),
}
"""Descriptions of columns that changed: as they were and as they are."""


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "ledger_closings",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column(
            "transactions",
            sa.Integer(),
            nullable=False,
            comment="Rows of account_transactions up to the end of the day when it was booked",
        ),
        sa.Column(
            "address_book",
            sa.Text(),
            nullable=False,
            comment="Fingerprint of wallets, pools and approved tokens by which it was booked",
        ),
        sa.Column(
            "is_overtaken",
            sa.Boolean(),
            nullable=False,
            comment="An earlier day was booked otherwise since: what follows has to be gone through",
        ),
        sa.PrimaryKeyConstraint("date", name=op.f("pk_ledger_closings")),
        comment="By what each day was booked: whether its postings still stand is told from it",
    )
    op.create_table(
        "open_lots",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column(
            "lot_id", sa.Text(), nullable=False, comment="Posting that acquired it: transaction, kind, ordinal, leg"
        ),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("acquired_on", sa.Date(), nullable=False, comment="Day of the acquisition"),
        sa.Column("acquired_by", sa.Text(), nullable=False, comment="Classification of the acquisition"),
        sa.Column("amount", BaseUnits(), nullable=False, comment="Base units that are left"),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals"),
        sa.Column(
            "cost_usd",
            ExactDecimal(),
            nullable=True,
            comment="Cost of what is left; null where no close is known for the day of the acquisition",
        ),
        sa.PrimaryKeyConstraint("date", "lot_id", "chain_id", name=op.f("pk_open_lots")),
        comment="What is held, by when and for how much it was acquired",
    )
    op.create_table(
        "realised_gains",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column(
            "disposal_id",
            sa.Text(),
            nullable=False,
            comment="Posting that gave it away: transaction, kind, ordinal, leg",
        ),
        sa.Column("lot_id", sa.Text(), nullable=False, comment="Lot that it was taken from"),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("method", sa.Text(), nullable=False, comment="How the lot was chosen"),
        sa.Column("disposed_by", sa.Text(), nullable=False, comment="Classification of the disposal"),
        sa.Column("acquired_on", sa.Date(), nullable=False, comment="Day of the acquisition"),
        sa.Column("acquired_by", sa.Text(), nullable=False, comment="Classification of the acquisition"),
        sa.Column(
            "amount",
            BaseUnits(),
            nullable=False,
            comment="Base units; negative where a correction puts back what was counted as given away",
        ),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals"),
        sa.Column("proceeds_usd", ExactDecimal(), nullable=True, comment="Value at the close of the day"),
        sa.Column("cost_usd", ExactDecimal(), nullable=True, comment="What it cost"),
        sa.Column("gain_usd", ExactDecimal(), nullable=True, comment="Proceeds minus cost"),
        sa.PrimaryKeyConstraint("date", "disposal_id", "lot_id", "chain_id", name=op.f("pk_realised_gains")),
        comment="What was given away on the day: proceeds, cost and gain by lot",
    )
    op.create_table(
        "share_rates",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("wallet", sa.Text(), nullable=False, comment="Wallet whose shares were asked about, lower case"),
        sa.Column("share_token", sa.Text(), nullable=False, comment="Share token, lower case"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Underlying token, lower case"),
        sa.Column("shares", BaseUnits(), nullable=False, comment="Shares that were asked about, base units"),
        sa.Column("assets", BaseUnits(), nullable=False, comment="Underlying base units that they stand for"),
        sa.Column("block_number", sa.Integer(), nullable=False, comment="Block of the answer"),
        sa.Column("source", sa.Text(), nullable=False, comment="Contract call that told it"),
        sa.Column("observed_at", UtcDateTime(), nullable=False, comment="The transport's stamp"),
        sa.PrimaryKeyConstraint("date", "chain_id", "wallet", "share_token", name=op.f("pk_share_rates")),
        comment="What a share is worth as the chain tells it, where a node is configured",
    )
    op.create_table(
        "trial_balance",
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("account", sa.Text(), nullable=False, comment="Account, such as assets:wallet:<address>"),
        sa.Column(
            "wallet",
            sa.Text(),
            nullable=False,
            comment="Wallet that the account's leg belongs to, lower case; empty for none",
        ),
        sa.Column("counterparty", sa.Text(), nullable=False, comment="Address outside, lower case; empty for none"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("balance", BaseUnits(), nullable=False, comment="Signed base units at the end of the day"),
        sa.Column(
            "was_debited",
            sa.Boolean(),
            nullable=False,
            comment="Whether some transaction, as corrected, left more in it than it took",
        ),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals"),
        sa.Column("pool_id", sa.Text(), nullable=True, comment="Pool, where the account belongs to one"),
        sa.PrimaryKeyConstraint(
            "chain_id", "account", "wallet", "counterparty", "token_address", "date", name=op.f("pk_trial_balance")
        ),
        comment="Balance of every account after each day on which it moved; its newest row up to a day holds then",
    )
    op.create_index(op.f("ix_trial_balance_date"), "trial_balance", ["date"], unique=False)
    op.create_table(
        "unexplained_transactions",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("chain_id", sa.Integer(), nullable=False, comment="EVM chain id"),
        sa.Column("tx_hash", sa.Text(), nullable=False, comment="Transaction"),
        sa.Column("token_address", sa.Text(), nullable=False, comment="Token, lower case; 'native' for ETH"),
        sa.Column("booked_on", sa.Date(), nullable=False, comment="Day on which it was booked"),
        sa.Column(
            "amount",
            BaseUnits(),
            nullable=False,
            comment="Signed base units: what our wallets gained (+) or gave (-) without an explanation",
        ),
        sa.Column("decimals", sa.Integer(), nullable=False, comment="Decimals"),
        sa.Column("symbol", sa.Text(), nullable=True, comment="Our symbol, null for untrusted tokens"),
        sa.Column("counterparty", sa.Text(), nullable=True, comment="Address outside, lower case; null when several"),
        sa.Column(
            "valued_usd", ExactDecimal(), nullable=True, comment="Value when it was booked; 0 for untrusted tokens"
        ),
        sa.Column("classification", sa.Text(), nullable=False, comment="What its shape looks like"),
        sa.Column("hint", sa.Text(), nullable=False, comment="What would explain it"),
        sa.PrimaryKeyConstraint(
            "date", "chain_id", "tx_hash", "token_address", name=op.f("pk_unexplained_transactions")
        ),
        comment="What the ledger cannot explain, every day until it is resolved",
    )
    add_required(
        "account_cursors",
        sa.Column(
            "final_block",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="Highest block that was deep enough when it was read",
        ),
    )
    op.execute("UPDATE account_cursors SET final_block = last_block")
    add_required(
        "account_transactions",
        sa.Column(
            "is_pending",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="In a block that was not deep enough when it was read: read again and replaced",
        ),
    )
    add_required(
        "pool_contracts",
        sa.Column(
            "is_rebasing",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="The share's balance grows by itself; one base unit of it is one of the underlying",
        ),
    )
    op.add_column(
        "ledger_postings",
        sa.Column(
            "counterparty",
            sa.Text(),
            nullable=True,
            comment="Address outside, lower case, of a leg on external capital or on what is unexplained",
        ),
    )
    op.add_column(
        "nav_daily",
        sa.Column(
            "realised_yield_mtd",
            sa.Float(),
            nullable=True,
            comment="Daily realised yields of the month so far, chained, fraction",
        ),
    )
    op.add_column(
        "nav_daily",
        sa.Column(
            "realised_yield_ytd",
            sa.Float(),
            nullable=True,
            comment="Daily realised yields of the year so far, chained, fraction",
        ),
    )
    op.add_column(
        "yield_attribution",
        sa.Column(
            "flows_usd",
            ExactDecimal(),
            nullable=True,
            comment="Paid in minus paid out, rewards of the pool's own transactions among the latter",
        ),
    )
    op.add_column(
        "yield_attribution",
        sa.Column(
            "price_change_usd", ExactDecimal(), nullable=True, comment="Change of closes on what was held at the start"
        ),
    )
    op.add_column(
        "yield_attribution",
        sa.Column(
            "closing_usd",
            ExactDecimal(),
            nullable=True,
            comment="Position at the end of the day: opening + flows + income + price change",
        ),
    )
    op.add_column(
        "yield_attribution",
        sa.Column(
            "cost_usd", ExactDecimal(), nullable=True, comment="Gas and conversions of the pool's own transactions"
        ),
    )
    change_gaps(sa.Float(), ExactDecimal())
    for (table, column), (_, comment) in COMMENTS.items():
        say(table, column, comment)


def downgrade() -> None:
    """Take the schema back."""
    for (table, column), (comment, _) in COMMENTS.items():
        say(table, column, comment)
    change_gaps(ExactDecimal(), sa.Float())
    for column in ("cost_usd", "closing_usd", "price_change_usd", "flows_usd"):
        op.drop_column("yield_attribution", column)
    op.drop_column("nav_daily", "realised_yield_ytd")
    op.drop_column("nav_daily", "realised_yield_mtd")
    op.drop_column("ledger_postings", "counterparty")
    op.drop_column("pool_contracts", "is_rebasing")
    op.drop_column("account_transactions", "is_pending")
    op.drop_column("account_cursors", "final_block")
    op.drop_table("unexplained_transactions")
    op.drop_index(op.f("ix_trial_balance_date"), table_name="trial_balance")
    op.drop_table("trial_balance")
    op.drop_table("share_rates")
    op.drop_table("ledger_closings")
    op.drop_table("realised_gains")
    op.drop_table("open_lots")


def add_required(table: str, column: "sa.Column[Any]") -> None:
    """Add a column that is never null: the rows that are there get its default, later ones must name a value."""
    op.add_column(table, column)
    with op.batch_alter_table(table) as batch:
        batch.alter_column(column.name, existing_type=column.type, existing_nullable=False, server_default=None)


def change_gaps(old: sa.types.TypeEngine[Any], new: sa.types.TypeEngine[Any]) -> None:
    """Change the type of the four parts of the gap between realised and forecast APY, with their values."""
    numeric = "DOUBLE PRECISION" if isinstance(new, sa.Float) else "NUMERIC"
    with op.batch_alter_table("yield_attribution") as batch:
        for column in ("gap_rate", "gap_dilution", "gap_price", "gap_cost"):
            batch.alter_column(
                column, existing_type=old, type_=new, existing_nullable=True, postgresql_using=f"{column}::{numeric}"
            )


def say(table: str, column: str, words: str) -> None:
    """Describe a column, on databases that keep descriptions."""
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column(table, column, comment=words)
