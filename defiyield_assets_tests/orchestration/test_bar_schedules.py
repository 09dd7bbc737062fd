"""Both markets run every day: schedules as shipped, what they ask for, and repair of exchanges' part of a day.

Not here: what the runs do (test_bars.py), repair of the rest (test_repair.py, test_repair_sensor.py).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.orchestration import jobs
from defiyield_assets.orchestration.failures import Outcome, record_outcomes
from defiyield_assets.orchestration.instrument_types import (
    BY_TYPE,
    EQUITIES,
    EXCHANGE_TYPES,
    STEPS_BY_TYPE,
    InstrumentTypes,
    assets_with_tag,
    outcomes_of_part,
    parts_of_run,
)
from defiyield_assets.orchestration.repair import ExchangeParts, with_exchange_parts
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.settings import Settings
from defiyield_assets_tests.orchestration.test_repair_sensor import look, was_made

DEFINITIONS = build_defs(Settings(market="simulated", state_dir=Path("nowhere")))
REPOSITORY = DEFINITIONS.get_repository_def()
TUESDAY, SATURDAY = date(2025, 6, 3), date(2025, 6, 7)


def test_every_schedule_is_shipped_running_at_its_hour() -> None:
    found = {
        name: (schedule.cron_schedule, schedule.execution_timezone, schedule.default_status)
        for name, schedule in ((one.name, one) for one in REPOSITORY.schedule_defs)
    }
    running = dg.DefaultScheduleStatus.RUNNING
    assert found == {
        "scenarios_on_sundays_at_0400_utc": ("0 4 * * 0", "UTC", running),
        "plan_the_day_at_0045_utc": ("45 0 * * *", "UTC", running),
        "update_equities_at_0050_utc": ("50 0 * * 2-6", "UTC", running),
        "crypto_bars_at_0130_utc": ("30 1 * * *", "UTC", running),
        "equity_bars_at_0200_utc": ("0 2 * * 2-6", "UTC", running),
        "latest_signals_at_0110_utc": ("10 1 * * *", "UTC", running),
        "news_at_five_past": ("5 * * * *", "UTC", running),
        "apply_retention_at_0500_utc": ("0 5 * * *", "UTC", running),
    }


def tick(name: str) -> dg.RunRequest:
    """What a schedule asks for in the night after Tuesday."""
    schedule = REPOSITORY.get_schedule_def(name)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime(2025, 6, 4, 0, 50, tzinfo=UTC),
            repository_def=REPOSITORY,
        )
        (request,) = schedule.evaluate_tick(context).run_requests or []
    return request


def test_signals_are_made_of_yesterday_and_of_what_was_late_of_the_two_days_before() -> None:
    request = tick("latest_signals_at_0110_utc")
    ends = {name: request.tags[f"dagster/asset_partition_range_{name}"] for name in ("start", "end")}
    assert ends == {"start": "2025-06-01", "end": str(TUESDAY)}


def test_the_first_run_of_the_night_is_all_but_what_exchanges_bring() -> None:
    request = tick("plan_the_day_at_0045_utc")
    asked = {key.to_user_string() for key in request.asset_selection or []}
    daily = assets_with_tag(REPOSITORY, "daily")
    assert daily - asked == assets_with_tag(REPOSITORY, EQUITIES) >= {"ohlcv_alpha_vantage", "corporate_actions"}
    assert request.partition_key == str(TUESDAY)
    assert request.run_config["ops"]["daily_bars"]["config"] == {"instrument_types": ["crypto"]}
    checks = {key.name for key in request.asset_check_keys or []}
    assert not checks & {jobs.CRYPTO_FRESH, jobs.EQUITY_FRESH}, "they have their own hour"
    assert {"every_factor_knows_every_action", "price_sources_agree"} <= checks


def test_the_second_run_is_what_exchanges_bring_and_what_is_made_of_it() -> None:
    request, job = tick("update_equities_at_0050_utc"), DEFINITIONS.resolve_job_def("update_equities")
    made = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert made == assets_with_tag(REPOSITORY, EQUITIES) | assets_with_tag(REPOSITORY, BY_TYPE)
    assert request.partition_key == str(TUESDAY)
    told = {name: step["config"]["instrument_types"] for name, step in request.run_config["ops"].items()}
    assert set(told) == set(STEPS_BY_TYPE)
    assert all(types == list(EXCHANGE_TYPES) for types in told.values())


def test_every_step_by_type_is_told_its_types() -> None:
    taking = {
        definition.op.name
        for definition in DEFINITIONS.assets or ()
        if isinstance(definition, dg.AssetsDefinition)
        and definition.is_executable
        and any(BY_TYPE in tags for tags in definition.tags_by_key.values())
    }
    assert taking == set(STEPS_BY_TYPE)


@pytest.mark.parametrize(
    ("schedule", "check"),
    [("crypto_bars_at_0130_utc", jobs.CRYPTO_FRESH), ("equity_bars_at_0200_utc", jobs.EQUITY_FRESH)],
)
def test_freshness_is_looked_at_by_a_job_that_makes_nothing(schedule: str, check: str) -> None:
    request, job = tick(schedule), DEFINITIONS.resolve_job_def(check)
    assert request.tags["dagster/partition"] == str(TUESDAY)
    assert not job.asset_layer.selected_asset_keys
    assert {node.name for node in job.nodes} == {f"daily_bars_{check}"}


# --- repair ----------------------------------------------------------------------------------------------------------
PARTS = ExchangeParts(
    frozenset({"ohlcv_alpha_vantage"}),
    frozenset({"daily_bars"}),
    {day: cutoff(day) for day in DayRange(TUESDAY, SATURDAY)},
)
LATER = datetime(2025, 6, 9, tzinfo=UTC)


def test_shares_missing_on_a_weekday_bring_what_is_made_of_them_for_their_types_only() -> None:
    missing = {TUESDAY: ["ohlcv_alpha_vantage"], SATURDAY: ["ohlcv_alpha_vantage"]}
    assert with_exchange_parts(missing, {}, PARTS, LATER) == (
        {TUESDAY: ["daily_bars", "ohlcv_alpha_vantage"]},
        frozenset({TUESDAY}),
    )
    whole = {TUESDAY: ["daily_bars", "ohlcv_alpha_vantage", "pools"]}
    assert with_exchange_parts(whole, {}, PARTS, LATER) == (whole, frozenset())


def test_before_their_own_run_is_over_shares_are_not_missing() -> None:
    missing = {TUESDAY: ["ohlcv_alpha_vantage", "pools"]}
    wanted, _ = with_exchange_parts(missing, {}, PARTS, cutoff(TUESDAY) - timedelta(minutes=1))
    assert wanted == {TUESDAY: ["pools"]}
    wanted, _ = with_exchange_parts(missing, {}, PARTS, cutoff(TUESDAY))
    assert wanted == {TUESDAY: ["daily_bars", "ohlcv_alpha_vantage", "pools"]}


def test_bars_that_failed_for_shares_after_they_were_made_for_coins_are_asked_for_again() -> None:
    assert with_exchange_parts({}, {TUESDAY: {"daily_bars"}}, PARTS, LATER) == (
        {TUESDAY: ["daily_bars"]},
        frozenset({TUESDAY}),
    )
    healing = with_exchange_parts({}, {TUESDAY: {"ohlcv_alpha_vantage"}}, PARTS, LATER)
    assert healing[0] == {TUESDAY: ["daily_bars", "ohlcv_alpha_vantage"]}
    assert with_exchange_parts({}, {TUESDAY: {"pools"}}, PARTS, LATER) == ({}, frozenset())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def recent_days() -> tuple[date, date]:
    """The newest weekday that is over and not of last night, and the newest Saturday before today."""
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=back) for back in range(2, 9)]
    return next(day for day in days if day.weekday() < 5), next(day for day in days if day.weekday() == 5)


def test_the_sensor_asks_for_shares_of_weekdays_and_leaves_weekends_alone(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_REPAIR_LOOKBACK_DAYS", "9")
    monkeypatch.setenv("DEFIYIELD_REPAIR_MAX_REQUESTS", "9")
    settings = Settings(state_dir=tmp_path, market="simulated")
    warehouse = WarehouseResource(url=settings.warehouse_url, market="simulated")
    warehouse.migrate()
    weekday, saturday = recent_days()
    own = assets_with_tag(REPOSITORY, EQUITIES)
    today = datetime.now(UTC).date()
    for back in range(1, 11):
        day = today - timedelta(days=back)
        for name in assets_with_tag(REPOSITORY, "daily"):
            if not (name in own and day in (weekday, saturday)):
                was_made(instance, name, day)
    requests = look(settings, instance).run_requests or []
    assert [request.partition_key for request in requests] == [str(weekday)]
    (request,) = requests
    asked = {key.to_user_string() for key in request.asset_selection or []}
    assert asked == own | assets_with_tag(REPOSITORY, BY_TYPE)
    assert request.run_config["ops"]["daily_bars"]["config"] == {"instrument_types": list(EXCHANGE_TYPES)}
    for name in own:
        was_made(instance, name, weekday)
    assert not look(settings, instance).run_requests
    failed = Outcome("failed", "SuspiciousDataError", "because")
    record_outcomes(warehouse.engine, "daily_bars:exchanges", DayRange.of(weekday), {weekday: failed})
    (again,) = look(settings, instance).run_requests or []
    assert again.partition_key == str(weekday)
    assert again.run_config["ops"]["daily_bars"]["config"] == {"instrument_types": list(EXCHANGE_TYPES)}
    record_outcomes(warehouse.engine, "daily_bars", DayRange.of(weekday), {})
    assert look(settings, instance).run_requests, "that the part of coins ended well says nothing of theirs"


def test_bars_of_coins_that_failed_are_asked_for_again_with_the_plan_though_those_of_shares_were_made(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_REPAIR_LOOKBACK_DAYS", "9")
    settings = Settings(state_dir=tmp_path, market="simulated")
    warehouse = WarehouseResource(url=settings.warehouse_url, market="simulated")
    warehouse.migrate()
    weekday, _ = recent_days()
    bars = dg.AssetSelection.assets("daily_bars")
    resting = {key.to_user_string() for key in bars.downstream().resolve(REPOSITORY.asset_graph)}
    of_shares = assets_with_tag(REPOSITORY, EQUITIES) | assets_with_tag(REPOSITORY, BY_TYPE)
    today = datetime.now(UTC).date()
    for back in range(1, 11):
        day = today - timedelta(days=back)
        for name in assets_with_tag(REPOSITORY, "daily"):
            if day != weekday or name not in resting - of_shares:
                was_made(instance, name, day)
    failed = Outcome("failed", "SuspiciousDataError", "no price of any token")
    record_outcomes(warehouse.engine, "daily_bars", DayRange.of(weekday), {weekday: failed})
    record_outcomes(warehouse.engine, "daily_bars:exchanges", DayRange.of(weekday), {})
    (request,) = look(settings, instance).run_requests or []
    asked = {key.to_user_string() for key in request.asset_selection or []}
    assert request.partition_key == str(weekday)
    assert asked >= {"daily_bars", "daily_features", "icebox", "eligible_pools", "allocation_runs"}
    assert asked == resting & assets_with_tag(REPOSITORY, "daily")
    assert not request.run_config, "all types"


@pytest.mark.parametrize(
    ("types", "parts"),
    [
        (["crypto"], ["daily_bars"]),
        (["equity", "etf"], ["daily_bars:exchanges"]),
        (["crypto", "index"], ["daily_bars", "daily_bars:exchanges"]),
    ],
)
def test_a_run_tells_of_the_parts_that_it_makes_and_of_no_other(types: list[str], parts: list[str]) -> None:
    assert parts_of_run("daily_bars", InstrumentTypes(instrument_types=types)) == parts
    assert parts_of_run("daily_bars", None) == ["daily_bars"]
    told = pd.DataFrame({"asset": ["daily_bars", "daily_bars:exchanges", "macro_series"]})
    assert list(outcomes_of_part(told, "daily_features")["asset"]) == ["daily_bars", "macro_series"]
    assert list(outcomes_of_part(told, "daily_features:exchanges")["asset"]) == ["daily_bars", "macro_series"]
    assert len(outcomes_of_part(told.iloc[[0]], "daily_features:exchanges")) == 0
