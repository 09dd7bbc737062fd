"""Revision 0003: forecasts and their evidence.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "costly_candidates",
        sa.Column("as_of", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("origin", sa.Date(), nullable=False, comment="Day on which the forecast was or would have been made"),
        sa.Column("target", sa.Text(), nullable=False, comment="apy, apy_base, apy_reward or tvl_usd"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Version of the model"),
        sa.Column(
            "mean", sa.Float(), nullable=True, comment="Expected mean over the horizon; null where the fit failed"
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why there is no mean"),
        sa.PrimaryKeyConstraint(
            "as_of", "pool_id", "origin", "target", "horizon_days", "model", name=op.f("pk_costly_candidates")
        ),
        comment="What the costly models would have said at past origins; once a week, within a budget of fits",
    )
    op.create_table(
        "forecast_cache",
        sa.Column(
            "content_sha256",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of model, version, horizons and the exact values read",
        ),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Version of the model"),
        sa.Column(
            "body",
            sa.LargeBinary(),
            nullable=False,
            comment="Figures in NumPy's file format, little-endian float64, compressed by zlib",
        ),
        sa.PrimaryKeyConstraint("content_sha256", name=op.f("pk_forecast_cache")),
        comment="Forecasts by the content that they rest on: saves time, changes no figure, may be emptied",
    )
    op.create_table(
        "forecast_candidates",
        sa.Column("pool_id", sa.Text(), nullable=False, comment="Pool"),
        sa.Column("as_of", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column("target", sa.Text(), nullable=False, comment="apy, apy_base, apy_reward or tvl_usd"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Version of the model"),
        sa.Column("mean", sa.Float(), nullable=False, comment="Expected mean over the horizon"),
        sa.Column("p10", sa.Float(), nullable=False, comment="10 % quantile"),
        sa.Column("p50", sa.Float(), nullable=False, comment="Median"),
        sa.Column("p90", sa.Float(), nullable=False, comment="90 % quantile"),
        sa.Column("is_champion", sa.Boolean(), nullable=False, comment="Stands in pool_forecasts"),
        sa.PrimaryKeyConstraint(
            "pool_id", "as_of", "horizon_days", "target", "model", name=op.f("pk_forecast_candidates")
        ),
        comment="What every candidate model says about every pool, the champion among them",
    )
    op.create_index(op.f("ix_forecast_candidates_as_of"), "forecast_candidates", ["as_of"], unique=False)
    op.create_table(
        "forecast_evaluations",
        sa.Column("as_of", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("target", sa.Text(), nullable=False, comment="apy, apy_base, apy_reward or tvl_usd"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column("scope", sa.Text(), nullable=False, comment="Whose evidence: panel, group or pool"),
        sa.Column("scope_id", sa.Text(), nullable=False, comment="Pool, risk group, or all for the panel"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("n_origins", sa.Integer(), nullable=False, comment="Origins with a forecast and an actual value"),
        sa.Column("n_forecasts", sa.Integer(), nullable=False, comment="Forecasts scored: origins times series"),
        sa.Column("mae", sa.Float(), nullable=False, comment="Mean absolute error"),
        sa.Column(
            "mae_last_value",
            sa.Float(),
            nullable=True,
            comment="The last value's on the same cells, winsorised as models see it; forecast_scores.naive is raw",
        ),
        sa.Column(
            "skill",
            sa.Float(),
            nullable=True,
            comment="1 minus mae over mae_last_value (winsorised, unlike live skill); null where it is 0",
        ),
        sa.Column("bias", sa.Float(), nullable=False, comment="Mean of forecast minus actual"),
        sa.Column(
            "p_value",
            sa.Float(),
            nullable=True,
            comment="Paired test against the champion of the tier above, one-sided; null untested",
        ),
        sa.Column("is_champion", sa.Boolean(), nullable=False, comment="Chosen in this scope"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why chosen or why not, in words with the figures"),
        sa.PrimaryKeyConstraint(
            "as_of", "target", "horizon_days", "scope", "scope_id", "model", name=op.f("pk_forecast_evaluations")
        ),
        comment="The evidence by which champions were chosen: what each candidate was worth at past origins",
    )
    op.create_table(
        "forecast_score_sums",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition: last day of the horizon"),
        sa.Column(
            "target",
            sa.Text(),
            nullable=False,
            comment="apy, apy_base, apy_reward, tvl_usd, base_fee_gwei or gas_price_gwei",
        ),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model, or champion for whatever was one"),
        sa.Column("n_forecasts", sa.Integer(), nullable=False, comment="Forecasts scored"),
        sa.Column("absolute_error", sa.Float(), nullable=False, comment="Sum of absolute errors"),
        sa.Column(
            "naive_absolute_error", sa.Float(), nullable=False, comment="Sum of absolute errors of the last value"
        ),
        sa.Column("error", sa.Float(), nullable=False, comment="Sum of forecast minus actual"),
        sa.Column("pinball_loss", sa.Float(), nullable=False, comment="Sum of pinball losses"),
        sa.Column("n_bands", sa.Integer(), nullable=False, comment="Forecasts that count for coverage"),
        sa.Column("n_covered", sa.Integer(), nullable=False, comment="Those of them within p10 and p90"),
        sa.Column("scaled_error", sa.Float(), nullable=False, comment="Sum of absolute errors where a scale is known"),
        sa.Column("mase_scale", sa.Float(), nullable=False, comment="Sum of scales"),
        sa.PrimaryKeyConstraint("date", "target", "horizon_days", "model", name=op.f("pk_forecast_score_sums")),
        comment="Scores of the day summed up by target, horizon and model, from which months are added up in no time",
    )
    op.create_table(
        "forecast_scoreboard",
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column(
            "target",
            sa.Text(),
            nullable=False,
            comment="apy, apy_base, apy_reward, tvl_usd, base_fee_gwei or gas_price_gwei",
        ),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model, or champion"),
        sa.Column("n_forecasts", sa.Integer(), nullable=False, comment="Forecasts scored"),
        sa.Column("n_pools", sa.Integer(), nullable=False, comment="Pools on the fullest day"),
        sa.Column("mae", sa.Float(), nullable=False, comment="Mean absolute error"),
        sa.Column(
            "mae_last_value",
            sa.Float(),
            nullable=False,
            comment="Mean absolute error of the last value on the same forecasts",
        ),
        sa.Column(
            "skill", sa.Float(), nullable=True, comment="1 minus mae over mae_last_value; null where the latter is 0"
        ),
        sa.Column(
            "mase",
            sa.Float(),
            nullable=True,
            comment="Sum of absolute errors over sum of mase_scale; null without a scale",
        ),
        sa.Column("bias", sa.Float(), nullable=False, comment="Mean of forecast minus actual"),
        sa.Column(
            "coverage", sa.Float(), nullable=True, comment="Share of actuals within p10 and p90; null where none counts"
        ),
        sa.Column("pinball_loss", sa.Float(), nullable=False, comment="Mean pinball loss"),
        sa.Column("skill_30d", sa.Float(), nullable=True, comment="Skill over the last 30 due days; null without one"),
        sa.PrimaryKeyConstraint("date", "target", "horizon_days", "model", name=op.f("pk_forecast_scoreboard")),
        comment="What every model was worth on forecasts due in the last 90 days; `champion` is whatever was one",
    )
    op.create_table(
        "gas_candidates",
        sa.Column("as_of", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("kind", sa.Text(), nullable=False, comment="base_fee or gas_price"),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days ahead"),
        sa.Column("model", sa.Text(), nullable=False, comment="Model"),
        sa.Column("model_version", sa.Text(), nullable=False, comment="Version of the model"),
        sa.Column("mean", sa.Float(), nullable=False, comment="Expected daily mean over the horizon, gwei"),
        sa.Column("p10", sa.Float(), nullable=False, comment="10 % quantile, gwei"),
        sa.Column("p50", sa.Float(), nullable=False, comment="Median, gwei"),
        sa.Column("p90", sa.Float(), nullable=False, comment="90 % quantile, gwei"),
        sa.Column("is_champion", sa.Boolean(), nullable=False, comment="Stands in gas_forecasts"),
        sa.PrimaryKeyConstraint("as_of", "kind", "horizon_days", "model", name=op.f("pk_gas_candidates")),
        comment="What every candidate model says about gas over the coming days, the champion among them",
    )
    op.create_table(
        "gas_hour_profiles",
        sa.Column("as_of", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("kind", sa.Text(), nullable=False, comment="base_fee or gas_price"),
        sa.Column("hour", sa.Integer(), nullable=False, comment="Hour of the UTC day, 0 to 23"),
        sa.Column(
            "ratio",
            sa.Float(),
            nullable=False,
            comment="Median over the days of the hour's price divided by its day's mean",
        ),
        sa.Column("p10", sa.Float(), nullable=False, comment="10 % quantile of that quotient"),
        sa.Column("p90", sa.Float(), nullable=False, comment="90 % quantile of that quotient"),
        sa.Column("n_days", sa.Integer(), nullable=False, comment="Days observed"),
        sa.Column("rank", sa.Integer(), nullable=False, comment="1 for the cheapest hour"),
        sa.Column(
            "p_value",
            sa.Float(),
            nullable=True,
            comment="Probability of an hour this cheap where no hour is cheaper than another",
        ),
        sa.Column(
            "saving",
            sa.Float(),
            nullable=False,
            comment="1 minus ratio: what waiting for this hour saves against the day's mean, fraction",
        ),
        sa.Column(
            "is_cheapest", sa.Boolean(), nullable=False, comment="Among the hours that are cheaper with evidence"
        ),
        sa.PrimaryKeyConstraint("as_of", "kind", "hour", name=op.f("pk_gas_hour_profiles")),
        comment="What each hour of the UTC day costs relative to its day, and which are cheapest with what evidence",
    )
    # Scores are kept per model now and a key cannot be changed in place on SQLite. What was scored so far stood in the
    # tables of forecasts, where the models of the fixed table were what a baseline is.
    rebuild_forecast_scores(is_per_model=True)
    rebuild_pool_forecasts(has_tier=True)
    # Candidates are what is scored from now on: vintages whose horizon is not over yet are champions among them.
    figures = ("horizon_days", "model", "model_version", "mean", "p10", "p50", "p90")
    copy_champions("pool_forecasts", "forecast_candidates", ("pool_id", "as_of", "target", *figures))
    copy_champions("gas_forecasts", "gas_candidates", ("as_of", "kind", *figures))


def downgrade() -> None:
    """Take the schema back."""
    rebuild_pool_forecasts(has_tier=False)
    rebuild_forecast_scores(is_per_model=False)
    op.drop_table("gas_hour_profiles")
    op.drop_table("gas_candidates")
    op.drop_table("forecast_scoreboard")
    op.drop_table("forecast_score_sums")
    op.drop_table("forecast_evaluations")
    op.drop_index(op.f("ix_forecast_candidates_as_of"), table_name="forecast_candidates")
    op.drop_table("forecast_candidates")
    op.drop_table("forecast_cache")
    op.drop_table("costly_candidates")


def rebuild_forecast_scores(*, is_per_model: bool) -> None:
    """Make the table anew with its rows: with the model in the key, or without and with the champions only."""
    op.execute("CREATE TABLE before AS SELECT * FROM forecast_scores")
    op.drop_table("forecast_scores")
    added: tuple[sa.Column[Any], ...] = (
        sa.Column("is_champion", sa.Boolean(), nullable=False, comment="Stood in pool_forecasts or gas_forecasts"),
        sa.Column(
            "mase_scale",
            sa.Float(),
            nullable=True,
            comment="Mean absolute one-day change known at as_of; null where none was seen",
        ),
        sa.Column(
            "has_band",
            sa.Boolean(),
            nullable=False,
            comment="Counts for coverage: actual above 0 and p10 below p90",
        ),
    )
    vintage = sa.Column("as_of", sa.Date(), nullable=False, comment="Vintage that is scored")
    model = sa.Column("model", sa.Text(), nullable=False, comment="Model")
    key = ("date", "pool_id", "horizon_days", "target", *(("model",) if is_per_model else ()))
    said = "What the forecasts that fell due on the day were worth"
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
        *((model, vintage, added[0]) if is_per_model else (vintage, model)),
        sa.Column("forecast", sa.Float(), nullable=False, comment="Forecast mean"),
        sa.Column("actual", sa.Float(), nullable=False, comment="Mean of what happened"),
        sa.Column("naive", sa.Float(), nullable=False, comment="The last value known at as_of"),
        sa.Column("absolute_error", sa.Float(), nullable=False, comment="|forecast - actual|"),
        sa.Column("naive_absolute_error", sa.Float(), nullable=False, comment="|naive - actual|"),
        sa.Column("error", sa.Float(), nullable=False, comment="forecast - actual"),
        sa.Column("is_covered", sa.Boolean(), nullable=False, comment="p10 <= actual <= p90"),
        *((added[2],) if is_per_model else ()),
        sa.Column("pinball_loss", sa.Float(), nullable=False, comment="Mean pinball loss over p10, p50, p90"),
        *((added[1],) if is_per_model else ()),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_forecast_scores")),
        comment=f"{said}, champions and candidates alike" if is_per_model else said,
    )
    champion = {"is_champion": sa.true(), "has_band": sa.column("actual") > 0} if is_per_model else {}
    put_back("forecast_scores", champion, None if is_per_model else sa.column("is_champion") == sa.true())


def rebuild_pool_forecasts(*, has_tier: bool) -> None:
    """Make the table anew with its rows, with or without the tier, which is never null."""
    op.execute("CREATE TABLE before AS SELECT * FROM pool_forecasts")
    op.drop_table("pool_forecasts")
    tier = sa.Column("tier", sa.Text(), nullable=False, comment="Whose evidence chose the model")
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
        *((tier,) if has_tier else ()),
        sa.Column("trained_from", sa.Date(), nullable=False, comment="First day used"),
        sa.Column("trained_to", sa.Date(), nullable=False, comment="Last day used"),
        sa.Column("n_obs", sa.Integer(), nullable=False, comment="Days used"),
        sa.Column("fallback_reason", sa.Text(), nullable=True, comment="Why a simpler model was used"),
        sa.Column("is_hindsight", sa.Boolean(), nullable=False, comment="Rests on values seen after the day's cutoff"),
        sa.PrimaryKeyConstraint("pool_id", "as_of", "horizon_days", "target", name=op.f("pk_pool_forecasts")),
        comment="Forecast vintages; never overwritten by a run of another day",
    )
    op.create_index(op.f("ix_pool_forecasts_as_of"), "pool_forecasts", ["as_of"], unique=False)
    put_back("pool_forecasts", {"tier": sa.literal("baseline")} if has_tier else {}, None)


def copy_champions(source: str, target: str, names: tuple[str, ...]) -> None:
    """Rows of a table of forecasts as the champions that they are in the table of candidates."""
    into = sa.table(target, *[sa.column(name) for name in (*names, "is_champion")])
    stored = sa.table(source, *[sa.column(name) for name in names])
    rows = sa.select(*stored.c, sa.true())
    op.execute(sa.insert(into).from_select([*names, "is_champion"], rows))


def put_back(table: str, added: Mapping[str, sa.ColumnElement[Any]], only: sa.ColumnElement[bool] | None) -> None:
    """Fill the table made anew with the rows of `before` (that match `only`), what is new with `added`; drop the copy.

    Columns that only one of the two tables has are left out.
    """
    inspector = sa.inspect(op.get_bind())
    there = {column["name"] for column in inspector.get_columns("before")}
    names = [column["name"] for column in inspector.get_columns(table) if column["name"] in there]
    before = sa.table("before", *[sa.column(name) for name in names])
    into = sa.table(table, *[sa.column(name) for name in (*names, *added)])
    copied = sa.select(*before.c, *added.values())
    rows = copied if only is None else copied.where(only)
    op.execute(sa.insert(into).from_select([*names, *added], rows))
    op.drop_table("before")
