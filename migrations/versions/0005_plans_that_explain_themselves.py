"""Revision 0005: plans that explain themselves.

Written from defiyield_assets/store/schema by migrations/autogenerate.py, then read by a human.
"""

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import ExactDecimal

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "allocation_limits",
        sa.Column("run_id", sa.Text(), nullable=False, comment="Plan"),
        sa.Column("limit_name", sa.Text(), nullable=False, comment="Parameter of the policy, or eth_balance"),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="Pool id, protocol, issuer, chain or risk group; illiquid: all with exit days; plan: the whole",
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column(
            "limit_usd",
            ExactDecimal(),
            nullable=True,
            comment="The limit as the plan keeps it, less headroom and rounding; null for those without USD",
        ),
        sa.Column("used_usd", ExactDecimal(), nullable=True, comment="What the plan puts under it"),
        sa.Column(
            "is_binding", sa.Boolean(), nullable=False, comment="The plan reaches it, or would gain from more room"
        ),
        sa.Column(
            "gain_per_usd",
            sa.Float(),
            nullable=True,
            comment="Shadow price: gain over the horizon per USD of room, the plan's decisions unchanged",
        ),
        sa.Column("relaxation", sa.Text(), nullable=False, comment="By what worth_usd relaxes it"),
        sa.Column(
            "worth_usd",
            ExactDecimal(),
            nullable=True,
            comment="Gain over the horizon of relaxing it so; null when it does not bind",
        ),
        sa.Column(
            "worth_by",
            sa.Text(),
            nullable=True,
            comment="solved (the day again with the limit relaxed) or shadow_price",
        ),
        sa.PrimaryKeyConstraint("run_id", "limit_name", "subject", name=op.f("pk_allocation_limits")),
        comment="How much of each limit the plan uses, which bind, and what relaxing them is worth",
    )
    op.create_index(op.f("ix_allocation_limits_date"), "allocation_limits", ["date"], unique=False)
    op.create_table(
        "risk_gain_frontier",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("point", sa.Integer(), nullable=False, comment="Number of the point, by caps"),
        sa.Column("max_pool_share", sa.Float(), nullable=False, comment="Cap on a pool, fraction of AUM"),
        sa.Column("max_protocol_share", sa.Float(), nullable=False, comment="Cap on a protocol, fraction of AUM"),
        sa.Column("is_chosen", sa.Boolean(), nullable=False, comment="The caps of the policy"),
        sa.Column("status", sa.Text(), nullable=False, comment="What came out, as in allocation_runs"),
        sa.Column("message", sa.Text(), nullable=False, comment="The outcome in words"),
        sa.Column(
            "gain_usd",
            ExactDecimal(),
            nullable=True,
            comment="Expected gain over the horizon after costs; null where the point has no plan",
        ),
        sa.Column(
            "low_gain_usd",
            ExactDecimal(),
            nullable=True,
            comment="The same with every pool at the p10 of its forecast; null when one has none",
        ),
        sa.Column(
            "worst_protocol",
            sa.Text(),
            nullable=True,
            comment="Protocol with the largest position; null when nothing is in pools",
        ),
        sa.Column("worst_loss_usd", ExactDecimal(), nullable=True, comment="Loss if that protocol goes to zero"),
        sa.Column("projected_apy", sa.Float(), nullable=True, comment="Expected APY on all AUM before costs, fraction"),
        sa.Column("n_pools", sa.Integer(), nullable=True, comment="Pools held at the end"),
        sa.Column("solver", sa.Text(), nullable=True, comment="Solver and version"),
        sa.Column(
            "verified_by", sa.Text(), nullable=True, comment="first_solver: no second solver has confirmed a point"
        ),
        sa.PrimaryKeyConstraint("date", "point", name=op.f("pk_risk_gain_frontier")),
        comment="What other caps on pools and protocols would gain and risk: one optimised plan per point",
    )
    op.add_column(
        "allocation_runs",
        sa.Column(
            "lp_bound_usd",
            sa.Float(),
            nullable=True,
            comment="No plan gains more than this against doing nothing: LP without fixed costs and minima",
        ),
    )
    op.add_column(
        "allocations",
        sa.Column(
            "gain_usd",
            ExactDecimal(),
            nullable=True,
            comment="What the whole position earns over the horizon, before costs; 0 when left out",
        ),
    )
    op.add_column(
        "allocations",
        sa.Column(
            "marginal_apy",
            sa.Float(),
            nullable=True,
            comment="What the position's next dollar would earn, fraction a year",
        ),
    )
    op.add_column(
        "allocations",
        sa.Column(
            "dollar_apy",
            sa.Float(),
            nullable=True,
            comment="What the money that the pool takes earns in the plan at the margin, fraction a year",
        ),
    )
    op.add_column(
        "allocations",
        sa.Column(
            "binding_limit",
            sa.Text(),
            nullable=True,
            comment="Limit that keeps it where it is: limit_name and subject of allocation_limits",
        ),
    )
    op.add_column(
        "allocations",
        sa.Column(
            "cost_usd",
            ExactDecimal(),
            nullable=True,
            comment="Gas and conversion of the pool's own steps; when left out, of entering it",
        ),
    )
    op.add_column(
        "allocations",
        sa.Column(
            "break_even_days",
            sa.Float(),
            nullable=True,
            comment="Days until cost_usd is earned back by what the pool earns more than before",
        ),
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_column("allocations", "break_even_days")
    op.drop_column("allocations", "cost_usd")
    op.drop_column("allocations", "binding_limit")
    op.drop_column("allocations", "dollar_apy")
    op.drop_column("allocations", "marginal_apy")
    op.drop_column("allocations", "gain_usd")
    op.drop_column("allocation_runs", "lp_bound_usd")
    op.drop_table("risk_gain_frontier")
    op.drop_index(op.f("ix_allocation_limits_date"), table_name="allocation_limits")
    op.drop_table("allocation_limits")
