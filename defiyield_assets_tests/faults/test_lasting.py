"""Faults that stay, over a real socket: a typed error tells which request failed, only what rests on it is hit, and
after the fault the tables are those of an undisturbed run.

Not here: faults that pass (test_healing.py), one vendor failing inside a closed loop (test_vendors.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.outcomes import STAYING
from defiyield_assets.simulator.faults import FaultKind
from defiyield_assets.sources.vendors import SERVED_KEY
from defiyield_assets.store import schema
from defiyield_assets_tests.faults.endpoints import (
    ENDPOINTS,
    STATUSES,
    UNTOLD,
    Endpoint,
    Undisturbed,
    downstream,
    undisturbed_day,
)
from defiyield_assets_tests.installations import FIRST, Installation, failed_steps, materialised
from defiyield_assets_tests.served_market import ADDITIONS, SECRETS, contents, differing, hurried

BLASTS = ("pools", "chart", "coins_chart", "cmc_ohlcv", "pendle", "gas_tracker")
"""Endpoints whose loss is followed through the whole ingest; other vendors' in test_vendors.py."""
OTHER_TABLES = {
    "account_transactions": ("account_cursors",),
    "pool_histories": ("history_revisions",),
}
"""Step -> tables that it writes beside its own."""
UNPRICED = {"coins_chart": "daily_balances"}
"""Endpoint -> the step that fails although something stands in for the endpoint's asset: a rebasing token is held that
nobody else prices. Its units are booked all the same; what it is worth is never assumed.
"""
STORED_IN_PARTS = {"pool_histories", "lending_histories"}
"""Steps that keep whole series as they come: what was stored before they failed is right, and not asked again."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """The day without faults."""
    with undisturbed_day(tmp_path_factory.mktemp("lasting")) as day:
        yield day


@dataclass(frozen=True)
class OftenRun(Installation):
    """An installation whose definitions are built once for its many runs; what they name is the same in all of them."""

    @cached_property
    def definitions(self) -> dg.Definitions:
        """All definitions over this state."""
        return Installation.definitions.fget(self)  # type: ignore[attr-defined]


def forget(installation: Installation, asset: str) -> None:
    """As if the asset had not been made yet, and no vendor been asked."""
    tables = [*ADDITIONS, asset, *OTHER_TABLES.get(asset, ())]
    with installation.engine.begin() as connection:
        for name in sorted(tables, reverse=True):  # requests before the bodies that they name
            connection.execute(sa.delete(schema.metadata.tables[name]))
        outcomes = schema.asset_outcomes
        connection.execute(sa.delete(outcomes).where(outcomes.c.asset == asset))


@pytest.fixture(scope="module")
def states(undisturbed: Undisturbed) -> dict[str, Installation]:
    """Asset -> a copy of the undisturbed day for its tests; filled as tests ask."""
    return {}


def state_before(asset: str, day: Undisturbed, states: dict[str, Installation]) -> Installation:
    """A state in which all but this asset is made."""
    if asset not in states:
        copy = day.installation.copy_to(day.installation.folder.parent / f"before-{asset}")
        states[asset] = OftenRun(copy.folder, copy.market)
    forget(states[asset], asset)
    return states[asset]


def run_under(day: Undisturbed, installation: Installation, point: Endpoint, kind: FaultKind) -> Any:
    """The asset that asks the endpoint while every request to it fails so."""
    day.market.faults(point.rule(kind, seconds=0.0 if kind is FaultKind.THROTTLED else None))
    is_waiting = kind in (FaultKind.HANG, FaultKind.SLOW)
    try:
        with hurried(read_seconds=0.4 if is_waiting else 20.0, attempts=2):
            return installation.run(FIRST, [point.asset], raise_on_error=False)
    finally:
        day.market.faults()


def facts_of(result: Any, asset: str) -> dict[str, Any]:
    """What Dagster shows beside the asset: metadata of its failure, or of its degraded materialisation."""
    found: dict[str, Any] = {}
    for event in result.all_events:
        if event.is_step_failure and event.step_key == asset:
            user = event.step_failure_data.user_failure_data
            found = dict(user.metadata) if user is not None else {}
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            found = dict(event.materialization.metadata)
    return {name: value.value for name, value in found.items() if hasattr(value, "value")}


def step_of(installation: Installation, asset: str) -> str:
    """The step that makes the asset, as Dagster knows it: what became of it is told once for all its tables."""
    return str(installation.definitions.resolve_assets_def(asset).op.name)


def all_words(result: Any) -> str:
    """Everything that the run's events say, errors with their causes included."""
    said = []
    for event in result.all_events:
        said.append(str(event))
        error = event.step_failure_data.error if event.is_step_failure else None
        while error is not None:
            said.append(error.to_string())
            error = error.cause
    return "\n".join(said)


def is_first_of_its_class(point: Endpoint, kind: FaultKind) -> bool:
    """Whether no fault before it ends the asset in the same way: all of them leave the same state to heal."""
    return kind is next(other for other in FaultKind if point.error_class(other) == point.error_class(kind))


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        pytest.param(
            point,
            kind,
            id=f"{point.name}-{kind}",
            marks=pytest.mark.slow if kind is FaultKind.SERVER_ERROR else pytest.mark.nightly,
        )
        for point in ENDPOINTS
        for kind in FaultKind
    ],
)
def test_a_fault_that_stays_is_told_and_leaves_nothing_behind(
    undisturbed: Undisturbed, states: dict[str, Installation], point: Endpoint, kind: FaultKind
) -> None:
    installation = state_before(point.asset, undisturbed, states)
    own = [point.asset, *OTHER_TABLES.get(point.asset, ()), "asset_outcomes"]
    result = run_under(undisturbed, installation, point, kind)
    wanted = point.error_class(kind)
    outcomes = installation.rows(schema.asset_outcomes)
    told = outcomes[outcomes["asset"] == point.asset]
    if wanted is None:
        assert result.success
        if kind in UNTOLD:
            return
        assert differing(contents(installation, own), {name: undisturbed.contents[name] for name in own}) == []
        return
    assert told["error_class"].tolist() == [wanted], told.to_dict("records")
    assert told["status"].tolist() == [{"fails": "failed", "degrades": "degraded"}[point.effect]]
    failed = failed_steps(result) & set(undisturbed.assets)  # a check of drift may block what comes next
    assert failed == ({point.asset} if point.effect == "fails" else set())
    facts = facts_of(result, point.asset)
    if point.is_request_told:
        assert facts["error_class"] == wanted
        assert point.holds(facts["vendor"], facts["endpoint"]), facts
        assert kind not in STATUSES or facts["http_status"] == STATUSES[kind]
    if point.effect == "fails" and point.asset not in STORED_IN_PARTS:
        assert installation.rows(schema.metadata.tables[point.asset]).empty, "nothing half-written"
    kept = all_words(result) + installation.rows(schema.raw_fetches).to_csv() + outcomes.to_csv()
    assert [secret for secret in (*SECRETS.values(), SERVED_KEY) if secret in kept] == []

    if not is_first_of_its_class(point, kind):
        return
    assert installation.run(FIRST, [point.asset]).success
    healed = contents(installation, own)
    assert differing(healed, {name: undisturbed.contents[name] for name in own}) == [], "as if nothing had happened"


@pytest.mark.nightly
@pytest.mark.parametrize("point", [point for point in ENDPOINTS if point.name in BLASTS], ids=lambda point: point.name)
def test_a_dead_endpoint_hits_only_what_rests_on_it(undisturbed: Undisturbed, point: Endpoint, tmp_path: Path) -> None:
    installation = Installation(tmp_path / "state", "live")
    installation.folder.mkdir()
    undisturbed.market.faults(point.rule(FaultKind.SERVER_ERROR))
    with hurried(read_seconds=20.0, attempts=2):
        result = installation.run(FIRST, undisturbed.assets, raise_on_error=False)
    undisturbed.market.faults()
    dependants = downstream(installation, point.asset) & set(undisturbed.assets)
    made = contents(installation)
    if point.effect == "fails":
        assert failed_steps(result) == {point.asset}
        assert materialised(result) == set(undisturbed.assets) - dependants, "what does not need it goes on"
    else:
        outcomes = installation.rows(schema.asset_outcomes).set_index("asset")
        wanted, unpriced = point.error_class(FaultKind.SERVER_ERROR), UNPRICED.get(point.name)
        assert failed_steps(result) == ({unpriced} if unpriced else set())
        lost = downstream(installation, unpriced) & set(undisturbed.assets) if unpriced else set()
        assert materialised(result) == set(undisturbed.assets) - lost
        assert unpriced is None or "no price is ever assumed" in outcomes.loc[unpriced, "reason"]
        assert outcomes.loc[point.asset, "error_class"] == wanted
        resting = {step_of(installation, asset) for asset in dependants - lost} - {point.asset}
        for step in resting if wanted not in STAYING else ():
            assert point.asset in outcomes.loc[step, "reason"], f"{step} must say that it rests on {point.asset}"
    others = set(undisturbed.assets) - dependants - {"migrations"}
    assert {name for name in others if made[name] != undisturbed.contents[name]} == set()

    again = sorted(dependants)
    assert installation.run(FIRST, again).success
    assert differing(contents(installation), undisturbed.contents) == [], "healed, as if nothing had happened"
