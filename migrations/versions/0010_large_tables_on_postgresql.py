"""Revision 0010: a partition's requests are found by an index, and large tables are vacuumed before they swell.

Written by hand. The settings are PostgreSQL's only: by default a table is vacuumed when a fifth of its rows is dead,
which tables that replace a day's slice reach once in months (benchmarks/warehouse_layouts.py measures both).
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

LARGE = (
    "daily_features",
    "forecast_scores",
    "intraday_bars",
    "pool_forecasts",
    "pool_groups",
    "pool_histories",
    "pool_metrics",
    "pool_quality",
    "pools",
    "raw_fetches",
)
EARLIER = (
    "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, "
    "autovacuum_analyze_scale_factor = 0.02"
)
NAMES = "autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor"


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_index(op.f("ix_raw_fetches_partition_date"), "raw_fetches", ["partition_date"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        for table in LARGE:
            op.execute(f"ALTER TABLE {table} SET ({EARLIER})")


def downgrade() -> None:
    """Take the schema back."""
    if op.get_bind().dialect.name == "postgresql":
        for table in LARGE:
            op.execute(f"ALTER TABLE {table} RESET ({NAMES})")
    op.drop_index(op.f("ix_raw_fetches_partition_date"), table_name="raw_fetches")
