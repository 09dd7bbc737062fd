"""Vendor tables of prices when a day runs again: what was told better before stays."""

from pathlib import Path

from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.price_questions import keep
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Loop


def test_a_full_bar_is_never_replaced_by_a_poorer_one_or_by_none(first_day: Loop, tmp_path: Path) -> None:
    installation, table = first_day.installation.copy_to(tmp_path / "state"), schema.ohlcv_coingecko
    full, days = installation.rows(table, FIRST), DayRange.of(FIRST)
    asked = list(full["instrument_id"])
    assert len(full) > 1
    assert full["open"].notna().all()
    for poorer in (full.assign(open=float("nan"), high=float("nan"), low=float("nan")), full.iloc[:0]):
        keep(installation.warehouse, table, poorer, days, asked)
        assert installation.rows(table, FIRST).equals(full)
    corrected = full.assign(volume_usd=7.0)
    keep(installation.warehouse, table, corrected, days, asked)
    assert installation.rows(table, FIRST).equals(corrected), "of two full bars the new one counts"
    keep(installation.warehouse, table, full.iloc[:0], days, asked[1:])
    assert list(installation.rows(table, FIRST)["instrument_id"]) == asked, "what is not asked for any more stays"
