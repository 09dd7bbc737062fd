"""Versions of the policy: recorded with author and reason, in order, never lost, and in force or seen not to be.

Not here: how files change as text (test_editing.py), the commands (cli/test_config_versions.py), the console's pages.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from defiyield_assets.config import changed_files, changes, versions
from defiyield_assets.config.loader import load_policy
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.config.versions import (
    InForce,
    NotInForce,
    Written,
    first_day_of_change,
    in_force,
    restore_version,
    write_version,
)
from defiyield_assets.errors import ConfigurationError, NotFound, SuspiciousDataError
from defiyield_assets.store import schema
from defiyield_assets.store.console_audit import Deed
from defiyield_assets.store.policy_versions import list_versions, read_version
from defiyield_assets_tests.store.deeds import deeds

NOW = datetime(2025, 6, 3, 12, 0, tzinfo=UTC)
COUNTS = {"n_tokens": 0, "n_protocols": 0, "n_overrides": 0}
SAID = changes.Said("Ada", "small pools are thin", NOW.date())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The configuration folder of a state folder; neither is there yet."""
    return tmp_path / "state" / "config"


def with_value(before: InForce, name: str, value: Any) -> dict[str, str]:
    return {"policy.yaml": changes.set_parameter(before.files["policy.yaml"], name, value, SAID)}


def write(
    engine: sa.Engine, folder: Path, name: str, value: Any, before: InForce | None = None, **said: str
) -> Written:
    """One parameter as a new version."""
    seen = before or in_force(engine, folder)
    told = {"author": "Ada", "reason": "small pools are thin", "what": f"{name} set to {value}", **said}
    return write_version(engine, folder, with_value(seen, name, value), seen=seen.stamp, now=NOW, **told)


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_the_first_version_keeps_what_was_and_the_second_is_in_force(warehouse: sa.Engine, folder: Path) -> None:
    assert in_force(warehouse, folder).newest is None
    assert in_force(warehouse, folder).drift is None
    written = write(warehouse, folder, "pool_tvl_min_usd", 1_000_000.0)
    assert (written.version, written.found) == (2, 1)
    assert list(written.diffs) == ["policy.yaml"]
    assert [path.name for path in folder.iterdir()] == ["policy.yaml"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert load_policy(NOW.date(), folder).policy.parameters.pool_tvl_min_usd == 1_000_000.0
    found = in_force(warehouse, folder)
    assert found.newest is not None
    assert (found.newest.version, found.is_drifted, found.drift) == (2, False, None)
    first, second = read_version(warehouse, 1), read_version(warehouse, 2)
    assert (first.origin, first.author) == ("files", "files")
    assert first.files == {name: (SHIPPED / name).read_text(encoding="utf-8") for name in versions.VERSIONED}
    assert (second.origin, second.author, second.reason) == ("console", "Ada", "small pools are thin")
    assert (second.what, second.created_at) == ("pool_tvl_min_usd set to 1000000.0", NOW)
    assert second.files == found.files
    assert write(warehouse, folder, "min_pools", 7).found is None
    assert [one.version for one in list_versions(warehouse)] == [3, 2, 1]
    assert [one.version for one in list_versions(warehouse, 2)] == [3, 2]


def test_accounts_are_never_stored(warehouse: sa.Engine, folder: Path) -> None:
    write(warehouse, folder, "min_pools", 7)
    seen = in_force(warehouse, folder)
    with pytest.raises(ConfigurationError, match=r"accounts\.yaml has no versions"):
        write_version(
            warehouse, folder, {"accounts.yaml": "wallets: []"}, author="a", reason="b", what="c", seen=seen.stamp
        )
    address = "0x66bf5221573f6e094493fe502d96b1f5c63a3950"
    for one in list_versions(warehouse):
        assert address not in str(read_version(warehouse, one.version).files)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"author": " "}, "a version needs an author"),
        ({"author": "\x00\n"}, "a version needs an author"),
        ({"reason": ""}, "a version needs a reason"),
        ({"reason": "x" * 301}, "a reason has at most 300 characters"),
        ({"author": "x" * 81}, "an author has at most 80 characters"),
    ],
)
def test_without_author_or_reason_nothing_is_written(
    said: dict[str, str], words: str, warehouse: sa.Engine, folder: Path
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        write(warehouse, folder, "min_pools", 7, **said)
    assert list_versions(warehouse) == []
    assert not folder.exists()


def test_hostile_words_become_one_line(warehouse: sa.Engine, folder: Path) -> None:
    write(warehouse, folder, "min_pools", 7, author="E\nve\x1b[31m", reason="a\r\n- evil: {\u202ex", what="w\nx")
    one = read_version(warehouse, 2)
    assert (one.author, one.reason, one.what) == ("E ve [31m", "a - evil: { x", "w x")


@pytest.mark.parametrize(
    ("name", "value"), [("max_pool_share", 7), ("min_pools", "many"), ("pair_reserve_ratio_min", 0.9)]
)
def test_what_would_not_load_is_not_written(name: str, value: Any, warehouse: sa.Engine, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"nothing was written, because it would not load: policy.*{name}"):
        write(warehouse, folder, name, value)
    assert list_versions(warehouse) == []
    assert not folder.exists()


def test_a_change_without_effect_is_no_version(warehouse: sa.Engine, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing would change"):
        write(warehouse, folder, "min_pools", 5)
    assert list_versions(warehouse) == []


def test_who_comes_second_is_refused_with_the_name_of_who_was_first(warehouse: sa.Engine, folder: Path) -> None:
    seen = in_force(warehouse, folder)
    write(warehouse, folder, "min_pools", 7, seen)
    before = held(folder)
    with pytest.raises(ConfigurationError, match=r"version 2 by Ada \(min_pools set to 7\) was written meanwhile"):
        write(warehouse, folder, "min_pools", 8, seen)
    assert held(folder) == before
    assert len(list_versions(warehouse)) == 2


def test_files_changed_meanwhile_are_not_overwritten(warehouse: sa.Engine, folder: Path) -> None:
    write(warehouse, folder, "min_pools", 7)
    seen = in_force(warehouse, folder)
    (folder / "policy.yaml").write_text("parameters: {min_pools: 9}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="changed by somebody else meanwhile"):
        write(warehouse, folder, "min_pools", 8, seen)
    assert len(list_versions(warehouse)) == 2


def test_of_many_writers_at_once_one_wins_and_the_others_are_told(warehouse: sa.Engine, folder: Path) -> None:
    seen, told = in_force(warehouse, folder), []
    ready = threading.Barrier(4)

    def writer(value: int) -> None:
        ready.wait()
        try:
            told.append(write(warehouse, folder, "min_pools", value, seen).version)
        except ConfigurationError as error:
            told.append(str(error))

    threads = [threading.Thread(target=writer, args=(number,)) for number in range(10, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one for one in told if isinstance(one, int)] == [2]
    assert all("meanwhile" in one for one in told if isinstance(one, str))
    assert len(list_versions(warehouse)) == 2
    assert in_force(warehouse, folder).drift is None


def test_who_changes_files_is_alone_with_the_folder(folder: Path) -> None:
    with changed_files.alone(folder):
        handle = os.open(folder, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
    belongs = "belongs to the program: name another folder"
    with pytest.raises(ConfigurationError, match=belongs), changed_files.alone(SHIPPED):
        pass


def test_a_writer_on_another_machine_is_refused_by_the_number(
    warehouse: sa.Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is not there yet when we look, its row is there when we write."""
    monkeypatch.setattr(changed_files.fcntl, "flock", lambda *_: None)
    seen = in_force(warehouse, folder)
    record, calls = versions.stored.record, []

    def late(*arguments: Any) -> list[int]:
        if not calls:
            calls.append(1)
            other = [versions.NewVersion("Eve", "first", "console", "other", seen.files)]
            record(warehouse, other, 0, NOW)
        return record(*arguments)

    monkeypatch.setattr(versions.stored, "record", late)
    with pytest.raises(
        ConfigurationError, match="version 1 of the policy was written meanwhile, and you have seen none"
    ):
        write(warehouse, folder, "min_pools", 7, seen)
    assert held(folder) == {}
    assert len(list_versions(warehouse)) == 1


def test_what_was_changed_by_hand_is_seen_and_recorded_before_the_next_change(
    warehouse: sa.Engine, folder: Path
) -> None:
    write(warehouse, folder, "min_pools", 7)
    by_hand = (folder / "policy.yaml").read_text(encoding="utf-8") + "# by hand\n"
    (folder / "policy.yaml").write_text(by_hand, encoding="utf-8")
    drift = in_force(warehouse, folder).drift
    assert drift is not None
    assert "not those of version 2" in drift
    written = write(warehouse, folder, "min_pools", 8)
    assert (written.found, written.version) == (3, 4)
    assert read_version(warehouse, 3).files["policy.yaml"] == by_hand
    assert read_version(warehouse, 3).what == "found in the folder, other than version 2"
    assert read_version(warehouse, 4).files["policy.yaml"].endswith("# by hand\n")
    assert in_force(warehouse, folder).drift is None


def test_a_crash_between_row_and_file_is_seen_and_nothing_is_lost(
    warehouse: sa.Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(warehouse, folder, "min_pools", 7)
    before = held(folder)

    def killed(_put: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(changed_files._Put, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            write(warehouse, folder, "min_pools", 8)
    assert held(folder) == before, "and nothing lies beside it"
    found = in_force(warehouse, folder)
    assert found.newest is not None
    assert found.newest.version == 3
    assert found.drift is not None
    assert "min_pools set to 8" in found.drift
    again = restore_version(warehouse, folder, 3, author="Ada", reason="it was cut off", seen=found.stamp, now=NOW)
    assert (again.found, again.version) == (4, 5)
    assert in_force(warehouse, folder).drift is None
    assert load_policy(NOW.date(), folder).policy.parameters.min_pools == 8


def test_a_file_that_cannot_be_replaced_is_told_with_its_version(
    warehouse: sa.Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is mounted by itself can be written beside, but not replaced."""

    def busy(_path: Path, _target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", busy)
        with pytest.raises(ConfigurationError, match=r"version 2 is recorded, but not in force: .*busy"):
            write(warehouse, folder, "min_pools", 7)
    assert held(folder) == {}
    assert in_force(warehouse, folder).drift is not None


def two_files(engine: sa.Engine, folder: Path) -> Written:
    """A change of two files at once, as a restore makes it."""
    seen = in_force(engine, folder)
    slugs = changes.end_listed(seen.files["protocols.yaml"], "protocol", "goldfinch", SAID)
    both = {**with_value(seen, "min_pools", 9), "protocols.yaml": slugs}
    return write_version(engine, folder, both, author="Ada", reason="r", what="both", seen=seen.stamp, now=NOW)


@pytest.mark.parametrize("is_new", [True, False])
def test_where_one_file_cannot_be_replaced_the_others_are_put_back(
    is_new: bool, warehouse: sa.Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_new:
        write(warehouse, folder, "min_pools", 7)
    before, replace = held(folder), Path.replace

    def busy(path: Path, target: Path) -> Path:
        if target.name == "protocols.yaml":
            raise OSError(errno.EBUSY, "Device or resource busy")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", busy)
        with pytest.raises(NotInForce, match=r"is recorded, but not in force: .*busy; the other files were put back"):
            two_files(warehouse, folder)
    assert held(folder) == before
    assert in_force(warehouse, folder).drift is not None


def test_files_that_cannot_be_put_back_either_are_told(
    warehouse: sa.Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(warehouse, folder, "min_pools", 7)
    replace, done = Path.replace, []

    def once(path: Path, target: Path) -> Path:
        if done:
            raise OSError(errno.EROFS, "Read-only file system")
        done.append(target)
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", once)
        with pytest.raises(
            NotInForce, match=r"only partly in force: .*policy\.yaml has its new text and cannot be put"
        ):
            two_files(warehouse, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["policy.yaml"]
    assert load_policy(NOW.date(), folder).policy.parameters.min_pools == 9


def test_a_folder_that_is_there_keeps_its_mode_and_so_does_the_one_above(warehouse: sa.Engine, tmp_path: Path) -> None:
    above = tmp_path / "etc"
    above.mkdir()
    above.chmod(0o755)
    write(warehouse, above / "own", "min_pools", 7)
    assert above.stat().st_mode & 0o777 == 0o755
    assert (above / "own").stat().st_mode & 0o777 == 0o700


def test_a_version_and_its_line_in_the_audit_log_are_there_together_or_not_at_all(
    warehouse: sa.Engine, folder: Path
) -> None:
    def told(outcome: Any) -> Callable[[int], Deed]:
        return lambda number: Deed("Ada", "127.0.0.1", "write_version", "min_pools", outcome, f"version {number}")

    seen = in_force(warehouse, folder)
    said: dict[str, Any] = {"author": "Ada", "reason": "r", "what": "w", "seen": seen.stamp, "now": NOW}
    with pytest.raises(SuspiciousDataError):
        write_version(warehouse, folder, with_value(seen, "min_pools", 7), **said, deed=told("perhaps"))
    assert (list_versions(warehouse), deeds(warehouse), held(folder)) == ([], [], {})
    write_version(warehouse, folder, with_value(seen, "min_pools", 7), **said, deed=told("done"))
    assert [(one["outcome"], one["detail"]) for one in deeds(warehouse)] == [("done", "version 2")]


def test_a_change_counts_from_the_day_after_the_newest_that_was_made(warehouse: sa.Engine) -> None:
    assert first_day_of_change(warehouse, NOW.date()) == NOW.date()
    for made in (date(2025, 5, 1), date(2025, 5, 2)):
        with warehouse.begin() as connection:
            policy = {"date": made, "policy_hash": "x", "policy_json": "{}", **COUNTS}
            connection.execute(sa.insert(schema.policy_snapshot).values(policy))
    assert first_day_of_change(warehouse, NOW.date()) == date(2025, 5, 3)
    assert first_day_of_change(warehouse, date(2025, 5, 2)) == date(2025, 5, 2), "never later than today"


@pytest.fixture
def unwritable() -> Path:
    """A folder in which nobody can write, root neither: as a ConfigMap is mounted."""
    return Path("/proc/self/fdinfo")


def test_a_folder_that_cannot_be_written_is_one_clear_error_and_nothing_is_recorded(
    warehouse: sa.Engine, unwritable: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"policy\.yaml cannot be written: .*; nothing was changed"):
        write(warehouse, unwritable, "min_pools", 7)
    assert list_versions(warehouse) == []
    with pytest.raises(ConfigurationError, match=r"cannot be made or read: .*; nothing was written"):
        write(warehouse, Path("/proc/self/new/config"), "min_pools", 7)
    assert list_versions(warehouse) == []


def test_an_older_version_is_restored_as_a_new_one(warehouse: sa.Engine, folder: Path) -> None:
    write(warehouse, folder, "min_pools", 7)
    write(warehouse, folder, "max_pool_share", 0.1)
    seen = in_force(warehouse, folder)
    written = restore_version(warehouse, folder, 1, author="Ada", reason="too strict", seen=seen.stamp, now=NOW)
    one = read_version(warehouse, written.version)
    assert (one.version, one.origin, one.restored_from, one.what) == (4, "restore", 1, "version 1 restored")
    assert one.files == read_version(warehouse, 1).files
    assert load_policy(NOW.date(), folder) == load_policy(NOW.date())
    with pytest.raises(NotFound, match="there is no version 9 of the policy: versions are 1 to 4"):
        restore_version(warehouse, folder, 9, author="Ada", reason="x", seen=seen.stamp)
    latest = in_force(warehouse, folder).stamp
    with pytest.raises(ConfigurationError, match="nothing would change"):
        restore_version(warehouse, folder, 4, author="Ada", reason="x", seen=latest)


def test_two_versions_are_compared_by_parameter_row_and_text(warehouse: sa.Engine, folder: Path) -> None:
    write(warehouse, folder, "gas_units.swap", 200_000)
    before = in_force(warehouse, folder)
    rules = changes.set_parameter(before.files["policy.yaml"], "max_group_share", [0.4, 0.3, 0.2, 0.0], SAID)
    rules = changes.add_listed(rules, "override", ["pool-1"], SAID, fields={"exit_days": 3})
    slugs = changes.add_listed(before.files["protocols.yaml"], "protocol", ["aave-v9"], SAID)
    slugs = changes.end_listed(slugs, "protocol", "goldfinch", SAID)
    slugs = changes.end_listed(slugs, "protocol-alias", "morpho-blue", SAID)
    changed = {"policy.yaml": rules, "protocols.yaml": slugs}
    write_version(warehouse, folder, changed, author="Ada", reason="board", what="lists", seen=before.stamp, now=NOW)
    told = versions.compare_versions(read_version(warehouse, 2), read_version(warehouse, 3))
    assert [(one.name, one.before, one.after) for one in told.parameters] == [
        ("max_group_share", [0.35, 0.35, 0.30, 0.0], [0.4, 0.3, 0.2, 0.0])
    ]
    assert {(one.file, one.path, one.name, one.what) for one in told.rows} == {
        ("policy.yaml", "pool_overrides", "pool-1", "added"),
        ("protocols.yaml", "approved", "aave-v9", "added"),
        ("protocols.yaml", "approved", "goldfinch", "ended"),
        ("protocols.yaml", "aliases", "morpho-blue morpho-v1", "removed"),
    }
    assert set(told.diffs) == {"policy.yaml", "protocols.yaml"}
    assert "--- policy.yaml version 2" in told.diffs["policy.yaml"]
    back = versions.compare_versions(read_version(warehouse, 3), read_version(warehouse, 1))
    assert ("gas_units.swap", 200_000, 180_000) in [(one.name, one.before, one.after) for one in back.parameters]
    assert ("goldfinch", "no longer ended") in [(one.name, one.what) for one in back.rows], "it counts again"
    assert versions.compare(before.files, before.files) == versions.Comparison({}, (), ())


def test_texts_that_are_no_yaml_are_compared_as_text_alone() -> None:
    before = {name: (SHIPPED / name).read_text(encoding="utf-8") for name in versions.VERSIONED}
    told = versions.compare(before, {**before, "tokens.yaml": "{rubbish", "policy.yaml": "- a list\n"})
    assert set(told.unreadable) == {"tokens.yaml", "policy.yaml"}
    assert (told.parameters, told.rows) == ((), ())
    assert set(told.diffs) == {"tokens.yaml", "policy.yaml"}


def test_a_link_to_a_file_stays_one(warehouse: sa.Engine, folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    real = tmp_path / "elsewhere.yaml"
    real.write_text((SHIPPED / "policy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "policy.yaml").symlink_to(real)
    write(warehouse, folder, "min_pools", 7)
    assert (folder / "policy.yaml").is_symlink()
    assert yaml.safe_load(real.read_text(encoding="utf-8"))["parameters"]["min_pools"] == 7
