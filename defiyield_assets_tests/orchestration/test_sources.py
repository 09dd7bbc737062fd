"""Checks of sources: freshness by partition and by the present, and answers that change their shape.

Not here: what a change of shape is (sources/test_drift.py), cross-checks of two sources (test_crosschecks.py).
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.orchestration.checks.sources import BODIES, ENDPOINTS, FRESH, SHAPE
from defiyield_assets.orchestration.freshness import AGES, newest_expected
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import (
    FIRST,
    Installation,
    Loop,
    day_after,
    failed_steps,
    failing,
    materialised,
    meddle,
    rewriting,
)

NEXT = day_after(FIRST)


def evaluations(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    """Evaluations of the check of that name, by asset."""
    found = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return {item.asset_key.to_user_string(): item for item in found if item.check_name == name}


@pytest.fixture
def after_first(first_day: Loop, tmp_path: Path) -> Installation:
    """A state on which the first day has run."""
    return first_day.installation.copy_to(tmp_path / "state")


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (market_stamp(FIRST), FIRST),
        (datetime(2025, 6, 4, 0, 59, tzinfo=UTC), FIRST),
        (datetime(2025, 6, 4, 1, 0, tzinfo=UTC), FIRST),
        (datetime(2025, 6, 5, 0, 30, tzinfo=UTC), FIRST),
        (datetime(2025, 6, 5, 1, 0, tzinfo=UTC), NEXT),
        (datetime(2026, 1, 1, 12, 0, tzinfo=UTC), date(2025, 12, 31)),
        (datetime(2020, 1, 1, tzinfo=UTC), FIRST),
    ],
)
def test_the_newest_day_that_should_be_there(present: datetime, expected: date) -> None:
    """The run's own day, or yesterday once its hour of grace is over."""
    assert newest_expected(DayRange.of(FIRST), present) == expected


def test_every_source_is_fresh_on_a_good_day(first_day: Loop) -> None:
    found = evaluations(first_day.results[0], FRESH)
    assert set(found) == set(AGES)
    assert [asset for asset, item in found.items() if not item.passed] == []


def test_a_source_that_told_nothing_of_the_day_is_stale(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, failing("pro-api.coinmarketcap.com", 500, b"down"))
    result = after_first.run(NEXT, ["policy_snapshot", "instruments", "ohlcv_coinmarketcap", "closes_defillama"])
    found = evaluations(result, FRESH)
    assert found["closes_defillama"].passed
    stale = found["ohlcv_coinmarketcap"]
    assert (stale.passed, stale.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"newest observation {FIRST}, expected {NEXT}" in str(stale.description)


def test_a_backfill_of_an_old_day_does_not_make_a_dead_source_green(
    first_day: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old day is whole, but the source told nothing of the days since: judged by the market's present."""
    installation = first_day.installation.copy_to(tmp_path / "state")
    later = market_stamp(FIRST) + timedelta(days=9)
    with monkeypatch.context() as patch:
        patch.setattr("defiyield_assets.orchestration.checks.sources.MarketResource.stamp", lambda *_: later)
        patch.setattr(MarketResource, "ask", ask_in_its_time(MarketResource.ask))
        result = installation.run(FIRST, ["policy_snapshot", "instruments", "closes_defillama"])
    stale = evaluations(result, FRESH)["closes_defillama"]
    assert not stale.passed
    assert stale.metadata["newest_of_the_partition"].value == str(FIRST)
    assert stale.metadata["expected"].value == str(day_after(FIRST, 8))


def test_a_backfill_of_an_old_day_does_not_make_a_living_source_red(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = ["policy_snapshot", "instruments", "closes_defillama"]
    assert after_first.run(NEXT, assets).success
    monkeypatch.setattr(MarketResource, "stamp", lambda *_: market_stamp(NEXT) + timedelta(hours=1))
    found = evaluations(after_first.run(FIRST, assets), FRESH)["closes_defillama"]
    assert found.passed
    assert found.metadata["newest"].value == str(NEXT)


def ask_in_its_time(ask: Any) -> Any:
    """The market's questions are put at the time of the partition, whatever the clock of the checks says."""

    def wrapped(market: MarketResource, engine: Any, day: date, question: Any, calls: Any = None) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MarketResource, "stamp", lambda _market, partition: market_stamp(partition))
            return ask(market, engine, day, question, calls)

    return wrapped


def test_a_source_without_a_key_is_excused_and_named(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarketResource, "has_key", lambda _market, vendor: vendor != "coinmarketcap")
    result = after_first.run(NEXT, ["policy_snapshot", "instruments", "ohlcv_coinmarketcap"])
    found = evaluations(result, FRESH)["ohlcv_coinmarketcap"]
    assert found.passed
    assert "DEFIYIELD_COINMARKETCAP_API_KEY" in str(found.description)


def test_every_source_asset_has_a_freshness_policy() -> None:
    graph = build_defs().resolve_asset_graph()
    for asset in AGES:
        node = graph.get(dg.AssetKey(asset))
        assert node.freshness_policy is not None, asset


# --- shapes ---------------------------------------------------------------------------------------------------------
def without(document: Any, name: str) -> Any:
    """The same document, lacking a field everywhere."""
    if isinstance(document, list):
        return [without(item, name) for item in document]
    if isinstance(document, dict):
        return {key: without(value, name) for key, value in document.items() if key != name}
    return document


def test_every_answer_of_a_good_day_has_the_declared_shape(first_day: Loop) -> None:
    found = evaluations(first_day.results[0], SHAPE)
    assert set(found) == set(ENDPOINTS)
    assert {asset: item.description for asset, item in found.items() if not item.passed} == {}
    assert all(item.blocking for item in found.values())
    answers = {asset: item.metadata["answers"].value for asset, item in found.items()}
    assert answers["pools"] == 2
    assert answers["pool_histories"] == BODIES, "a sample"
    assert [asset for asset, count in answers.items() if count == 0] == []


def test_a_new_field_warns_and_stops_nothing(after_first: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_news(document: Any) -> Any:
        for row in document["data"]:
            row["apyBorrow"] = 1.0
        return document

    meddle(monkeypatch, rewriting("/pools", with_news))
    result = after_first.run(NEXT, ["policy_snapshot", "pool_aliases", "pools", "token_registry"])
    found = evaluations(result, SHAPE)["pools"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["defillama_yields /pools"].value == "new: data[].apyBorrow"
    assert "token_registry" in materialised(result)


def test_a_used_field_that_is_gone_stops_what_stands_on_it(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, rewriting("/v2/cryptocurrency/ohlcv", lambda document: without(document, "market_cap")))
    names = ["policy_snapshot", "instruments", "ohlcv_coinmarketcap", "closes_defillama"]
    result = after_first.run(NEXT, [*names, "daily_bars"], raise_on_error=False)
    found = evaluations(result, SHAPE)["ohlcv_coinmarketcap"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "data{}.quotes[].quote.USD.market_cap (gone)" in str(found.description)
    assert materialised(result) == set(names)
    assert failed_steps(result) == {"ohlcv_coinmarketcap_is_sound"}


def test_where_the_parser_misses_a_field_first_its_failure_names_field_and_endpoint(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    meddle(monkeypatch, rewriting("/pools", lambda document: without(document, "tvlUsd")))
    result = after_first.run(NEXT, ["policy_snapshot", "pool_aliases", "pools"], raise_on_error=False)
    assert failed_steps(result) == {"pools"}
    failure = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert failure.user_failure_data is not None
    facts = {name: value.value for name, value in failure.user_failure_data.metadata.items()}
    assert (facts["vendor"], facts["endpoint"], facts["error_class"]) == (
        "defillama_yields",
        "/pools",
        "VendorMalformed",
    )
    row = after_first.rows(schema.asset_outcomes, NEXT).set_index("asset").loc["pools"]
    assert "/pools" in row["reason"]
    assert "'tvlUsd'" in row["reason"]
