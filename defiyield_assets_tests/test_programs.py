"""A program that is missing skips a test, or fails it where it is demanded."""

from pathlib import Path

import pytest

from defiyield_assets_tests.programs import find_program


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on the path, empty; nothing is demanded."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DEFIYIELD_REQUIRE_PROGRAMS", "")
    return tmp_path


def test_a_program_is_found_by_any_of_its_names(only: Path) -> None:
    (only / "second-name").touch(mode=0o755)
    assert find_program("tool", "a-package", "first-name", "second-name") == str(only / "second-name")


@pytest.mark.usefixtures("only")
@pytest.mark.parametrize(
    ("demanded", "outcome"), [("toolbox", pytest.skip.Exception), ("other tool", pytest.fail.Exception)]
)
def test_one_that_is_missing_is_told_with_its_package(
    demanded: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_REQUIRE_PROGRAMS", demanded)
    with pytest.raises(outcome, match=r"no tool on the path \(Debian's package a-package\)"):
        find_program("tool", "a-package")
