"""Bars of coins and shares through Dagster: what is asked, written, restated and told when data stops.

Not here: the rules (domain/prices), schedules and repair of the days (test_bar_schedules.py).
"""

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration import declarations, jobs
from defiyield_assets.orchestration.alerts import tell_of_failed_runs
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.installations import (
    FIRST,
    SILENT,
    Installation,
    Loop,
    day_after,
    failed_steps,
    instead_of,
    meddle,
)

pytestmark = pytest.mark.slow

SECOND = day_after(FIRST)
SATURDAY = date(2025, 6, 7)
VENDORS = ["ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama", "observations", "ohlcv_alpha_vantage"]
OPENING = ["migrations", "policy_snapshot", "instruments"]
BARS = [*VENDORS, "corporate_actions", "daily_bars"]
AV, BARS_TABLE = schema.ohlcv_alpha_vantage, schema.daily_bars


def run_job(
    installation: Installation, job: str, *, tags: dict[str, str], assets: Iterable[str] | None = None
) -> dg.ExecuteInProcessResult:
    """One run of a job, whole or of some assets."""
    with dg.DagsterInstance.ephemeral() as instance:
        return installation.definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            tags=tags,
            asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
            raise_on_error=False,
            run_config={**SILENT, **(jobs.EQUITY_CONFIG if job == "update_equities" else {})},
        )


def run_range(installation: Installation, days: DayRange, assets: Iterable[str]) -> dg.ExecuteInProcessResult:
    """One run of a range, as a backfill in one run is."""
    tags = {
        "dagster/asset_partition_range_start": str(days.start),
        "dagster/asset_partition_range_end": str(days.end),
    }
    return run_job(installation, "plan_the_day", tags=tags, assets=assets)


def verdicts(result: dg.ExecuteInProcessResult, asset: str = "daily_bars") -> dict[str, Any]:
    """Evaluations of the asset's checks by name."""
    found = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return {told.check_name: told for told in found if told.asset_key == dg.AssetKey(asset)}


def asked(installation: Installation, day: date, vendor: str) -> pd.DataFrame:
    """Requests of a partition to a vendor."""
    fetches: pd.DataFrame = installation.rows(schema.raw_fetches)
    return fetches[(fetches["vendor"] == vendor) & (fetches["partition_date"] == day)]


def test_every_instrument_of_every_type_has_a_bar_and_all_checks_pass(first_day: Loop) -> None:
    bars = first_day.installation.rows(BARS_TABLE, FIRST)
    known = first_day.installation.rows(schema.instruments)
    assert set(known["type"]) == {"crypto", "equity", "etf", "index"}
    told = known[known[["cmc_id", "coingecko_id", "alpha_vantage_symbol"]].notna().any(axis=1)]
    assert set(told["instrument_id"]) - set(bars["instrument_id"]) == {"crypto:MATIC"}, "it ended before the day"
    found = verdicts(first_day.results[0])
    assert {name for name, verdict in found.items() if not verdict.passed} == set()
    assert {
        *("crypto_bars_are_fresh", "equity_bars_are_fresh", "no_session_is_missing", "bars_are_plausible"),
        *("every_factor_knows_every_action", "no_bar_after_delisting", "adjusted_closes_equal_the_vendors"),
    } <= set(found)


def test_a_first_day_brings_history_and_observations_are_no_bars(first_day: Loop) -> None:
    installation = first_day.installation
    spans = reads.instrument_spans(installation.engine, BARS_TABLE, FIRST)
    assert spans["crypto:BTC"].start == day_after(FIRST, -400)
    assert spans["equity:AAPL"].start < day_after(FIRST, -400)
    bars, seen = installation.rows(BARS_TABLE), installation.rows(schema.observations)
    assert "snapshot" not in set(bars["quality"])
    assert set(seen["date"]) == {FIRST}
    assert {"price_usd", "market_cap_usd", "circulating_supply", "market_cap_rank"} <= set(seen["metric"])


def test_a_split_leaves_the_adjusted_series_without_a_jump(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    actions = installation.rows(schema.corporate_actions)
    split = actions[(actions["kind"] == "split") & (actions["ex_date"] > FIRST)].iloc[0]
    own = installation.rows(BARS_TABLE).query("instrument_id == @split.instrument_id").sort_values("date")
    place = list(own["date"]).index(split["ex_date"])
    two = own.iloc[place - 1 : place + 1]
    raw, adjusted = list(two["close"]), list(two["close"] * two["adj_factor"])
    assert raw[1] / raw[0] == pytest.approx(1 / split["value"], rel=0.2)
    assert adjusted[1] / adjusted[0] == pytest.approx(raw[1] * split["value"] / raw[0], rel=1e-12), "the jump is gone"
    assert list(two["split_factor"]) == [1 / split["value"], 1.0]


def test_a_range_equals_the_days_one_by_one_and_asks_once_per_instrument(closed_loop: Loop, tmp_path: Path) -> None:
    """The same three days in one run: a backfill is a partition range, nothing else."""
    days, other = DayRange(FIRST, day_after(FIRST, 2)), Installation(tmp_path)
    assert run_range(other, days, [*OPENING, *BARS]).success
    one_by_one = closed_loop.installation
    for table in (schema.ohlcv_coinmarketcap, schema.closes_defillama, schema.ohlcv_coingecko, AV, BARS_TABLE):
        facts = [c.name for c in table.columns if c.name not in ("fetched_at", "adjusted_close")]
        # The days run one by one have been restated since by what came after these three.
        drop = ["adj_factor", "split_factor"] if table is BARS_TABLE else []
        left, right = (
            reads.read_days(place.engine, table, days)[facts].drop(columns=drop) for place in (other, one_by_one)
        )
        pd.testing.assert_frame_equal(left, right, obj=table.name)
    shares = asked(other, days.end, "alpha_vantage")
    assert len(shares) == int(other.rows(schema.instruments)["alpha_vantage_symbol"].notna().sum())
    assert shares["params_hash"].is_unique
    for vendor in ("coinmarketcap", "coingecko", "defillama_coins"):
        assert asked(other, days.end, vendor).duplicated(["endpoint", "params_hash"]).sum() == 0
    coins = asked(other, days.end, "coingecko")
    known = other.rows(schema.instruments)
    n_coins = known.loc[known["delisted_at"].isna(), "coingecko_id"].nunique()
    assert (coins["endpoint"] == "/coins/{id}/ohlc").sum() == n_coins, "candles of the whole range in one call"


def test_actions_restate_older_bars_and_a_factor_that_is_not_restated_blocks(closed_loop: Loop, tmp_path: Path) -> None:
    """A restated bar is the same bar: raw prices stay, factors follow, and nobody can forget one."""
    installation = closed_loop.installation
    actions = installation.rows(schema.corporate_actions)
    late = actions[(actions["ex_date"] > FIRST) & (actions["ex_date"] <= closed_loop.days[-1])]
    assert len(late), "in these days somebody pays"
    name, ex_date = late["instrument_id"].iloc[0], late["ex_date"].iloc[0]
    bars = installation.rows(BARS_TABLE).query("instrument_id == @name").sort_values("date")
    assert (bars.loc[bars["date"] >= ex_date, "adj_factor"] == 1.0).all()
    assert (bars.loc[bars["date"] < ex_date, "adj_factor"] < 1.0).all()

    copied = installation.copy_to(tmp_path / "state")
    forgotten = bars[bars["date"] == FIRST].assign(adj_factor=1.0)
    writes.upsert(copied.engine, BARS_TABLE, forgotten.reset_index(drop=True))
    stale = run_job(copied, "plan_the_day", tags={"dagster/partition": str(SATURDAY)}, assets=["daily_bars"])
    assert stale.success, "the next run restates it by itself"
    assert verdicts(stale)["every_factor_knows_every_action"].passed
    gone = pd.DataFrame([{**bars.iloc[0].to_dict(), "adj_factor": 0.5}])
    writes.upsert(copied.engine, BARS_TABLE, gone)
    told = only_checks(copied, SATURDAY)
    assert not told["every_factor_knows_every_action"].passed
    assert told["every_factor_knows_every_action"].blocking
    assert name in told["every_factor_knows_every_action"].description


def only_checks(installation: Installation, day: date) -> dict[str, Any]:
    """The checks of daily_bars on what is stored, nothing made anew."""
    job = dg.define_asset_job("only_checks", dg.AssetSelection.checks_for_assets(dg.AssetKey("daily_bars")))
    defs = dg.Definitions.merge(installation.definitions, dg.Definitions(jobs=[job]))
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("only_checks").execute_in_process(
            instance=instance, tags={"dagster/partition": str(day)}, raise_on_error=False
        )
    return verdicts(result)


def test_a_gap_a_wild_print_a_dead_instruments_bar_and_another_adjustment_are_named(
    first_day: Loop, tmp_path: Path
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    engine = installation.engine
    bars = installation.rows(BARS_TABLE, FIRST)
    kept = bars[bars["instrument_id"] != "crypto:BTC"].reset_index(drop=True)
    kept.loc[kept["instrument_id"] == "crypto:ETH", "high"] *= 2.35
    writes.replace_slice(engine, BARS_TABLE, kept, DayRange.of(FIRST))
    known = installation.rows(schema.instruments)
    known.loc[known["instrument_id"] == "crypto:LTC", "delisted_at"] = FIRST
    writes.upsert(engine, schema.instruments, known)
    rows = installation.rows(AV)
    half = rows[(rows["instrument_id"] == "equity:AAPL") & (rows["date"] < FIRST)].tail(1)
    writes.upsert(engine, AV, half.assign(adjusted_close=half["adjusted_close"] / 2).reset_index(drop=True))
    told = only_checks(installation, FIRST)
    expected = {
        "no_session_is_missing": "crypto:BTC",
        "bars_are_plausible": "crypto:ETH",
        "adjusted_closes_equal_the_vendors": "equity:AAPL",
    }
    for name, instrument in expected.items():
        assert not told[name].passed, name
        assert told[name].severity == dg.AssetCheckSeverity.WARN
        assert instrument in str(told[name].metadata["listed"].value)
    assert not told["no_bar_after_delisting"].passed
    assert "crypto:LTC" in told["no_bar_after_delisting"].description
    assert told["no_bar_after_delisting"].severity == dg.AssetCheckSeverity.ERROR
    assert installation.run(FIRST, ["daily_bars"]).success
    assert only_checks(installation, FIRST)["no_bar_after_delisting"].passed, "what is made anew keeps to the listing"


@pytest.fixture(scope="module")
def next_days(first_day: Loop, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """The demo day, and the morning after it at which exchanges' part alone was run."""
    installation = first_day.installation.copy_to(tmp_path_factory.mktemp("next") / "state")
    assert installation.run(SECOND, OPENING).success
    result = run_job(installation, "update_equities", tags={"dagster/partition": str(SECOND)})
    assert result.success, failed_steps(result)
    return Loop(installation, [SECOND], [result])


def test_the_equities_job_makes_the_slices_of_exchanges_and_no_others(next_days: Loop) -> None:
    installation = next_days.installation
    bars = installation.rows(BARS_TABLE, SECOND)
    assert set(bars["instrument_type"]) == {"equity", "etf"}
    assert installation.rows(schema.ohlcv_coinmarketcap, SECOND).empty
    found = verdicts(next_days.results[0])
    assert not {"crypto_bars_are_fresh", "equity_bars_are_fresh"} & set(found), "they have their own hour"
    assert found["no_session_is_missing"].passed, "coins are not awaited of this run"
    without_tokens = installation.run(SECOND, ["icebox", "icebox_events"], raise_on_error=False)
    assert failed_steps(without_tokens) == {"icebox"}, "a fall from a peg would not be seen"
    assert installation.run(SECOND, VENDORS[:4]).success
    config = {"ops": {"daily_bars": {"config": {"instrument_types": ["crypto"]}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = installation.definitions.resolve_job_def("plan_the_day").execute_in_process(
            instance=instance,
            partition_key=str(SECOND),
            asset_selection=[dg.AssetKey("daily_bars")],
            run_config={**SILENT, **config},
        )
    assert result.success
    both = installation.rows(BARS_TABLE, SECOND)
    assert set(both["instrument_type"]) == {"crypto", "equity", "etf"}
    shares = both[both["instrument_type"] != "crypto"].reset_index(drop=True)
    pd.testing.assert_frame_equal(shares, bars)


def test_a_day_without_a_session_asks_nobody_and_has_no_rows(next_days: Loop) -> None:
    installation = next_days.installation
    result = installation.run(SATURDAY, [*OPENING, "ohlcv_alpha_vantage", "corporate_actions"])
    assert result.success
    assert installation.rows(AV, SATURDAY).empty
    assert asked(installation, SATURDAY, "alpha_vantage").empty


def test_when_data_stops_the_check_fails_names_the_stale_and_is_told_of_once(first_day: Loop, tmp_path: Path) -> None:
    """Monday after a week without data; on the weekend before, shares are not yet stale."""
    installation = first_day.installation.copy_to(tmp_path / "state")
    monday = day_after(FIRST, 6)
    defs = installation.definitions
    with dg.DagsterInstance.ephemeral() as instance:
        results = {
            job: defs.resolve_job_def(job).execute_in_process(
                instance=instance, tags={"dagster/partition": str(monday)}, raise_on_error=False, run_config=SILENT
            )
            for job in ("equity_bars_are_fresh", "crypto_bars_are_fresh")
        }
        for job, result in results.items():
            told = verdicts(result)[job]
            assert not result.success
            assert (told.passed, told.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert (
            f"equity:AAPL since {FIRST}"
            in verdicts(results["equity_bars_are_fresh"])["equity_bars_are_fresh"].description
        )
        context = dg.build_run_status_sensor_context(
            sensor_name="tell_of_failed_runs",
            dagster_instance=instance,
            dagster_run=results["equity_bars_are_fresh"].dagster_run,
            dagster_event=results["equity_bars_are_fresh"].get_run_failure_event(),
            resources={name: (defs.resources or {})[name] for name in ("warehouse", "market", "notifier")},
        ).for_run_failure()
        tell_of_failed_runs(context)
    told_of = list((installation.folder / "reports").glob("failure-*.txt"))
    assert len(told_of) == 1
    assert f"equity_bars_are_fresh for {monday} failed" in told_of[0].read_text()


def test_yesterdays_bars_are_fresh_enough_on_a_weekend_for_shares_only(first_day: Loop, tmp_path: Path) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    tuesday = {"dagster/partition": str(FIRST)}
    assert run_job(installation, "equity_bars_are_fresh", tags=tuesday).success
    assert run_job(installation, "crypto_bars_are_fresh", tags=tuesday).success
    inside_the_day = only_checks(installation, day_after(FIRST))
    assert not inside_the_day["crypto_bars_are_fresh"].passed
    lost = sa.and_(BARS_TABLE.c.instrument_id == "etf:SPY", BARS_TABLE.c.date == FIRST)
    with installation.engine.begin() as connection:
        connection.execute(sa.delete(BARS_TABLE).where(lost))
    told = only_checks(installation, FIRST)["equity_bars_are_fresh"]
    assert not told.passed, "21 of 22 are enough, but regimes and betas rest on it"
    assert "others rest on etf:SPY" in told.description


def test_a_source_that_lost_more_than_a_twentieth_writes_nothing(
    first_day: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")

    def forgetful(_day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.host == "pro-api.coinmarketcap.com":
            body = json.loads(response.read())
            body["data"] = dict(list(body["data"].items())[:-3])
            return instead_of(response, 200, json.dumps(body).encode())
        if request.url.params.get("symbol") in ("AAPL", "KO"):
            return instead_of(response, 200, b'{"Error Message": "Invalid API call."}')
        return response

    meddle(monkeypatch, forgetful)
    names = ["ohlcv_coinmarketcap", "ohlcv_alpha_vantage"]
    result = installation.run(SECOND, [*OPENING, *names])
    assert result.success, "what stands in goes on"
    outcomes = installation.rows(schema.asset_outcomes, SECOND).set_index("asset")
    for name in names:
        assert installation.rows(schema.metadata.tables[name], SECOND).empty
        assert outcomes.loc[name, "error_class"] == "SuspiciousDataError"
        assert "more than 5%" in outcomes.loc[name, "reason"]
    assert "AAPL" in outcomes.loc["ohlcv_alpha_vantage", "reason"]


def test_shares_that_are_not_answered_for_a_while_may_heal_and_fail_the_run_that_is_there_for_them(
    first_day: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    away = {"AAPL": 500, "KO": 404}
    meddle(
        monkeypatch,
        lambda _day, request, response: (
            instead_of(response, away[symbol], b"{}")
            if (symbol := request.url.params.get("symbol")) in away
            else response
        ),
    )
    monkeypatch.setattr(declarations, "is_last_attempt", lambda *_: True)
    assert installation.run(SECOND, [*OPENING, "ohlcv_alpha_vantage"]).success, "what stands in goes on"
    (outcome,) = installation.rows(schema.asset_outcomes, SECOND).itertuples()
    assert (outcome.status, outcome.error_class) == ("degraded", "VendorPartial")
    tags = {"dagster/partition": str(SECOND)}
    result = run_job(installation, "update_equities", tags=tags, assets=["ohlcv_alpha_vantage"])
    assert failed_steps(result) == {"ohlcv_alpha_vantage"}
    (outcome,) = installation.rows(schema.asset_outcomes, SECOND).itertuples()
    assert (outcome.status, outcome.error_class) == ("failed", "VendorPartial")


def test_an_old_day_that_runs_again_keeps_what_left_the_files(first_day: Loop, tmp_path: Path) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    gone = ["equity:AAPL", "crypto:BTC"]
    tables = (schema.ohlcv_coinmarketcap, schema.ohlcv_coingecko, AV, BARS_TABLE)

    def kept() -> list[pd.DataFrame]:
        told = [installation.rows(table, FIRST) for table in tables]
        return [rows[rows["instrument_id"].isin(gone)].reset_index(drop=True) for rows in told]

    before = kept()
    assert [len(rows) for rows in before] == [1, 1, 1, 2]
    known = schema.instruments
    with installation.engine.begin() as connection:
        left = sa.update(known).where(known.c.instrument_id.in_(gone)).values(is_configured=False)
        connection.execute(left)
    assert installation.run(FIRST, BARS).success
    for after, rows in zip(kept(), before, strict=True):
        pd.testing.assert_frame_equal(after, rows)


def test_what_was_missed_comes_with_the_next_session(
    first_day: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session on which the vendor was down is told with the next one, and its bar is made then."""
    installation = first_day.installation.copy_to(tmp_path / "state")
    with monkeypatch.context() as down:
        meddle(
            down,
            lambda _day, request, response: (
                instead_of(response, 401, b"no") if "alphavantage" in request.url.host else response
            ),
        )
        assert installation.run(SECOND, [*OPENING, *BARS]).success
    troubled = set(installation.rows(schema.asset_outcomes, SECOND)["asset"])
    assert troubled == {"ohlcv_alpha_vantage", "corporate_actions"}, "nothing that stands on tokens' bars suffers"
    missed = installation.rows(BARS_TABLE, SECOND)
    assert set(missed["instrument_type"]) == {"crypto"}
    assert installation.run(day_after(SECOND), [*OPENING, *BARS]).success
    assert {"equity", "etf"} <= set(installation.rows(BARS_TABLE, SECOND)["instrument_type"])
    spans = reads.instrument_spans(installation.engine, BARS_TABLE, day_after(SECOND))
    assert spans["equity:AAPL"].end == day_after(SECOND)


def test_without_a_key_shares_are_not_configured_and_nothing_else_suffers(
    first_day: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    has_key = MarketResource.has_key
    monkeypatch.setattr(
        MarketResource, "has_key", lambda market, vendor: vendor != "alpha_vantage" and has_key(market, vendor)
    )
    result = installation.run(SECOND, [*OPENING, *BARS])
    assert result.success
    outcomes = installation.rows(schema.asset_outcomes, SECOND)
    assert outcomes[["asset", "error_class"]].values.tolist() == [["ohlcv_alpha_vantage", "NotConfigured"]]
    lost = verdicts(result)["equity_bars_are_fresh"]
    assert not lost.passed, "shares had bars until the key was lost"
    with installation.engine.begin() as connection:
        connection.execute(sa.delete(AV))
    told = only_checks(installation, SECOND)["equity_bars_are_fresh"]
    assert told.passed, "of a source that never told anything nothing is expected"
    assert "DEFIYIELD_ALPHA_VANTAGE_API_KEY" in told.description
