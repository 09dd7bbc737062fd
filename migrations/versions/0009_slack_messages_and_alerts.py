"""Revision 0009: slack messages and alerts.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human.
"""

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column(
        "forecast_scoreboard",
        sa.Column(
            "n_bands",
            sa.Integer(),
            nullable=True,
            comment="Forecasts that count for coverage; null: made before it was kept",
        ),
    )
    op.create_table(
        "slack_alerts",
        sa.Column("asset", sa.Text(), nullable=False, comment="Step that failed, or the job when no step did"),
        sa.Column(
            "date",
            sa.Date(),
            nullable=False,
            comment="Partition, the first of a range; without one the day of the failure",
        ),
        sa.Column(
            "episode",
            sa.Integer(),
            nullable=False,
            comment="0 for the first failure of the day, then one more after each recovery",
        ),
        sa.Column("through", sa.Date(), nullable=False, comment="Last partition of a range"),
        sa.Column("is_partitioned", sa.Boolean(), nullable=False, comment="The run had a partition"),
        sa.Column("job", sa.Text(), nullable=False, comment="Job of the run"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Run that failed first"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Its error in one line, cut"),
        sa.Column("failed_at", UtcDateTime(), nullable=False, comment="When it failed"),
        sa.Column("repeats", sa.Integer(), nullable=False, comment="Failures since then, that nobody is told of"),
        sa.Column(
            "is_told", sa.Boolean(), nullable=False, comment="The failure was posted, or nobody knows whether it was"
        ),
        sa.Column(
            "recovered_at", UtcDateTime(), nullable=True, comment="When it was made after all; null: it still fails"
        ),
        sa.Column("noticed_at", UtcDateTime(), nullable=True, comment="When it was seen that it was made after all"),
        sa.Column(
            "is_recovery_told",
            sa.Boolean(),
            nullable=False,
            comment="The recovery was posted, or nobody knows whether it was",
        ),
        sa.Column("recovery_key", sa.Text(), nullable=True, comment="Message that tells of the recovery"),
        sa.PrimaryKeyConstraint("asset", "date", "episode", name=op.f("pk_slack_alerts")),
        comment="Failures that people are told of, once for each step and day until it recovers",
    )
    op.create_table(
        "slack_messages",
        sa.Column(
            "message_key",
            sa.Text(),
            nullable=False,
            comment="What is told, such as the plan of a day; the same key is the same message",
        ),
        sa.Column(
            "destination",
            sa.Text(),
            nullable=False,
            comment="Channel of the bot, or fingerprint of the webhook's address; never the address",
        ),
        sa.Column(
            "revision", sa.Integer(), nullable=False, comment="0 for the first words, then one more for each correction"
        ),
        sa.Column(
            "part",
            sa.Integer(),
            nullable=False,
            comment="0 for the message, then its continuations; 1000 for the word that it was corrected",
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="Day that is told of"),
        sa.Column("run_id", sa.Text(), nullable=False, comment="Plan or run that is told of; empty: none"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="Fingerprint of all parts of the revision"),
        sa.Column("text", sa.Text(), nullable=False, comment="The part in words, as the notification shows it"),
        sa.Column(
            "advice",
            sa.Text(),
            nullable=False,
            comment="Fingerprint of what the revision tells people to do, or of its words",
        ),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="posting: claimed, nothing known yet; refused: it is not there; unknown: nobody knows whether it is there",
        ),
        sa.Column("is_edit", sa.Boolean(), nullable=False, comment="It replaces an earlier revision in its place"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="How often it was claimed"),
        sa.Column(
            "channel", sa.Text(), nullable=True, comment="Slack's id of the channel; null: a webhook, or not posted"
        ),
        sa.Column(
            "ts",
            sa.Text(),
            nullable=True,
            comment="Slack's id of the message in the channel; null: a webhook, or not posted",
        ),
        sa.Column("answer", sa.Text(), nullable=True, comment="What went wrong, in words without secrets"),
        sa.Column("claimed_at", UtcDateTime(), nullable=False, comment="When a run began to post it"),
        sa.Column("settled_at", UtcDateTime(), nullable=True, comment="When it became known what became of it"),
        sa.PrimaryKeyConstraint("message_key", "destination", "revision", "part", name=op.f("pk_slack_messages")),
        comment="Every post to Slack, written before it is sent: the claim that keeps two runs, or a crash, from posting twice",
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_table("slack_messages")
    op.drop_table("slack_alerts")
    op.drop_column("forecast_scoreboard", "n_bands")
