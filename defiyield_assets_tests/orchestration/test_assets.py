"""What the wiring promises: windows, ranges, refusals, degradations, outcomes, resources.

Not here: rules (domain/), whole days (test_end_to_end.py), reruns (test_idempotency.py), broken vendors (faults/).
"""

import json
import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import httpx
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange, cutoff, end_of
from defiyield_assets.domain.policy_codec import policy_to_json
from defiyield_assets.domain.reporting.slack_blocks import SlackMessage
from defiyield_assets.errors import (
    ConfigurationError,
    NotRecoverable,
    SuspiciousDataError,
    VendorAuthError,
    VendorUnavailable,
)
from defiyield_assets.orchestration.declarations import PROGRESS
from defiyield_assets.orchestration.failures import outcomes
from defiyield_assets.orchestration.notifier import NotifierResource
from defiyield_assets.orchestration.reporting import PREVIEW_WIDTH, preview
from defiyield_assets.orchestration.resources import (
    MarketResource,
    PolicyResource,
    WarehouseResource,
    window_of,
)
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.store import schema
from defiyield_assets.store.engine import write_transaction
from defiyield_assets.store.rows import rows_hash, to_rows
from defiyield_assets.store.validation import day_column
from defiyield_assets_tests.installations import (
    FIRST,
    SILENT,
    Installation,
    Loop,
    day_after,
    failed_steps,
    meddle,
)

pytestmark = pytest.mark.slow

NEXT = day_after(FIRST)
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
LOG = logging.getLogger(__name__)


@pytest.fixture
def after_first(first_day: Loop, tmp_path: Path) -> Installation:
    """A state on which the first day has run."""
    return first_day.installation.copy_to(tmp_path / "state")


def run_range(installation: Installation, assets: list[str], days: DayRange) -> dg.ExecuteInProcessResult:
    """Materialise a range in one run, as a backfill of a single-run asset does."""
    with dg.DagsterInstance.ephemeral() as instance:
        return installation.definitions.resolve_job_def("plan_the_day").execute_in_process(
            tags={RANGE_START: days.start.isoformat(), RANGE_END: days.end.isoformat()},
            asset_selection=[dg.AssetKey(name) for name in assets],
            instance=instance,
            raise_on_error=False,
            run_config=SILENT,
        )


def reasons(installation: Installation, day: date) -> dict[str, str]:
    """Why assets of the day failed or are degraded."""
    rows = installation.rows(schema.asset_outcomes, day)
    return dict(zip(rows["asset"], rows["reason"], strict=True))


# --- the window -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("minutes", "inside"), [(-0.001, False), (0, True), (30, True), (60, True), (60.001, False), (1440, False)]
)
def test_now_may_be_called_the_day_for_an_hour_after_it(minutes: float, inside: bool) -> None:
    assert window_of(FIRST).holds(end_of(FIRST) + timedelta(minutes=minutes)) is inside
    assert window_of(FIRST).not_after == cutoff(FIRST)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A market whose present is a minute after the window of every day."""
    monkeypatch.setattr(MarketResource, "stamp", lambda _market, day: cutoff(day) + timedelta(minutes=1))


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("asset", ["pools", "chain_balances"])
def test_a_source_that_only_knows_now_is_not_recoverable_after_the_window(
    after_first: Installation, asset: str
) -> None:
    result = after_first.run(NEXT, ["policy_snapshot", asset], raise_on_error=False)
    assert failed_steps(result) == {asset}
    assert not any(event.is_step_up_for_retry for event in result.all_events), "nothing asks for it again"
    outcome = after_first.rows(schema.asset_outcomes, NEXT).set_index("asset").loc[asset]
    assert (outcome["status"], outcome["error_class"]) == ("failed", NotRecoverable.__name__)
    assert not outcome["is_recoverable"]
    assert "cannot be recovered" in outcome["reason"]
    assert after_first.rows(schema.metadata.tables[asset], NEXT).empty


@pytest.mark.usefixtures("late")
def test_the_archive_answers_for_a_day_whose_window_is_over(after_first: Installation) -> None:
    before = after_first.fingerprints(FIRST)
    requests = len(after_first.rows(schema.raw_fetches))
    with write_transaction(after_first.engine, "pools") as connection:
        connection.execute(schema.pools.delete())
        connection.execute(schema.chain_balances.delete())
    assert after_first.run(FIRST, ["pools", "chain_balances"]).success
    assert after_first.fingerprints(FIRST) == before
    assert len(after_first.rows(schema.raw_fetches)) == requests, "nobody was asked"


# --- ranges ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "asset",
    [
        "account_transactions",
        *(
            pytest.param(name, marks=pytest.mark.nightly)
            for name in ("chain_balances", "nav_daily", "eligible_pools", "plan_executions", "daily_report")
        ),
    ],
)
def test_from_the_ledger_on_a_range_in_one_run_is_refused(first_day: Loop, asset: str, tmp_path: Path) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    before = installation.fingerprints(FIRST)
    result = run_range(installation, [asset], DayRange(FIRST, NEXT))
    assert failed_steps(result) == {asset}
    found = reasons(installation, FIRST)[asset]
    assert f"{asset} cannot run {FIRST}..{NEXT} in one run" in found
    assert f"Use `defiyield run --from {FIRST} --to {NEXT}`" in found
    assert installation.fingerprints(FIRST) == before | {
        "asset_outcomes": installation.fingerprints(FIRST)["asset_outcomes"]
    }


@pytest.mark.nightly
def test_before_the_ledger_a_range_in_one_run_is_the_days_one_by_one(closed_loop: Loop, tmp_path: Path) -> None:
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    before = installation.fingerprints()
    assets = [
        "pool_quality",
        "pool_metrics",
        "pool_groups",
        "forecast_evaluations",
        "forecast_candidates",
        "pool_forecasts",
        "gas_candidates",
        "gas_forecasts",
        "gas_hour_profiles",
        "costly_candidates",
        "forecast_scores",
        "forecast_score_sums",
        "forecast_scoreboard",
        "icebox_events",
        "icebox",
    ]
    days = DayRange(closed_loop.days[1], closed_loop.days[3])
    for name in assets:
        table = schema.metadata.tables[name]
        with write_transaction(installation.engine, name) as connection:
            connection.execute(table.delete().where(day_column(table).between(days.start, days.end)))
    assert run_range(installation, assets, days).success
    after = installation.fingerprints()
    assert [name for name in before if before[name] != after[name]] == []


# --- what must be there before --------------------------------------------------------------------------------------
def test_the_icebox_refuses_to_leap_over_a_day(after_first: Installation) -> None:
    gap = day_after(FIRST, 3)
    assert after_first.run(gap, ["policy_snapshot"]).success
    before = after_first.fingerprints()
    result = after_first.run(gap, ["icebox_events", "icebox"], raise_on_error=False)
    assert failed_steps(result) == {"icebox"}
    reason = reasons(after_first, gap)["icebox"]
    assert f"icebox of {day_after(gap, -1)} is missing" in reason
    assert f"materialise the days from {FIRST} to {day_after(gap, -1)} in order" in reason
    after = after_first.fingerprints()
    assert [name for name in before if before[name] != after[name]] == ["asset_outcomes"]


def test_a_policy_that_nobody_stored_is_missed_by_name(sqlite_warehouse: sa.Engine) -> None:
    warehouse = WarehouseResource(url=str(sqlite_warehouse.url), market="simulated")
    with pytest.raises(SuspiciousDataError, match=f"policy_snapshot of {FIRST} is missing"):
        warehouse.policy(FIRST)


def test_a_warehouse_that_is_not_migrated_says_what_to_do(tmp_path: Path) -> None:
    warehouse = WarehouseResource(url=f"sqlite:///{tmp_path / 'fresh.sqlite'}", market="simulated")
    with pytest.raises(ConfigurationError, match=r"revision none, the code needs \w+: run `defiyield migrate`"):
        _ = warehouse.engine
    warehouse.migrate()
    assert warehouse.engine.url.database == str(tmp_path / "fresh.sqlite")


def test_two_markets_never_share_a_warehouse(first_day: Loop) -> None:
    url = first_day.installation.settings.warehouse_url
    for market in ("recorded", "live"):
        with pytest.raises(ConfigurationError, match=f"holds the market simulated, not {market}"):
            _ = WarehouseResource(url=url, market=market).engine
        with pytest.raises(ConfigurationError, match="two markets never share one"):
            WarehouseResource(url=url, market=market).migrate()


# --- keys and wallets -----------------------------------------------------------------------------------------------
def test_a_live_market_without_keys_is_degraded_and_names_every_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, _ in KEY_VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)

    def nobody(_market: MarketResource, _day: date) -> httpx.AsyncBaseTransport:
        raise AssertionError("a vendor was asked without its key")

    monkeypatch.setattr(MarketResource, "_transport", nobody)
    installation = Installation(tmp_path, "live")
    keyed = ["ohlcv_coinmarketcap", "macro_series", "account_transactions"]
    result = installation.run(FIRST, ["migrations", "policy_snapshot", "instruments", *keyed])
    assert result.success
    found = reasons(installation, FIRST)
    assert set(found) == set(keyed)
    for asset, vendor in zip(keyed, ("coinmarketcap", "fred", "etherscan"), strict=True):
        variable, adds = KEY_VARIABLES[vendor]
        assert f"no {variable}" in found[asset] or "no wallet is configured" in found[asset]
        assert adds in found[asset] or "wallet" in found[asset]
    rows = installation.rows(schema.asset_outcomes, FIRST)
    assert set(rows["status"]) == {"degraded"}
    degraded = [
        event.materialization.metadata["degraded"].value
        for event in result.get_asset_materialization_events()
        if event.materialization and "degraded" in event.materialization.metadata
    ]
    assert sorted(map(str, degraded)) == sorted(found.values())


# --- outcomes -------------------------------------------------------------------------------------------------------
def test_a_transient_error_travels_on_so_that_it_may_be_retried(sqlite_warehouse: sa.Engine) -> None:
    error = VendorUnavailable("down", vendor="fred", endpoint="/x", status=503)
    with pytest.raises(VendorUnavailable) as caught, outcomes(sqlite_warehouse, "pools", DayRange.of(FIRST), LOG):
        raise error
    assert caught.value is error


def test_a_permanent_error_becomes_a_failure_that_nobody_retries(sqlite_warehouse: sa.Engine) -> None:
    error = VendorAuthError("who are you", vendor="fred", endpoint="/x", status=401)
    with pytest.raises(dg.Failure) as caught, outcomes(sqlite_warehouse, "pools", DayRange.of(FIRST), LOG):
        raise error
    assert caught.value.allow_retries is False
    facts = {name: value.value for name, value in caught.value.metadata.items()}
    assert facts == {"error_class": "VendorAuthError", "vendor": "fred", "endpoint": "/x", "http_status": 401}


def test_a_bug_is_recorded_and_raised_as_it_is(sqlite_warehouse: sa.Engine) -> None:
    with pytest.raises(ZeroDivisionError), outcomes(sqlite_warehouse, "pools", DayRange(FIRST, NEXT), LOG):
        _ = 1 / 0
    with sqlite_warehouse.connect() as connection:
        rows = connection.execute(sa.select(schema.asset_outcomes)).mappings().all()
    assert [(row["date"], row["error_class"], row["is_recoverable"]) for row in rows] == [
        (FIRST, "ZeroDivisionError", True),
        (NEXT, "ZeroDivisionError", True),
    ]


def test_a_clean_run_clears_what_was_said_of_the_day(after_first: Installation) -> None:
    def fail(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        return httpx.Response(401, headers={"date": response.headers["date"]})

    assets = ["policy_snapshot", "gas_fees_hourly"]
    with pytest.MonkeyPatch.context() as patch:
        meddle(patch, fail)
        assert not after_first.run(NEXT, assets, raise_on_error=False).success
    assert set(reasons(after_first, NEXT)) == {"gas_fees_hourly"}
    assert after_first.run(NEXT, assets).success
    assert reasons(after_first, NEXT) == {}


def test_a_closed_day_is_answered_by_the_archive_when_it_is_asked_again(after_first: Installation) -> None:
    def fail(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        return httpx.Response(401, headers={"date": response.headers["date"]})

    assets = ["gas_fees_hourly", "ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama", "observations"]
    before, asked = after_first.fingerprints(FIRST), len(after_first.rows(schema.raw_fetches))
    with pytest.MonkeyPatch.context() as patch:
        meddle(patch, fail)
        assert after_first.run(FIRST, [*assets, "pendle_markets", "macro_series"]).success
    assert after_first.fingerprints(FIRST) == before
    assert len(after_first.rows(schema.raw_fetches)) == asked, "nobody was asked"


def test_progress_is_told_of_every_asset(after_first: Installation) -> None:
    told: list[tuple[str, str]] = []
    token = PROGRESS.set(lambda asset, what, _seconds: told.append((asset, what)))
    try:
        after_first.run(FIRST, ["gas_fees_daily", "icebox_events", "icebox"])
    finally:
        PROGRESS.reset(token)
    assert sorted(told) == sorted((name, what) for name in ("gas_fees_daily", "icebox") for what in ("started", "done"))


def test_materialisations_carry_rows_days_fingerprint_and_preview(first_day: Loop) -> None:
    for event in first_day.results[0].get_asset_materialization_events():
        facts = event.materialization.metadata
        name = event.asset_key.to_user_string() if event.asset_key else ""
        assert "dagster/row_count" in facts, name
        if name in ("pools", "prefiltered_pools", "pool_metrics", "eligible_pools", "nav_daily"):
            table = schema.metadata.tables[name]
            rows = to_rows(table, first_day.installation.rows(table, FIRST))
            assert facts["sha256"].value == rows_hash(table, rows)
            assert facts["days"].value == 1
            assert "preview" in facts


def test_previews_disarm_what_vendors_send() -> None:
    """A table in the UI shows text as text; what is left to do is to cut it and to take out what nobody sees."""
    hostile = pd.DataFrame([{"symbol": "<b>a</b>\n\u202egnp.exe\x1b[31m", "name": "x" * 500, "amount": 2**60}])
    told = preview(hostile)
    assert [record.data for record in told.records] == [
        {"symbol": "<b>a</b> gnp.exe[31m", "name": "x" * (PREVIEW_WIDTH - 1) + "…", "amount": str(2**60)}
    ]


# --- resources ------------------------------------------------------------------------------------------------------
def test_the_policy_takes_what_the_market_knows_and_files_of_the_installation(first_day: Loop, tmp_path: Path) -> None:
    market = (first_day.installation.definitions.resources or {})["market"]
    bare, told = PolicyResource().load(FIRST, None), PolicyResource().load(FIRST, market.simulation)
    assert len(told.policy.pool_overrides) > len(bare.policy.pool_overrides)
    (tmp_path / "policy.yaml").write_text("parameters:\n  max_pool_share: 0.11\n", encoding="utf-8")
    own = PolicyResource(config_dir=str(tmp_path)).load(FIRST, None).policy
    assert own.parameters.max_pool_share == 0.11
    assert own.parameters.min_pools == bare.policy.parameters.min_pools
    assert own.tokens == bare.policy.tokens
    (tmp_path / "policy.yaml").write_text("parameters:\n  max_pool_share: 11\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"policy\.yaml.*max_pool_share"):
        PolicyResource(config_dir=str(tmp_path)).load(FIRST, None)


def test_a_stored_policy_comes_back_whole(first_day: Loop) -> None:
    """What later assets read of `policy_snapshot` is what was loaded, contracts of pools included."""
    installation = first_day.installation
    resources = installation.definitions.resources or {}
    loaded = resources["policy"].load(FIRST, resources["market"].simulation).policy
    stored = installation.warehouse.policy(FIRST)
    assert stored.pool_contracts
    assert policy_to_json(stored) == policy_to_json(loaded)


WEBHOOK = "https://hooks.slack.com/services/AAA/BBB/a-secret-of-the-team"


def post(notifier: NotifierResource, engine: sa.Engine, market: str, folder: Path) -> str:
    """Send one message through the notifier."""
    vendors = MarketResource(market=market, chain_path=str(folder / "chain.sqlite"), seed=7)
    said = SlackMessage("hello", ({"type": "divider"},))
    return notifier.deliver(said, "word", key="word", market=vendors, engine=engine, day=FIRST).status


@pytest.mark.parametrize("market", ["simulated", "recorded", "live"])
def test_messages_stay_local_unless_the_market_is_live_and_slack_configured(
    market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_warehouse: sa.Engine
) -> None:
    if market != "live":
        monkeypatch.setenv("DEFIYIELD_SLACK_WEBHOOK_URL", WEBHOOK)
    else:
        monkeypatch.delenv("DEFIYIELD_SLACK_WEBHOOK_URL", raising=False)
    notifier = NotifierResource(market=market, local_folder=str(tmp_path / "reports"))
    assert notifier.sink == "local"
    assert post(notifier, sqlite_warehouse, market, tmp_path) == "written to word.txt"
    written = tmp_path / "reports" / "word.txt"
    assert written.read_text(encoding="utf-8") == "hello\n"
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_served_market_posts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_SLACK_WEBHOOK_URL", WEBHOOK)
    monkeypatch.setenv("DEFIYIELD_VENDOR_SERVER", "http://127.0.0.1:8320")
    assert NotifierResource(market="live", local_folder=str(tmp_path)).sink == "local"


def test_a_live_market_posts_to_the_webhook_and_keeps_it_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_warehouse: sa.Engine
) -> None:
    posted: list[tuple[str, object]] = []

    def slack(request: httpx.Request) -> httpx.Response:
        posted.append((str(request.url), json.loads(request.content)))
        return httpx.Response(200, text="ok")

    monkeypatch.setenv("DEFIYIELD_SLACK_WEBHOOK_URL", WEBHOOK)
    monkeypatch.setattr(MarketResource, "_transport", lambda _market, _day: httpx.MockTransport(slack))
    notifier = NotifierResource(market="live", local_folder=str(tmp_path / "reports"))
    assert notifier.sink == "slack"
    assert post(notifier, sqlite_warehouse, "live", tmp_path) == "posted"
    assert [url for url, _ in posted] == [WEBHOOK]
    assert not (tmp_path / "reports").exists()
    with sqlite_warehouse.connect() as connection:
        rows = str(connection.execute(sa.select(schema.raw_fetches)).all())
    assert "a-secret-of-the-team" not in rows
    assert "a-secret-of-the-team" not in repr(notifier)


def test_a_live_market_stamps_with_the_clock_and_others_with_the_day(tmp_path: Path) -> None:
    chain = str(tmp_path / "chain.sqlite")
    live = MarketResource(market="live", chain_path=chain, seed=7)
    before = datetime.now(UTC)
    assert before <= live.stamp(FIRST) <= datetime.now(UTC)
    assert live.simulation is None
    simulated = MarketResource(market="simulated", chain_path=chain, seed=7)
    assert simulated.stamp(FIRST) == end_of(FIRST) + timedelta(minutes=30)
    assert simulated.simulation is not None
    assert not (tmp_path / "other").exists()
