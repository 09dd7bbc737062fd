"""Assets of forecasts: candidates, champions and their evidence, gas, what past forecasts were worth, the scoreboard.

Lives here: wiring of domain/forecasting. Not here: models, evidence, intervals, scores.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.forecasting.backtests import ORIGIN_EVERY_DAYS
from defiyield_assets.domain.forecasting.demotion import LOOKBACK_DAYS as DEMOTED_BY_DAYS
from defiyield_assets.domain.forecasting.demotion import demoted_models
from defiyield_assets.domain.forecasting.gas import GAS_HORIZONS, GAS_TRAINING_DAYS, forecast_gas, gas_candidates
from defiyield_assets.domain.forecasting.gas_hours import PROFILE_DAYS, hour_profile
from defiyield_assets.domain.forecasting.live import VINTAGE_COLUMNS, live_errors
from defiyield_assets.domain.forecasting.plots import plot_bands, plot_scoreboard
from defiyield_assets.domain.forecasting.pools import HORIZONS, TRAINING_DAYS, forecast_pools
from defiyield_assets.domain.forecasting.scoreboard import RECENT_DAYS, WINDOW_DAYS, scoreboard_from_sums, sum_scores
from defiyield_assets.domain.forecasting.scores import LOOKBACK_DAYS, score_forecasts, score_gas_forecasts
from defiyield_assets.domain.forecasting.weekly import evaluate_costly, last_evaluation, next_evaluation
from defiyield_assets.domain.gas.sources import prevailing_fees
from defiyield_assets.domain.pools.histories import known_view
from defiyield_assets.domain.pools.snapshot import under_todays_ids
from defiyield_assets.orchestration.declarations import daily_asset, daily_tables, tell_progress
from defiyield_assets.orchestration.followed_pools import tracked_on
from defiyield_assets.orchestration.partitions import before, day_range, rolling
from defiyield_assets.orchestration.policies import CHUNKS_OF_30, ONE_RUN
from defiyield_assets.orchestration.reporting import picture, report, whole_table
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import load_settings
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.forecast_cache import WarehouseForecastCache

SHOWN_COLUMNS = [
    *("target", "horizon_days", "model", "n_forecasts", "skill", "skill_30d", "mase", "bias", "coverage"),
    "pinball_loss",
]
"""What of the scoreboard is shown as a table."""
DRAWN_POOLS = 5
DRAWN_DAYS = 90
"""What the picture of forecasts shows: the largest pools and their last days."""
SELF_DAYS = DEMOTED_BY_DAYS + max(HORIZONS)
"""How far back champions are looked at: those that fell due in the days that demotion looks at."""
SCORED_DAYS = max(HORIZONS) + LOOKBACK_DAYS
"""Days of history that the score of the oldest vintage needs."""

FORECAST_OF = ("as_of", "target", "horizon_days")
"""What champions and candidates of one pool tell of: of two ids of a pool one counts, with all its models."""
COSTLY_FORECAST_OF = ("origin", "target", "horizon_days", "model")
"""What rows of one costly evaluation tell of."""


def _known_histories(
    warehouse: WarehouseResource, days: DayRange, wanted: Collection[date]
) -> Iterator[tuple[date, pd.DataFrame, Mapping[str, str]]]:
    """Each wanted day of the range in order: the histories of the pools followed on it as known at its cutoff, and the
    aliases in force.
    """
    if not wanted:
        return
    tracked = tracked_on(warehouse, days)
    for span, aliases in warehouse.alias_spans(days):
        chosen = [day for day in span if day in wanted]
        if not chosen:
            continue
        revisions = reads.pool_history_revisions(warehouse.engine, span.back(TRAINING_DAYS), aliases=aliases)
        for day in chosen:
            view = known_view(revisions[revisions["date"] <= day], cutoff(day))
            followed = set(tracked.loc[tracked["date"] == day, "pool_id"])
            yield day, view[view["pool_id"].isin(followed)].reset_index(drop=True), aliases


def _champions_before(warehouse: WarehouseResource, days: DayRange) -> pd.DataFrame:
    """Champions made before the range that fall due where demotion of one of its days looks, VINTAGE_COLUMNS."""
    due = days.back(DEMOTED_BY_DAYS - 1)
    stored = reads.read_due(warehouse.engine, schema.pool_forecasts, due, HORIZONS, VINTAGE_COLUMNS)
    return stored[stored["as_of"] < days.start]


def _joined(table: Table, frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Frames one below the other with the table's columns; without any row, none."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=[*table.columns.keys()])


def _counted(values: "pd.Series[Any]") -> dict[str, int]:
    return {str(value): int(n) for value, n in values.value_counts().items()}


@daily_asset(
    schema.costly_candidates,
    group="forecasting",
    phase=4,
    spec="forecasting.md",
    backfill=CHUNKS_OF_30,
    deps=[
        dg.AssetDep("pool_histories", partition_mapping=rolling(TRAINING_DAYS)),
        "prefiltered_pools",
        "chain_balances",
        "policy_snapshot",
    ],
    kinds=("statsforecast", "prophet", "sql"),
)
def costly_candidates(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What AutoETS, Theta and Prophet would have said at weekly origins about the largest pools.

    They are evaluated once a week, on the days on which origins lie, within a budget of fits; other days hold no rows.
    What was fitted in an earlier week comes from `forecast_cache`.
    """
    days, engine, budget = day_range(context), warehouse.engine, load_settings().costly_budget_seconds
    cache = WarehouseForecastCache(engine)
    frames = []

    def tell(model: str, done: int, wanted: int) -> None:
        tell_progress("costly_candidates", f"{model}: {done} of {wanted} fits")
        context.log.info("%s: %d of %d fits", model, done, wanted)

    for day, view, _ in _known_histories(warehouse, days, [day for day in days if last_evaluation(day) == day]):
        parameters = warehouse.policy(day).parameters
        frames.append(evaluate_costly(view, day, parameters, cache=cache, budget_seconds=budget, on_progress=tell))
    frame = _joined(schema.costly_candidates, frames)
    failed = frame.loc[frame["mean"].isna(), "reason"].astype(str).str.split(":").str[0]
    return report(
        writes.replace_slice(engine, schema.costly_candidates, frame, days),
        frame,
        pools={str(model): int(rows["pool_id"].nunique()) for model, rows in frame.groupby("model")},
        without_forecast=_counted(failed),
        budget_seconds_a_model=budget,
        next_evaluation=next_evaluation(days.end).isoformat(),
    )


@daily_tables(
    "pool_forecasts",
    {
        schema.forecast_evaluations: (
            "The evidence by which champions were chosen: every candidate at past origins, for all pools together, by "
            "risk group and by pool."
        ),
        schema.forecast_candidates: (
            "What every candidate model says about every pool that passed the pre-filter or is held, with its band."
        ),
        schema.pool_forecasts: (
            "Expected APY, its parts and size of every pool that passed the pre-filter or is held, over 1, 7 and 30 "
            "days with 80 % intervals, by the model that has earned its place.\n\nVintages are never overwritten by a "
            "run of another day; a pool without a forecast is named with the reason."
        ),
    },
    group="forecasting",
    phase=4,
    spec="forecasting.md",
    backfill=CHUNKS_OF_30,
    deps=[
        dg.AssetDep("pool_histories", partition_mapping=rolling(TRAINING_DAYS)),
        dg.AssetDep("costly_candidates", partition_mapping=rolling(ORIGIN_EVERY_DAYS - 1)),
        "pool_groups",
        "prefiltered_pools",
        "chain_balances",
        "policy_snapshot",
    ],
    own_past={schema.pool_forecasts: before(SELF_DAYS)},
    kinds=("lightgbm", "pandas", "sql"),
)
def pool_forecast_tables(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult, dg.MaterializeResult]:
    """Day by day in order, because a champion that fails live is demoted on the days after."""
    days, engine = day_range(context), warehouse.engine
    cache, receipts, skipped = WarehouseForecastCache(engine), [], []
    vintages = _champions_before(warehouse, days)
    for day, view, aliases in _known_histories(warehouse, days, list(days)):
        only = DayRange.of(day)
        tell_progress("pool_forecasts", f"{view['pool_id'].nunique()} pools of {day}")
        groups = reads.read_days(engine, schema.pool_groups, only)
        costly = reads.read_days(engine, schema.costly_candidates, DayRange.of(last_evaluation(day)))
        told = under_todays_ids(vintages, aliases, FORECAST_OF)
        made = forecast_pools(
            view,
            day,
            warehouse.policy(day).parameters,
            dict(zip(groups["pool_id"], groups["pool_group"], strict=True)),
            costly=under_todays_ids(costly[costly["mean"].notna()], aliases, COSTLY_FORECAST_OF),
            demoted=demoted_models(live_errors(told, view, day, DEMOTED_BY_DAYS), day),
            cache=cache,
        )
        receipts.append(
            (
                writes.replace_slice(engine, schema.forecast_evaluations, made.evidence, only),
                writes.replace_slice(engine, schema.forecast_candidates, made.candidates, only),
                writes.replace_slice(engine, schema.pool_forecasts, made.forecasts, only),
            )
        )
        skipped.append(made.skipped)
        vintages = pd.concat([vintages, made.forecasts[list(VINTAGE_COLUMNS)]], ignore_index=True)
    evidence, candidates, forecasts = (
        writes.day_by_day(table, [of_day[place] for of_day in receipts])
        for place, table in enumerate((schema.forecast_evaluations, schema.forecast_candidates, schema.pool_forecasts))
    )
    return (
        report(evidence, made.evidence[made.evidence["scope"] == "panel"], asset="forecast_evaluations"),
        report(candidates, asset="forecast_candidates", models=sorted(set(made.candidates["model"]))),
        report(
            forecasts,
            asset="pool_forecasts",
            **_said_of(made.forecasts, pd.concat(skipped)),
            plot=_drawn_largest(warehouse, day, view, made.forecasts),
        ),
    )


def _said_of(forecasts: pd.DataFrame, skipped: pd.DataFrame) -> dict[str, Any]:
    """Metadata of the last day's forecasts and of the pools of all days that got none."""
    longest = forecasts[(forecasts["target"] == "apy") & (forecasts["horizon_days"] == HORIZONS[-1])]
    return {
        "frame": longest,
        "pools": int(forecasts["pool_id"].nunique()),
        "without_forecast": _counted(skipped["reason_code"]),
        "champions": _counted(forecasts["model"]),
        "tiers": _counted(forecasts["tier"]),
        "fallbacks": _counted(forecasts["fallback_reason"].dropna()),
    }


def _drawn_largest(
    warehouse: WarehouseResource, day: date, view: pd.DataFrame, forecasts: pd.DataFrame
) -> dg.MetadataValue[Any] | None:
    """The largest pools of the day with what they paid and what is expected; nothing without a forecast."""
    sizes = forecasts[(forecasts["target"] == "tvl_usd") & (forecasts["horizon_days"] == HORIZONS[0])]
    largest = sizes.sort_values(["mean", "pool_id"], ascending=[False, True])["pool_id"].head(DRAWN_POOLS)
    if largest.empty:
        return None
    listed = reads.read_days(warehouse.engine, schema.prefiltered_pools, DayRange.of(day))
    names = listed["protocol"] + " " + listed["symbol"] + " on " + listed["chain"]
    recent = view[view["pool_id"].isin(largest) & (view["date"] > day - timedelta(days=DRAWN_DAYS))]
    titles = dict(zip(listed["pool_id"], names, strict=True))
    return picture(
        lambda: plot_bands(recent, forecasts[forecasts["pool_id"].isin(largest)], titles), "The largest pools"
    )


@daily_tables(
    "gas_forecasts",
    {
        schema.gas_candidates: "What every candidate model says about gas over the coming 1, 7 and 30 days.",
        schema.gas_forecasts: (
            "Expected gas in gwei over the coming 1, 7 and 30 days with its 90 % quantile, by kind of series, by the "
            "model that has earned its place."
        ),
    },
    group="gas",
    phase=4,
    spec="forecasting.md",
    backfill=CHUNKS_OF_30,
    deps=[dg.AssetDep("gas_fees_daily", partition_mapping=rolling(GAS_TRAINING_DAYS))],
)
def gas_forecast_tables(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult]:
    """Both tables from the same daily fees."""
    days, engine = day_range(context), warehouse.engine
    fees = reads.read_days(engine, schema.gas_fees_daily, days.back(GAS_TRAINING_DAYS))
    known = [(day, fees[fees["date"] <= day]) for day in days]
    candidates = pd.concat([gas_candidates(of_day, day) for day, of_day in known], ignore_index=True)
    forecasts = pd.concat([forecast_gas(of_day, day) for day, of_day in known], ignore_index=True)
    receipts = [
        writes.replace_slice(engine, table, frame, days)
        for table, frame in ((schema.gas_candidates, candidates), (schema.gas_forecasts, forecasts))
    ]
    return (
        report(receipts[0], candidates, asset="gas_candidates"),
        report(
            receipts[1],
            forecasts,
            asset="gas_forecasts",
            champions=_counted(forecasts["model"]),
            plot=_drawn_gas(fees, forecasts[forecasts["as_of"] == days.end]),
        ),
    )


def _drawn_gas(fees: pd.DataFrame, forecasts: pd.DataFrame) -> dg.MetadataValue[Any] | None:
    """Daily gas by kind and what is expected, all rows of one as-of day; nothing without a forecast."""
    if forecasts.empty:
        return None
    known = prevailing_fees(fees[fees["date"] > forecasts["as_of"].iloc[0] - timedelta(days=DRAWN_DAYS)])
    named = known.rename(columns={"kind": "pool_id", "mean_gwei": "gas, gwei"})
    made = forecasts.rename(columns={"kind": "pool_id"}).assign(target="gas, gwei")
    return picture(lambda: plot_bands(named, made, target="gas, gwei"), "Gas by kind of series")


@daily_asset(
    schema.gas_hour_profiles,
    group="gas",
    phase=4,
    spec="forecasting.md",
    backfill=CHUNKS_OF_30,
    deps=[dg.AssetDep("gas_fees_hourly", partition_mapping=rolling(PROFILE_DAYS - 1))],
)
def gas_hour_profiles(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What each hour of the UTC day cost relative to its day over four weeks, and which hours are cheapest with
    evidence.
    """
    days, engine = day_range(context), warehouse.engine
    hours = reads.read_days(engine, schema.gas_fees_hourly, days.back(PROFILE_DAYS - 1))
    frame = _joined(schema.gas_hour_profiles, [hour_profile(hours[hours["date"] <= day], day) for day in days])
    newest = frame[frame["as_of"] == days.end]
    cheapest = newest[newest["is_cheapest"].astype(bool)]
    return report(
        writes.replace_slice(engine, schema.gas_hour_profiles, frame, days),
        newest.sort_values(["kind", "rank"]),
        cheapest_hours={str(kind): sorted(map(int, rows["hour"])) for kind, rows in cheapest.groupby("kind")},
    )


@daily_tables(
    "forecast_scores",
    {
        schema.forecast_scores: (
            "What the forecasts that fell due on the day were worth, champions and candidates alike: error, error of "
            "the last value, coverage, pinball loss, usual change."
        ),
        schema.forecast_score_sums: "The scores of the day summed up by target, horizon and model.",
    },
    group="forecasting",
    phase=4,
    spec="forecasting.md",
    backfill=ONE_RUN,
    deps=[
        dg.AssetDep("forecast_candidates", partition_mapping=rolling(max(HORIZONS))),
        dg.AssetDep("gas_candidates", partition_mapping=rolling(max(GAS_HORIZONS))),
        dg.AssetDep("pool_histories", partition_mapping=rolling(SCORED_DAYS)),
        dg.AssetDep("gas_fees_daily", partition_mapping=rolling(SCORED_DAYS)),
    ],
    made_of={schema.forecast_score_sums: schema.forecast_scores},
)
def forecast_score_tables(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult]:
    """Day by day, because a day of all candidates is much."""
    days, engine = day_range(context), warehouse.engine
    fees = reads.read_days(engine, schema.gas_fees_daily, days.back(SCORED_DAYS))
    receipts = []
    for span, aliases in warehouse.alias_spans(days):
        revisions = reads.pool_history_revisions(engine, span.back(SCORED_DAYS), aliases=aliases)
        for day in span:
            only = DayRange.of(day)
            actuals = known_view(revisions[revisions["date"] <= day], cutoff(day))
            due = reads.read_due(engine, schema.forecast_candidates, only, HORIZONS)
            gas = reads.read_due(engine, schema.gas_candidates, only, GAS_HORIZONS)
            found = (
                score_forecasts(under_todays_ids(due, aliases, FORECAST_OF), actuals, day),
                score_gas_forecasts(gas, fees[fees["date"] <= day], day),
            )
            scores = _joined(schema.forecast_scores, found)
            sums = sum_scores(scores)
            receipts.append(
                (
                    writes.replace_slice(engine, schema.forecast_scores, scores, only),
                    writes.replace_slice(engine, schema.forecast_score_sums, sums, only),
                )
            )
    kept, summed = (
        writes.day_by_day(table, [of_day[place] for of_day in receipts])
        for place, table in enumerate((schema.forecast_scores, schema.forecast_score_sums))
    )
    champions = scores[scores["is_champion"].astype(bool)]
    return (
        report(kept, champions, asset="forecast_scores", champions=len(champions), models=_counted(scores["model"])),
        report(summed, sums, asset="forecast_score_sums"),
    )


@daily_asset(
    schema.forecast_scoreboard,
    group="forecasting",
    phase=4,
    spec="forecasting.md",
    backfill=ONE_RUN,
    deps=[dg.AssetDep("forecast_score_sums", partition_mapping=rolling(WINDOW_DAYS - 1))],
)
def forecast_scoreboard(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What every model was worth over the forecasts that fell due in the last 90 days: skill, bias, coverage, as a
    table and a plot.
    """
    days, engine = day_range(context), warehouse.engine
    sums = reads.read_days(engine, schema.forecast_score_sums, days.back(WINDOW_DAYS - 1))
    frame = _joined(schema.forecast_scoreboard, [scoreboard_from_sums(sums, day) for day in days])
    receipt = writes.replace_slice(engine, schema.forecast_scoreboard, frame, days)
    newest = frame[frame["date"] == days.end]
    if newest.empty:
        return report(receipt)
    before_it = sorted({day for day in sums["date"] if days.end - timedelta(days=RECENT_DAYS) < day < days.end})
    drawn = pd.concat([*(scoreboard_from_sums(sums, day) for day in before_it), newest], ignore_index=True)
    return report(
        receipt,
        scoreboard=whole_table(newest[SHOWN_COLUMNS]),
        plot=picture(lambda: plot_scoreboard(drawn), "Skill, coverage and the champions over time"),
    )
