"""Later data is replaced by noise, in the warehouse and in the vendors' answers; the outputs of a day do not change.

Not here: what a market itself tells of the future (simulator/test_lookahead.py) or plain reruns (test_idempotency.py).
"""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.types import BaseUnits, ExactDecimal
from defiyield_assets_tests.installations import FIRST, Installation, Loop, day_after, instead_of, meddle
from defiyield_assets_tests.orchestration.small_lab import LAB
from defiyield_assets_tests.orchestration.test_idempotency import CONFIGURED, DERIVED, TOGETHER, changed
from defiyield_assets_tests.test_graph_snapshot import BESIDE_THE_DAY, OF_NEWS

pytestmark = pytest.mark.slow

NOW = FIRST
LATER = DayRange(day_after(NOW), date(2100, 1, 1))
SEED = 11


def dated_tables() -> list[sa.Table]:
    """Every table with a partition date that an asset makes; what went wrong is no input of anything."""
    return [table for table in schema.metadata.sorted_tables if table.info["day"] and table.name != "asset_outcomes"]


def noise(table: sa.Table, rows: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """The same keys with other facts, and a third of the rows gone."""
    changed_rows = rows.sample(frac=0.67, random_state=int(random.integers(1 << 31))) if len(rows) > 3 else rows.copy()
    for column in table.columns:
        values = changed_rows[column.name]
        factors = random.uniform(0.1, 0.9, len(values))
        if column.primary_key or column.info.get("isin"):
            continue
        if isinstance(column.type, sa.Float):
            changed_rows[column.name] = values * factors
        elif isinstance(column.type, ExactDecimal):
            shrunk = [
                None if pd.isna(value) else value * Decimal(str(round(factor, 6)))
                for value, factor in zip(values, factors, strict=True)
            ]
            changed_rows[column.name] = pd.Series(shrunk, index=values.index, dtype=object)
        elif isinstance(column.type, BaseUnits):
            tripled = [None if pd.isna(value) else int(value) * 3 + 1 for value in values]
            changed_rows[column.name] = pd.Series(tripled, index=values.index, dtype=object)
        elif isinstance(column.type, sa.Boolean):
            changed_rows[column.name] = ~values.astype(bool)
        elif column.name in ("policy_json", "underlying_addresses_json", "barred_tokens_json"):
            changed_rows[column.name] = "[]"
    return changed_rows.reset_index(drop=True)


def spoil_the_future(installation: Installation) -> set[str]:
    """Replace everything dated after NOW by noise; names of the tables where there was something to spoil.

    Splits and dividends restate the bars before them, and what is made of those, by design: they and what is known of
    their instruments stay as they are.
    """
    random, spoilt = np.random.default_rng(SEED), set()
    restated = installation.restated_since(NOW)
    for table in dated_tables():
        rows = reads.read_days(installation.engine, table, LATER)
        if len(rows):
            is_kept = rows["instrument_id"].isin(restated) if "instrument_id" in rows else rows.index < 0
            spoilt_rows = noise(table, rows[~is_kept].reset_index(drop=True), random)
            parts = [part for part in (rows[is_kept], spoilt_rows) if len(part)]
            writes.replace_slice(installation.engine, table, pd.concat(parts, ignore_index=True), LATER)
            spoilt.add(table.name)
    return spoilt


def rewrite_history_later(installation: Installation) -> int:
    """After the cutoff of NOW every known point gets another value, as when a vendor corrects its history."""
    known = reads.pool_history_revisions(installation.engine, DayRange(date(2015, 1, 1), NOW))
    newest = known.sort_values("revision").drop_duplicates(["pool_id", "date"], keep="last")
    later = newest.assign(
        revision=newest["revision"] + 1,
        apy=newest["apy"] * 7 + 0.01,
        tvl_usd=newest["tvl_usd"] / 9,
        seen_at=pd.Timestamp(cutoff(NOW) + timedelta(minutes=1)),
    )
    writes.upsert(installation.engine, schema.pool_histories, later.reset_index(drop=True))
    return len(later)


@pytest.fixture(scope="module")
def spoilt_state(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Five days, of which all that came after the first is noise now."""
    installation = closed_loop.installation.copy_to(tmp_path_factory.mktemp("spoilt") / "state")
    missed = {table.name for table in dated_tables()} - spoil_the_future(installation)
    may_be_empty = {"icebox", "macro_series", "resolved_underlyings", "history_revisions", "unexplained_transactions"}
    may_be_empty |= {"ohlcv_csv", "intraday_bars", "intraday_features", "market_events"}
    may_be_empty |= {"slack_messages", "slack_alerts"}  # what was posted: a simulated market posts nothing
    may_be_empty |= {table.name for table in LAB} | BESIDE_THE_DAY | OF_NEWS
    assert missed <= may_be_empty, "hardly anything later was there to be spoilt"
    assert rewrite_history_later(installation) > 1_000
    return installation


@pytest.fixture
def spoilt(spoilt_state: Installation, tmp_path: Path) -> Installation:
    """A copy of that state."""
    return spoilt_state.copy_to(tmp_path / "state")


def test_no_derived_table_of_a_day_depends_on_later_rows(spoilt: Installation, closed_loop: Loop) -> None:
    names = [*CONFIGURED, *(name for asset in DERIVED for name in TOGETHER.get(asset, (asset,)))]
    assert spoilt.run(NOW, names).success
    before, after = closed_loop.installation.fingerprints(NOW), spoilt.fingerprints(NOW)
    rewritten = {"pool_histories"}
    assert set(changed(before, after)) - rewritten == set()


def test_the_noise_would_be_seen(spoilt: Installation, closed_loop: Loop) -> None:
    """The same noise does change the day that it belongs to: the suite can fail."""
    after = day_after(NOW)
    spoilt.run(after, ["policy_snapshot", "gas_fees_daily", "gas_candidates", "gas_forecasts", "pool_metrics"])
    differing = changed(closed_loop.installation.fingerprints(after), spoilt.fingerprints(after))
    assert {"gas_forecasts", "pool_metrics"} <= set(differing)


def test_no_later_answer_in_the_archive_stands_for_the_days_own(
    closed_loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed days are answered by the archive, which by now holds later answers to the very same questions."""
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    names = ["gas_fees_hourly", "ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama", "observations"]
    names += ["share_rates", "ohlcv_alpha_vantage"]
    before = installation.fingerprints()
    meddle(monkeypatch, lambda _day, _request, response: instead_of(response, 401, b"who are you"))
    assert installation.run(NOW, [*names, "pendle_markets", "resolved_underlyings", "macro_series"]).success
    assert changed(before, installation.fingerprints()) == []


def scaled(document: Any) -> Any:
    """The same answer with all APYs and sizes doubled."""
    if isinstance(document, list):
        return [scaled(item) for item in document]
    if isinstance(document, dict):
        return {
            name: value * 2
            if name in ("apy", "apyBase", "apyReward", "tvlUsd") and isinstance(value, int | float)
            else scaled(value)
            for name, value in document.items()
        }
    return document


def test_a_vendor_that_rewrites_its_history_tomorrow_leaves_today_alone(
    first_day: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    before = installation.fingerprints(FIRST)

    def tomorrow_differs(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if day == FIRST or request.url.host != "yields.llama.fi":
            return response
        return instead_of(response, response.status_code, json.dumps(scaled(json.loads(response.read()))).encode())

    meddle(monkeypatch, tomorrow_differs)
    ingestion = ["policy_snapshot", "account_transactions", "chain_balances", "gas_fees_hourly", "instruments", "pools"]
    bars = ["pool_contracts", "pool_aliases", "ohlcv_coinmarketcap", "closes_defillama", "token_registry", "daily_bars"]
    bars += ["ohlcv_coingecko", "observations", "pendle_markets", "resolved_underlyings"]
    tomorrow = day_after(FIRST)
    installation.run(tomorrow, [*ingestion, *bars, "prefiltered_pools", "pool_histories"])
    assert len(installation.rows(schema.pools, tomorrow)) >= 2_000
    assert (installation.rows(schema.pool_histories)["revision"] > 0).any(), "held pools are asked for again"
    assert installation.run(FIRST).success
    assert set(changed(before, installation.fingerprints(FIRST))) <= {"pool_histories"}
