"""Revision 0011: versions of the policy, and the audit of the console.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human, who added that the
console's role may add rows (deploy/postgres/roles.sql): privileges cannot be granted on tables that are not there yet.
"""

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CONSOLE = "defiyield_console"


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "console_audit",
        sa.Column("audit_id", sa.Text(), nullable=False, comment="Random id"),
        sa.Column("at", UtcDateTime(), nullable=False, comment="When"),
        sa.Column("author", sa.Text(), nullable=False, comment="Who, as they were logged in; empty: nobody was"),
        sa.Column("remote", sa.Text(), nullable=False, comment="Address that the request came from"),
        sa.Column("action", sa.Text(), nullable=False, comment="What was asked for, such as login or write_version"),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="What it was about, such as a parameter's name; empty: nothing",
        ),
        sa.Column("outcome", sa.Text(), nullable=False, comment="What became of it"),
        sa.Column("detail", sa.Text(), nullable=False, comment="More in one line, without secrets"),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_console_audit")),
        comment="Every write through the console, refused ones too, and every login",
    )
    op.create_table(
        "policy_versions",
        sa.Column("version", sa.Integer(), nullable=False, comment="1 for the first, then one more for each"),
        sa.Column("created_at", UtcDateTime(), nullable=False, comment="When it was written"),
        sa.Column(
            "author",
            sa.Text(),
            nullable=False,
            comment="Who wrote it; files: found in the folder, nobody knows by whom",
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why, in one line"),
        sa.Column(
            "origin",
            sa.Text(),
            nullable=False,
            comment="console: by a command or the console; files: found in the folder; restore: an older one again",
        ),
        sa.Column("restored_from", sa.Integer(), nullable=True, comment="Version that was restored; null: none"),
        sa.Column("what", sa.Text(), nullable=False, comment="What was changed, in one line"),
        sa.Column(
            "files_json",
            sa.Text(),
            nullable=False,
            comment="Texts of policy.yaml, tokens.yaml and protocols.yaml by name, as canonical JSON",
        ),
        sa.Column("files_hash", sa.Text(), nullable=False, comment="SHA-256 (hex) of files_json"),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policy_versions")),
        comment="Every version of the policy's files, with who wrote it and why; accounts.yaml is never among them",
    )
    if op.get_bind().dialect.name == "postgresql" and _has_role(CONSOLE):
        op.execute(f"GRANT INSERT ON policy_versions, console_audit TO {CONSOLE}")


def _has_role(name: str) -> bool:
    found = op.get_bind().execute(sa.text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name})
    return found.first() is not None


def downgrade() -> None:
    """Take the schema back."""
    op.drop_table("policy_versions")
    op.drop_table("console_audit")
