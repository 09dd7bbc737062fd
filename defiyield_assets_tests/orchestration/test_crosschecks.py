"""Cross-checks as asset checks: two sources that disagree are a warning with the offenders, and stop nothing.

Not here: the rules (domain/prices, domain/gas, domain/pools/test_crosschecks.py).
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from defiyield_assets.store import schema
from defiyield_assets.store.engine import write_transaction
from defiyield_assets_tests.installations import (
    FIRST,
    Installation,
    Loop,
    day_after,
    meddle,
    rewriting,
)

NEXT = day_after(FIRST)
CROSS_CHECKS = {
    "daily_bars": "price_sources_agree",
    "gas_fees_hourly": "gas_sources_agree",
    "pools": "supply_less_borrow_equals_tvl",
    "pool_quality": "series_are_alive",
}


@pytest.fixture
def after_first(first_day: Loop, tmp_path: Path) -> Installation:
    """A state on which the first day has run."""
    return first_day.installation.copy_to(tmp_path / "state")


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The cross-checks of a run, by name."""
    found = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    return {item.check_name: item for item in found if item.check_name in CROSS_CHECKS.values()}


def assert_warns(item: Any, *listed: str) -> None:
    """The check failed as a warning and names the offenders."""
    assert (item.passed, item.severity, item.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    for name in listed:
        assert name in str(item.metadata["listed"].records)


def test_on_a_good_day_the_sources_agree(first_day: Loop) -> None:
    found = evaluations(first_day.results[0])
    assert set(found) == set(CROSS_CHECKS.values())
    assert [name for name, item in found.items() if not item.passed] == []
    facts = {name: item.metadata for name, item in found.items()}
    assert facts["supply_less_borrow_equals_tvl"]["compared"].value > 100
    assert facts["price_sources_agree"]["pairs"].value >= 9
    assert facts["gas_sources_agree"]["hours"].value == 24
    assert facts["series_are_alive"]["followed"].value > 50


def test_a_price_that_another_vendor_contradicts_is_named(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dearer(document: Any) -> Any:
        for coin in document["data"].values():
            for bar in coin["quotes"]:
                quote = bar["quote"]["USD"]
                for name in ("open", "high", "low", "close"):
                    quote[name] *= 1.02
        return document

    meddle(monkeypatch, rewriting("/v2/cryptocurrency/ohlcv", dearer))
    names = ["policy_snapshot", "instruments", "ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama"]
    result = after_first.run(NEXT, [*names, "pools", "pool_aliases", "token_registry", "daily_bars"])
    assert result.success, "a doubt stops nothing"
    found = evaluations(result)["price_sources_agree"]
    assert_warns(found, "USDC", "coinmarketcap", "defillama_coins")
    assert found.metadata["apart"].value >= 9


def test_a_lending_pool_whose_legs_do_not_add_up_is_named(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lied: list[str] = []

    def without_borrow(rows: Any) -> Any:
        rows[0]["totalBorrowUsd"] = 0.0
        lied.append(rows[0]["pool"])
        return rows

    meddle(monkeypatch, rewriting("/lendBorrow", without_borrow))
    result = after_first.run(NEXT, ["policy_snapshot", "pool_aliases", "pools"])
    assert result.success
    found = evaluations(result)["supply_less_borrow_equals_tvl"]
    assert_warns(found, lied[0])
    assert found.metadata["apart"].value == 1


def test_many_series_that_stand_still_are_the_vendors_trouble(
    after_first: Installation,
) -> None:
    """From the warehouse alone: the last three days of a third of the followed pools are made the same."""
    table = schema.pool_histories
    followed = sorted(set(after_first.rows(schema.pool_quality, FIRST)["pool_id"]))
    frozen = followed[::3]
    with write_transaction(after_first.engine, table.name) as connection:
        days = [day_after(FIRST, -back) for back in range(4)]
        where = (table.c.pool_id.in_(frozen), table.c.date.in_(days))
        connection.execute(table.update().where(*where).values(apy=0.05, tvl_usd=1e6))
    result = after_first.run(FIRST, ["pool_quality"])
    found = evaluations(result)["series_are_alive"]
    assert_warns(found, "STUCK")
    assert found.metadata["dead"].value >= len(frozen)
