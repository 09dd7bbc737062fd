"""Counters of budgets on both databases: leases, give-backs, holds, and many processes that never exceed a limit."""

import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.domain.budgets import Account, Budgets, Limit
from defiyield_assets.errors import VendorPlanLimit
from defiyield_assets.store import reads, schema
from defiyield_assets.store.budgets import WarehouseBudgets
from defiyield_assets_tests.store.reserving import NOW, reserve_until_refused

MONTHLY = Account("coinmarketcap", "k", (Limit("minute", 30), Limit("month", 20, "credits")), 0.5)
SECOND = timedelta(seconds=1)


def _counters(engine: sa.Engine) -> dict[tuple[str, datetime], int]:
    rows = reads.read_all(engine, schema.vendor_usage)
    return {
        (period, start.to_pydatetime()): calls
        for period, start, calls in zip(rows["period"], rows["starts_at"], rows["calls"], strict=True)
    }


def test_a_lease_reserves_instants_and_counts_them(warehouse: sa.Engine) -> None:
    budgets: Budgets = WarehouseBudgets(warehouse)
    assert budgets.lease(MONTHLY, 5, 3, NOW) == [NOW, NOW + SECOND / 2]
    assert budgets.lease(MONTHLY, 1, 3, NOW) == [NOW + SECOND], "the next one begins where the last one ended"
    minute = NOW.replace(second=0)
    assert _counters(warehouse) == {
        ("minute", minute): 3,
        ("day", datetime(2026, 3, 4, tzinfo=UTC)): 9,
        ("month", datetime(2026, 3, 1, tzinfo=UTC)): 9,
    }
    used = {stand.limit.period: stand.used for stand in budgets.standings(MONTHLY, NOW)}
    assert used == {"minute": 3, "month": 9}


def test_keys_and_vendors_have_counters_of_their_own(warehouse: sa.Engine) -> None:
    budgets = WarehouseBudgets(warehouse)
    budgets.lease(MONTHLY, 1, 20, NOW)
    for other in (replace(MONTHLY, key_id="other"), replace(MONTHLY, vendor="coingecko")):
        assert budgets.lease(other, 1, 20, NOW) == [NOW]
    with pytest.raises(VendorPlanLimit, match="0 of 20 credits a month are left"):
        budgets.lease(MONTHLY, 1, 1, NOW)


def test_a_refused_lease_reserves_nothing(warehouse: sa.Engine) -> None:
    budgets = WarehouseBudgets(warehouse)
    budgets.lease(MONTHLY, 1, 18, NOW)
    before = _counters(warehouse), reads.read_all(warehouse, schema.vendor_paces).to_dict()
    with pytest.raises(
        VendorPlanLimit, match=r"3 credits are needed and 2 of 20 .* room again at 2026-04-01 00:00 UTC"
    ):
        budgets.lease(MONTHLY, 1, 3, NOW)
    assert before == (_counters(warehouse), reads.read_all(warehouse, schema.vendor_paces).to_dict())


def test_a_budget_renews_with_its_period(warehouse: sa.Engine) -> None:
    budgets = WarehouseBudgets(warehouse)
    budgets.lease(MONTHLY, 1, 20, NOW)
    assert budgets.lease(MONTHLY, 1, 20, NOW + timedelta(days=28)) == [NOW + timedelta(days=28)]


def test_what_was_not_sent_is_given_back(warehouse: sa.Engine) -> None:
    budgets = WarehouseBudgets(warehouse)
    slots = budgets.lease(MONTHLY, 2, 3, NOW)
    budgets.give_back(MONTHLY, slots[1:], 3)
    assert set(_counters(warehouse).values()) == {1, 3}
    budgets.give_back(MONTHLY, slots * 3, 3)
    assert set(_counters(warehouse).values()) == {0}, "never below nothing"


def test_a_hold_keeps_everybody_waiting(warehouse: sa.Engine) -> None:
    WarehouseBudgets(warehouse).hold(MONTHLY, NOW + 30 * SECOND)
    WarehouseBudgets(warehouse).hold(MONTHLY, NOW + 10 * SECOND)
    assert WarehouseBudgets(warehouse).lease(MONTHLY, 1, 1, NOW) == [NOW + 30 * SECOND]


def test_a_reservation_of_a_clock_that_was_set_back_is_forgotten(warehouse: sa.Engine) -> None:
    budgets = WarehouseBudgets(warehouse)
    budgets.lease(MONTHLY, 1, 1, NOW + timedelta(days=3))
    assert budgets.lease(MONTHLY, 1, 1, NOW) == [NOW]


def test_old_minutes_are_deleted_and_days_and_months_stay(warehouse: sa.Engine) -> None:
    budgets = WarehouseBudgets(warehouse)
    for hours in range(0, 60, 3):
        budgets.lease(replace(MONTHLY, limits=()), 1, 1, NOW + timedelta(hours=hours))
    kept = [period for period, _ in _counters(warehouse)]
    assert (kept.count("minute"), kept.count("day"), kept.count("month")) == (1, 3, 1)


def _holds_every_limit(reports: list[list[str]]) -> None:
    assert sum(map(bool, reports)) > 1, "they really met"
    slots = sorted(datetime.fromisoformat(text) for report in reports for text in report)
    assert len(slots) == len(set(slots)) == 300, "the whole budget of the day, and not one call more"
    gaps = [later - sooner for sooner, later in pairwise(slots)]
    assert min(gaps) >= timedelta(seconds=0.005), "nobody shares an instant, whoever reserved it"


def test_many_processes_never_exceed_a_limit(sqlite_warehouse: sa.Engine, tmp_path: Path) -> None:
    url = sqlite_warehouse.url.render_as_string(hide_password=False)
    spawn = multiprocessing.get_context("spawn")
    files, start = [tmp_path / f"{n}.json" for n in range(3)], spawn.Barrier(3)
    processes = [
        spawn.Process(target=reserve_until_refused, args=(url, file, wanted, start))
        for file, wanted in zip(files, (1, 2, 3), strict=True)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    _holds_every_limit([json.loads(file.read_text(encoding="utf-8")) for file in files])
    assert {calls for (period, _), calls in _counters(sqlite_warehouse).items() if period == "day"} == {300}


@pytest.mark.postgres
def test_many_connections_never_exceed_a_limit(postgres_warehouse: sa.Engine, tmp_path: Path) -> None:
    url = postgres_warehouse.url.render_as_string(hide_password=False)
    files, start = [tmp_path / f"{n}.json" for n in range(4)], threading.Barrier(4)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(reserve_until_refused, [url] * 4, files, (1, 2, 3, 8), [start] * 4))
    _holds_every_limit([json.loads(file.read_text(encoding="utf-8")) for file in files])
