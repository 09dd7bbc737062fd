"""Positions through Dagster: with a node, without one and with one that fails they are the chain's, to the unit.

Not here: the rules (domain/ledger/test_positions.py, test_share_rates.py), what the node is asked (sources/).
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.outcomes import NO_CROSS_CHECK
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.orchestration.verification import position_violations, rate_jumps
from defiyield_assets.simulator.blocks import block_at
from defiyield_assets.store import schema, writes
from defiyield_assets.store.engine import write_transaction
from defiyield_assets_tests.installations import FIRST, Installation, Loop, day_after, failing, instead_of, meddle

pytestmark = pytest.mark.slow

NODE = "ethereum-rpc.simulated"
STEPS = ["share_rates", "pool_positions"]
AMOUNTS = ["chain_id", "wallet", "pool_id", "token_address", "share_token", "shares", "underlying_amount", "value_usd"]


@pytest.fixture(scope="module")
def loop(closed_loop: Loop) -> Loop:
    """Five days whose node answered."""
    return closed_loop


@pytest.fixture
def own(loop: Loop, tmp_path: Path) -> Installation:
    """A copy that a test may change."""
    return loop.installation.copy_to(tmp_path / "state")


@pytest.fixture
def without_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation that has no node."""
    asked = MarketResource.has_key
    monkeypatch.setattr(MarketResource, "has_key", lambda m, vendor: vendor != "ethereum_node" and asked(m, vendor))


def forget_positions(installation: Installation) -> None:
    """As if neither rates nor positions of any day had been made."""
    with write_transaction(installation.engine, "pool_positions") as connection:
        for table in (schema.share_rates, schema.pool_positions):
            connection.execute(sa.delete(table))


def on_chain(installation: Installation, day: date) -> dict[tuple[str, str, str], int]:
    """Positions as the simulated chain itself knows them."""
    return {at: amount for at, amount in installation.simulation.chain.positions(day).items() if amount}


def held(installation: Installation, day: date) -> dict[tuple[str, str, str], int]:
    rows = installation.rows(schema.pool_positions, day)
    keys = zip(rows["wallet"], rows["pool_id"], rows["token_address"], strict=True)
    return {at: amount for at, amount in zip(keys, rows["underlying_amount"], strict=True) if amount}


def amounts(installation: Installation, day: date) -> pd.DataFrame:
    return installation.rows(schema.pool_positions, day)[AMOUNTS]


def test_with_a_node_positions_are_what_it_told_and_what_the_chain_holds(loop: Loop) -> None:
    for day in loop.days:
        assert held(loop.installation, day) == on_chain(loop.installation, day)
        told = loop.installation.rows(schema.share_rates, day)
        assert len(told)
        assert set(told["block_number"]) == {block_at(end_of(day)) - 1}, "never later than the day's end"
        positions = loop.installation.rows(schema.pool_positions, day)
        by_chain = positions[positions["rate_source"] == "chain"]
        assert (by_chain["rate_age_days"] == 0).all()
        key = ["wallet", "pool_id", "token_address"]
        assert told.set_index(key)[["shares", "assets"]].to_dict("index") == by_chain.rename(
            columns={"underlying_amount": "assets"}
        ).set_index(key)[["shares", "assets"]].to_dict("index")
        assert set(positions["rate_source"]) <= {"chain", "rebasing", "mint_ratio", "apy_growth"}
    assert "rebasing" in set(loop.installation.rows(schema.pool_positions)["rate_source"])


@pytest.mark.usefixtures("without_node")
def test_without_a_node_the_replay_arrives_at_the_same_units(own: Installation, loop: Loop) -> None:
    forget_positions(own)
    for day in loop.days:
        assert own.run(day, STEPS).success
        pd.testing.assert_frame_equal(amounts(own, day), amounts(loop.installation, day))
        assert held(own, day) == on_chain(own, day)
    assert own.rows(schema.share_rates).empty
    assert "chain" not in set(own.rows(schema.pool_positions)["rate_source"])
    assert own.rows(schema.asset_outcomes).empty, "a node is a choice: nothing is degraded without one"


def test_a_day_from_scratch_is_the_day_from_the_one_before(own: Installation, loop: Loop) -> None:
    last = loop.days[-1]
    before = own.fingerprint(schema.pool_positions, last)
    with write_transaction(own.engine, "pool_positions") as connection:
        table = schema.pool_positions
        connection.execute(sa.delete(table).where(table.c.date == day_after(last, -1)))
    assert own.run(last, ["pool_positions"]).success
    assert own.fingerprint(schema.pool_positions, last) == before


@pytest.mark.parametrize("status", [pytest.param(500, marks=pytest.mark.nightly), 404])
def test_a_node_that_fails_is_told_of_and_degrades_nothing(
    own: Installation, loop: Loop, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Its rates of other days stay, and the day's positions grow as without a node."""
    last = loop.days[-1]
    meddle(monkeypatch, failing(NODE, status, b"down", path="/eth_call"))
    writes.replace_slice(own.engine, schema.share_rates, own.rows(schema.share_rates, last).head(0), DayRange.of(last))
    with write_transaction(own.engine, "raw_fetches") as connection:
        connection.execute(sa.delete(schema.raw_fetches).where(schema.raw_fetches.c.endpoint == "/eth_call"))
    assert own.run(last, STEPS).success
    outcomes = own.rows(schema.asset_outcomes, last)
    assert outcomes["asset"].tolist() == ["share_rates"]
    assert outcomes["error_class"].tolist() == [NO_CROSS_CHECK]
    assert "positions grow at the observed APYs instead" in outcomes["reason"].iloc[0]
    assert held(own, last) == on_chain(own, last)
    positions = own.rows(schema.pool_positions, last)
    assert set(positions.loc[positions["rate_source"] == "chain", "rate_age_days"]) == {1}


def answering(selector: str, change: Any) -> Any:
    """A meddler that changes the word that a call returns."""

    def answer(_day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.host != NODE or selector.encode() not in request.content:
            return response
        body = json.loads(response.read())
        if "result" in body:
            body["result"] = f"0x{change(int(body['result'], 16)):064x}"
        return instead_of(response, 200, json.dumps(body).encode())

    return answer


def ask_again(installation: Installation, day: date, steps: list[str]) -> Any:
    """Run the steps with a node that is really asked, not the archive."""
    with write_transaction(installation.engine, "raw_fetches") as connection:
        connection.execute(sa.delete(schema.raw_fetches).where(schema.raw_fetches.c.endpoint == "/eth_call"))
    return installation.run(day, steps)


def test_a_rate_that_jumps_is_a_warning_and_counts(
    own: Installation, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = loop.days[-1]
    assert rate_jumps(own.warehouse, last) == []
    meddle(monkeypatch, answering("0x07a2d13a", lambda assets: assets * 97 // 100))
    result = ask_again(own, last, STEPS)
    told = own.rows(schema.share_rates, last)
    jumps = rate_jumps(own.warehouse, last)
    assert len(jumps) == len(told)
    assert all("by chain" in item.detail for item in jumps)
    (check,) = [
        item for item in result.get_asset_check_evaluations() if item.check_name == "rates_agree_with_the_chain"
    ]
    assert (check.passed, check.severity.value) == (False, "WARN")
    assert check.metadata["jumps"].value == len(jumps)
    assert sum(held(own, last).values()) < sum(held(loop.installation, last).values())


def test_shares_beside_the_chain_break_the_check(own: Installation, loop: Loop) -> None:
    last = loop.days[-1]
    assert position_violations(own.warehouse, last) == ([], [])
    rows = own.rows(schema.pool_positions, last)
    one = rows["pool_id"].iloc[0]
    writes.replace_slice(own.engine, schema.pool_positions, rows[rows["pool_id"] != one], DayRange.of(last))
    hard, doubts = position_violations(own.warehouse, last)
    assert [item.name for item in hard] == ["position_differs"]
    assert one in hard[0].subject
    assert doubts == []


def test_later_days_change_no_position(own: Installation, loop: Loop) -> None:
    """Look-ahead: with all later chain rates, APYs and postings there, an earlier day made again is the same."""
    before = {table.name: own.fingerprint(table, FIRST) for table in (schema.share_rates, schema.pool_positions)}
    assert own.run(FIRST, STEPS).success
    assert {
        table.name: own.fingerprint(table, FIRST) for table in (schema.share_rates, schema.pool_positions)
    } == before
