"""States that are kept: made once, handed out as copies with what was told of them, made again when anything changed.

Not here: the days themselves (test_end_to_end.py).
"""

from pathlib import Path

import pytest

from defiyield_assets.store import schema
from defiyield_assets_tests import kept_states
from defiyield_assets_tests.installations import FIRST, Installation, Loop, materialised
from defiyield_assets_tests.kept_states import TOLD, digest, kept, sources

ASSETS = ["migrations", "policy_snapshot"]


@pytest.fixture(scope="module")
def small_day(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """Two assets of a day, run once."""
    installation = Installation(tmp_path_factory.mktemp("small") / "state")
    return Loop(installation, [FIRST], [installation.run(FIRST, ASSETS)])


class Maker:
    """Stands for running days: lays the small day into the folder, and counts how often."""

    def __init__(self, day: Loop) -> None:
        self.day, self.times = day, 0

    def __call__(self, folder: Path) -> Loop:
        self.times += 1
        return Loop(self.day.installation.copy_to(folder), self.day.days, self.day.results)


@pytest.fixture
def make(small_day: Loop) -> Maker:
    """A maker that has made nothing yet."""
    return Maker(small_day)


def test_the_second_gets_a_copy_of_what_the_first_made(small_day: Loop, make: Maker, tmp_path: Path) -> None:
    states, wanted = tmp_path / "states", small_day.installation.fingerprints()
    for number in (1, 2):
        found = kept(states, "day", tmp_path / f"{number}", make)
        assert found.installation.folder == tmp_path / f"{number}"
        assert found.installation.fingerprints() == wanted
        assert len(found.installation.rows(schema.policy_snapshot, FIRST)) == 1
        assert list(found.days) == [FIRST]
        with found.installation.engine.begin() as connection:
            connection.execute(schema.policy_snapshot.delete())
    assert make.times == 1


def test_what_dagster_said_is_kept_to_the_last_event(small_day: Loop, make: Maker, tmp_path: Path) -> None:
    said = small_day.results[0]
    for number in (1, 2):  # told alike to who made it and to who found it
        (told,) = kept(tmp_path / "states", "day", tmp_path / f"{number}", make).results
        assert told.success
        assert told.all_events == tuple(said.all_events)
        assert materialised(told) == set(ASSETS)
        assert told.get_asset_materialization_events() == said.get_asset_materialization_events()
        assert told.get_asset_check_evaluations() == said.get_asset_check_evaluations()
        for node in ASSETS:
            assert told.asset_materializations_for_node(node) == said.asset_materializations_for_node(node) != []


def test_a_torn_state_is_made_again(make: Maker, tmp_path: Path) -> None:
    kept(tmp_path / "states", "day", tmp_path / "one", make)
    (tmp_path / "states" / digest() / "day" / TOLD).unlink()
    kept(tmp_path / "states", "day", tmp_path / "two", make)
    assert make.times == 2


def test_a_state_of_other_sources_is_made_again_and_the_old_one_forgotten(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = tmp_path / "states"
    kept(states, "day", tmp_path / "one", make)
    before = states / digest() / "day"
    monkeypatch.setattr(kept_states, "digest", lambda: "another")
    kept(states, "day", tmp_path / "two", make)
    assert make.times == 2
    assert not before.exists()
    assert (states / "another" / "day" / TOLD).exists()


def test_every_file_and_setting_that_makes_a_day_has_a_say(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {path.name for path in sources()}
    assert {"definitions.py", "policy.yaml", "report.html.j2", "env.py", "constraints.txt", "installations.py"} <= names
    before = digest.__wrapped__()
    assert before == digest.__wrapped__()
    for name, counts in (("DEFIYIELD_MARKET_SEED", True), ("DEFIYIELD_RECORDED_DATA", False), ("LANG", False)):
        with monkeypatch.context() as patch:
            patch.setenv(name, "8")
            assert (digest.__wrapped__() != before) is counts, name
    monkeypatch.setattr(kept_states, "sources", lambda: [*sources(), Path(__file__)])
    assert digest.__wrapped__() != before
