"""Faults that pass: whatever hits the first requests to every endpoint over a real socket, the tables are the same.

Not here: faults that stay (test_lasting.py), crashes of our own side (test_crashes.py).
"""

from collections.abc import Iterator

import pytest

from defiyield_assets.simulator.faults import FaultKind, FaultRule
from defiyield_assets.sources.vendors import SERVED_KEY
from defiyield_assets.store import schema
from defiyield_assets_tests.faults.endpoints import ENDPOINTS, Undisturbed, undisturbed_day
from defiyield_assets_tests.installations import FIRST, Installation, failed_steps
from defiyield_assets_tests.served_market import SECRETS, contents, differing, hurried, live_installation

pytestmark = pytest.mark.slow

STORMS = (
    (FaultKind.THROTTLED, FaultKind.RESET, FaultKind.TRUNCATED, FaultKind.EMPTY),
    (FaultKind.SERVER_ERROR, FaultKind.WRONG_CONTENT_TYPE, FaultKind.MALFORMED_JSON, FaultKind.CLOCK_SKEW),
    (FaultKind.UNAVAILABLE, FaultKind.ERROR_IN_200, FaultKind.MISSING_FIELD, FaultKind.RETYPED_FIELD),
    (FaultKind.HANG, FaultKind.SLOW),
)
"""Each request to each endpoint meets the faults of one storm one after the other, and then the right answer."""
HARMLESS = (FaultKind.DUPLICATE_ROWS, FaultKind.NEW_FIELD)
"""Answers that are as good as sound ones, however often they come."""
FAST_STORM = STORMS[0]
Storms = dict[tuple[FaultKind, ...], tuple[Installation, set[tuple[FaultKind, str]]]]
"""Storm -> the state after it, and (fault, endpoint) that it has hit."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """The day without faults."""
    with undisturbed_day(tmp_path_factory.mktemp("healing")) as day:
        yield day


def rules_of(storm: tuple[FaultKind, ...]) -> list[FaultRule]:
    """The first request to every endpoint meets the first fault, the second the second, and so on."""
    pauses = {FaultKind.THROTTLED: 0.0}
    return [FaultRule(kind=kind, after=number, first=1, seconds=pauses.get(kind)) for number, kind in enumerate(storm)]


def ran_under(day: Undisturbed, rules: list[FaultRule], name: str) -> Installation:
    """The day's ingest on a new state while the vendors fail so; every asset must be made."""
    installation = live_installation(day.installation.folder.parent / name)
    is_waiting = any(rule.kind in (FaultKind.HANG, FaultKind.SLOW) for rule in rules)
    day.market.faults(*rules)
    with hurried(read_seconds=0.6 if is_waiting else 20.0):
        result = installation.run(FIRST, day.assets, raise_on_error=False)
    assert failed_steps(result) == set()
    return installation


@pytest.fixture(scope="module")
def storms(undisturbed: Undisturbed) -> Storms:
    """Storm -> the state after it and (fault, endpoint) that it has hit; filled as tests ask."""
    return {}


def after(
    storm: tuple[FaultKind, ...],
    day: Undisturbed,
    storms: Storms,
) -> tuple[Installation, set[tuple[FaultKind, str]]]:
    """Run the storm once."""
    if storm not in storms:
        installation = ran_under(day, rules_of(storm), "-".join(storm))
        struck = day.market.server.faults.struck
        hit = {(kind, point.name) for kind in storm for point in ENDPOINTS if point.was_struck(struck, kind)}
        storms[storm] = installation, hit
    return storms[storm]


@pytest.mark.parametrize(
    ("storm", "kind"),
    [
        pytest.param(storm, kind, id=str(kind), marks=[] if storm == FAST_STORM else [pytest.mark.nightly])
        for storm in STORMS
        for kind in storm
    ],
)
def test_a_fault_that_passes_leaves_no_trace_in_any_table(
    undisturbed: Undisturbed,
    storms: Storms,
    storm: tuple[FaultKind, ...],
    kind: FaultKind,
) -> None:
    installation, hit = after(storm, undisturbed, storms)
    earlier = storm[: storm.index(kind)]
    waiting = {point.name for point in ENDPOINTS if all(point.error_class(other) for other in earlier)}
    assert {name for struck, name in hit if struck == kind} == waiting, "all that had no good answer yet were hit"
    assert differing(contents(installation), undisturbed.contents) == []


@pytest.mark.nightly
@pytest.mark.parametrize("kind", HARMLESS, ids=str)
def test_an_answer_that_only_looks_odd_changes_nothing(undisturbed: Undisturbed, kind: FaultKind) -> None:
    installation = ran_under(undisturbed, [FaultRule(kind=kind)], f"always-{kind}")
    assert differing(contents(installation), undisturbed.contents) == []
    assert set(installation.rows(schema.raw_fetches)["attempts"]) == {1}, "nothing is asked twice"


@pytest.mark.nightly
def test_one_answer_in_five_fails_in_some_way_and_the_day_is_whole(undisturbed: Undisturbed) -> None:
    kinds = [FaultKind.THROTTLED, FaultKind.SERVER_ERROR, FaultKind.RESET, FaultKind.TRUNCATED, FaultKind.EMPTY]
    rules = [FaultRule(kind=kind, rate=0.05, seed=11, seconds=0.0) for kind in kinds]
    installation = ran_under(undisturbed, rules, "one-in-five")
    assert differing(contents(installation), undisturbed.contents) == []
    assert installation.rows(schema.raw_fetches)["attempts"].max() > 1


def test_every_endpoint_that_the_ingest_asks_is_in_the_suite(undisturbed: Undisturbed) -> None:
    fetches = undisturbed.installation.rows(schema.raw_fetches)
    asked = set(zip(fetches["vendor"], fetches["endpoint"], strict=True))

    def listed(point: tuple[str, str]) -> bool:
        return any(endpoint.holds(*point) for endpoint in ENDPOINTS)

    assert {point for point in asked if not listed(point)} == set()
    assert {endpoint.name for endpoint in ENDPOINTS if not any(endpoint.holds(*point) for point in asked)} == set()


def test_no_key_is_left_in_the_archive(
    undisturbed: Undisturbed,
    storms: Storms,
) -> None:
    installation, _ = after(FAST_STORM, undisturbed, storms)
    for state in (undisturbed.installation, installation):
        kept = state.rows(schema.raw_fetches).to_csv()
        assert [secret for secret in (*SECRETS.values(), SERVED_KEY) if secret in kept] == []
