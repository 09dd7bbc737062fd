"""Checks of prices: what is missing, what cannot be believed, what two sources say, and whether data still comes.

Lives here: the steps over `daily_bars`. Not here: the rules (domain/prices), ages of sources (sources.py).
"""

from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.regimes import MARKETS
from defiyield_assets.domain.outcomes import NOT_CONFIGURED
from defiyield_assets.domain.prices.adjustments import (
    adjustment_factors,
    compare_with_vendor,
    dividends_on_old_closes,
    impossible_actions,
)
from defiyield_assets.domain.prices.curation import AGREEMENT, price_disagreements
from defiyield_assets.domain.prices.gaps import ENOUGH, bar_freshness, implausible_bars, missing_sessions
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.errors import VendorAuthError
from defiyield_assets.orchestration.bars import (
    EVER,
    known_instruments,
    mark_adjusted,
    stored_factors,
    told_prices,
)
from defiyield_assets.orchestration.instrument_types import CRYPTO, EXCHANGE_TYPES, types_of_run
from defiyield_assets.orchestration.invalidation import FACTORS
from defiyield_assets.orchestration.jobs import CRYPTO_FRESH, EQUITY_FRESH
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import offending, preview
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema

SHOWN = 50
COMPARED_DAYS = 60
"""Days of the vendor's adjusted closes that are compared: with every answer it tells them anew."""
SAME_FACTOR = 1e-3
"""Relative difference of two adjustment factors that is rounding: vendors round adjusted closes to cents."""
USUAL_DAYS = 400
"""Days before the range that say what is usual of an instrument: 250 sessions and their weekends."""
WARN = dg.AssetCheckSeverity.WARN
AGREE, GAPS, PLAUSIBLE, ADJUSTED = (
    *("price_sources_agree", "no_session_is_missing", "bars_are_plausible"),
    "adjusted_closes_equal_the_vendors",
)
RESTATED, ALIVE = "every_factor_knows_every_action", "no_bar_after_delisting"
POSSIBLE = "every_action_is_possible"


def _spec(name: str, description: str, *, blocking: bool = False) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset="daily_bars", partitions_def=DAILY, blocking=blocking, description=description)


def _told(name: str, rows: pd.DataFrame, words: str, **facts: int | float) -> dg.AssetCheckResult:
    """A doubt, with the rows that raise it."""
    return dg.AssetCheckResult(
        check_name=name,
        asset_key="daily_bars",
        passed=rows.empty,
        severity=WARN,
        description=words,
        metadata={"found": len(rows), "listed": preview(rows, SHOWN), **facts},
    )


@dg.multi_asset_check(
    name="daily_bars_are_sound",
    specs=[
        _spec(
            AGREE, "Any two vendors that tell a close of an instrument and day differ by at most 1 %; rows are named."
        ),
        _spec(GAPS, "Every listed instrument has a bar of every session of its calendar; missing ones are named."),
        _spec(PLAUSIBLE, "No wick or move is above 25 % and 20 times what is usual of the instrument; rows are named."),
        _spec(ADJUSTED, "Our adjusted closes of the last 60 days are the vendor's to 0.1 %; rows are named."),
        _spec(RESTATED, "The factors of every stored bar are those of the actions that are known now.", blocking=True),
        _spec(POSSIBLE, "Every dividend is smaller than the close before it; where one is not, no bar follows it."),
        _spec(ALIVE, "No instrument has a bar on or after its delisting, nor before its listing.", blocking=True),
    ],
)
def daily_bars_are_sound(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
) -> Iterator[dg.AssetCheckResult]:
    """One step for all, because a step costs time; over the types that the run made: others have their own run."""
    days, engine, types = day_range(context), warehouse.engine, types_of_run(context.run)
    ran = reads.newest_day(engine, schema.policy_snapshot, on_or_before=days.end)
    instruments = known_instruments(warehouse, ran or days.end, types if ran else EXCHANGE_TYPES)
    yield _sources_agree(warehouse, instruments, days)
    yield _nothing_missing(warehouse, instruments, days, types)
    columns = ["instrument_id", "date", "open", "high", "low", "close", "adj_factor"]
    bars = reads.read_days(engine, schema.daily_bars, days.back(USUAL_DAYS), {"instrument_type": types}, columns)
    odd = implausible_bars(bars, days)
    yield _told(PLAUSIBLE, odd, f"{len(odd)} wicks or moves that nobody would believe unasked")
    yield _equals_vendor(warehouse, days)
    yield from factors_are_those_of_the_actions(warehouse.engine, types)
    yield _alive(warehouse, instruments)


def _sources_agree(warehouse: WarehouseResource, instruments: pd.DataFrame, days: DayRange) -> dg.AssetCheckResult:
    wanted = set(instruments["instrument_id"])
    told = told_prices(warehouse.engine, days)
    apart, n_pairs = price_disagreements(
        {name: rows[rows["instrument_id"].isin(wanted)] for name, rows in told.items()}, days
    )
    symbols = dict(zip(instruments["instrument_id"], instruments["symbol"], strict=True))
    words = f"{len(apart)} of {n_pairs} pairs of closes differ by more than {AGREEMENT:.0%}"
    listed = apart.assign(symbol=apart["instrument_id"].map(symbols))
    return _told(
        AGREE,
        listed,
        words if n_pairs else "no instrument has two prices: nothing was compared",
        pairs=n_pairs,
        apart=len(apart),
        tolerance=AGREEMENT,
    )


def _nothing_missing(
    warehouse: WarehouseResource, instruments: pd.DataFrame, days: DayRange, types: list[str]
) -> dg.AssetCheckResult:
    engine, where = warehouse.engine, {"instrument_type": types}
    spans = reads.instrument_spans(engine, schema.daily_bars, days.end, where)
    bars = reads.read_days(engine, schema.daily_bars, days, where, ["instrument_id", "date"])
    firsts = {name: span.start for name, span in spans.items()}
    missing = missing_sessions(bars, instruments, days, firsts)
    return _told(GAPS, missing, f"{len(missing)} sessions without a bar")


def _equals_vendor(warehouse: WarehouseResource, days: DayRange) -> dg.AssetCheckResult:
    """Of the days of which the vendor told with its last answer."""
    engine, near = warehouse.engine, DayRange(max(days.start, days.end - timedelta(days=COMPARED_DAYS)), days.end)
    near = near if len(near) > COMPARED_DAYS else DayRange.of(days.end).back(COMPARED_DAYS)
    rows = reads.read_days(engine, schema.ohlcv_alpha_vantage, near)
    bars = reads.read_days(engine, schema.daily_bars, near, {"source": "alpha_vantage"})
    factors = dict(zip(zip(bars["instrument_id"], bars["date"], strict=True), bars["adj_factor"], strict=True))
    apart, n_compared = compare_with_vendor(rows, factors, SAME_FACTOR)
    return _told(ADJUSTED, apart, f"{len(apart)} of {n_compared} adjusted closes differ", compared=n_compared)


def factors_are_those_of_the_actions(engine: Engine, types: list[str]) -> Iterator[dg.AssetCheckResult]:
    """RESTATED and POSSIBLE over all stored bars of the types: whether actions can be, and factors know them."""
    actions = reads.read_all(engine, schema.corporate_actions)
    stored = stored_factors(engine, types=types)
    marked = mark_adjusted(engine, stored)
    factors = adjustment_factors(marked, actions)
    differs = (stored[FACTORS].to_numpy() != factors[FACTORS].to_numpy()).any(axis=1)
    rows = stored[differs].assign(**{f"expected_{name}": factors.loc[differs, name] for name in FACTORS})
    yield dg.AssetCheckResult(
        check_name=RESTATED,
        asset_key="daily_bars",
        passed=rows.empty,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"{len(rows)} of {len(stored)} bars of instruments with actions, now or before, are not restated: "
        f"{', '.join(sorted(set(rows['instrument_id']))[:5]) or 'none'}",
        metadata={"actions": len(actions), "listed": preview(rows, SHOWN)},
    )
    impossible = impossible_actions(marked, actions)
    words = [
        f"{one.instrument_id} is said to pay {one.dividend:g} on {one.ex_date}, and its close before was "
        f"{one.close_before:g}"
        for one in impossible.itertuples(index=False)
    ]
    old = dividends_on_old_closes(marked, actions)
    words += [
        f"{one.instrument_id} paid {one.dividend:g} on {one.ex_date}, and its close before is of {one.close_date}"
        for one in old.itertuples(index=False)
    ]
    yield dg.AssetCheckResult(
        check_name=POSSIBLE,
        asset_key="daily_bars",
        passed=impossible.empty and old.empty,
        severity=WARN if impossible.empty else dg.AssetCheckSeverity.ERROR,
        description="; ".join(words[:SHOWN]) or f"{len(actions)} actions can be",
        metadata={
            "actions": len(actions),
            "listed": preview(impossible, SHOWN),
            "on_old_closes": preview(old, SHOWN),
        },
    )


def _alive(warehouse: WarehouseResource, instruments: pd.DataFrame) -> dg.AssetCheckResult:
    spans = reads.instrument_spans(warehouse.engine, schema.daily_bars, EVER.end)
    columns = ("instrument_id", "listed_at", "delisted_at")
    dead = [
        f"{name} has bars of {spans[name].start} to {spans[name].end}, listed {listed_at}, delisted {delisted_at}"
        for name, listed_at, delisted_at in zip(*(instruments[column] for column in columns), strict=True)
        if name in spans
        and (
            (isinstance(delisted_at, date) and spans[name].end >= delisted_at)
            or (isinstance(listed_at, date) and spans[name].start < listed_at)
        )
    ]
    return dg.AssetCheckResult(
        check_name=ALIVE,
        asset_key="daily_bars",
        passed=not dead,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(dead[:5]) or f"{len(spans)} instruments have bars while they are listed only",
        metadata={"dead": len(dead), "listed": offending(dead, "instrument", SHOWN)},
    )


# --- freshness -------------------------------------------------------------------------------------------------------
FRESHNESS = {CRYPTO_FRESH: CRYPTO, EQUITY_FRESH: EXCHANGE_TYPES}
SOURCE_OF: dict[str, Table] = {EQUITY_FRESH: schema.ohlcv_alpha_vantage}
"""The source without which nobody expects bars: where it never told one, because it is not configured or the key's plan
has none, files come when they come. Once it has told, a key that is lost is data that stopped."""
NO_SOURCE = [NOT_CONFIGURED, VendorAuthError.__name__]
VENDOR_IDS = ["cmc_id", "coingecko_id", "address", "alpha_vantage_symbol"]
"""Columns of which one says that a vendor tells bars of the instrument."""


def judge_freshness(
    context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource, name: str
) -> dg.AssetCheckResult:
    """Whether 95 % of the active instruments of the types have the bar of the last session, at the end of the run."""
    day, engine = day_range(context).end, warehouse.engine
    ran = reads.newest_day(engine, schema.policy_snapshot, on_or_before=day)
    types = FRESHNESS[name]
    wanted = known_instruments(warehouse, ran, types) if ran else build_instruments(())
    spans = reads.instrument_spans(engine, schema.daily_bars, day, {"instrument_type": list(types)})
    by_file = set(wanted.loc[wanted[VENDOR_IDS].isna().all(axis=1), "instrument_id"])
    found = bar_freshness(
        {key: span.end for key, span in spans.items()},
        wanted,
        day,
        by_file=by_file,
        required={*MARKETS.values(), *wanted["benchmark"].dropna()},
    )
    excused = _excuses(engine, SOURCE_OF.get(name), day)
    stale = [f"{key} since {newest}" for key, newest in found.stale.items()]
    words = "" if ran == day else f"no run of {day} has begun (the newest is {ran or 'none'}); "
    words += f"{found.share:.1%} of {len(found.active)} active instruments have the bar of the last session"
    if found.required:
        words += f"; others rest on {', '.join(found.required)}"
    if found.calendar_unknown:
        words += f"; not judged, their calendar ends before the day: {', '.join(found.calendar_unknown)}"
    if stale:
        words += f"; stale: {', '.join(stale[:SHOWN])}{' and more' if len(stale) > SHOWN else ''}"
    if not found.is_enough and len(excused):
        words = f"not configured: {excused.iloc[0]['reason']}; {words}"
    return dg.AssetCheckResult(
        check_name=name,
        asset_key="daily_bars",
        passed=ran is not None and (found.is_enough or len(excused) > 0),
        severity=dg.AssetCheckSeverity.ERROR,
        description=words,
        metadata={
            "share": found.share,
            "needed": ENOUGH,
            "stale": len(stale),
            "listed": offending(stale, "stale", SHOWN),
            "never_told": list(found.never_told),
            "files_ended": [f"{key} on {newest}" for key, newest in found.ended.items()],
            "calendar_unknown": list(found.calendar_unknown),
        },
    )


def _excuses(engine: Engine, source: Table | None, day: date) -> pd.DataFrame:
    """Outcomes of the day that say why nobody can expect the source's bars; none once it has told any."""
    where = {"asset": source.name if source is not None else "", "error_class": NO_SOURCE}
    told = reads.read_days(engine, schema.asset_outcomes, DayRange.of(day), where)
    return told if source is not None and reads.newest_day(engine, source) is None else told.iloc[:0]


def freshness_check(name: str) -> dg.AssetChecksDefinition:
    """A check that tells in every run, and fails its own job: a failed run is told of once (`tell_of_failed_runs`)."""

    @dg.multi_asset_check(
        name=f"daily_bars_{name}",
        specs=[_spec(name, f"At least {ENOUGH:.0%} of the active instruments have the last session's bar.")],
    )
    def is_fresh(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.AssetCheckResult]:
        verdict = judge_freshness(context, warehouse, name)
        yield verdict
        if not verdict.passed and context.run.job_name == name:
            raise dg.Failure(verdict.description, allow_retries=False)

    return is_fresh


crypto_bars = freshness_check(CRYPTO_FRESH)
equity_bars = freshness_check(EQUITY_FRESH)
