"""Programs that tests run and that pip does not bring: where one is, or why the test is not run.

Lives here: finding them, and the rule for when one is missing. Not here: what is asked of them (the tests).
`DEFIYIELD_REQUIRE_PROGRAMS` names those, separated by blanks, without which a test fails instead of being skipped;
`.ci/run` names all that its machine has.
"""

import os
import shutil

import pytest


def find_program(name: str, package: str, *others: str) -> str:
    """The path of the program, or of one that goes by another name; `package` is Debian's that brings it."""
    found = next((path for one in (name, *others) if (path := shutil.which(one))), None)
    if found is not None:
        return found
    wanted = f"no {name} on the path (Debian's package {package})"
    if name in os.environ.get("DEFIYIELD_REQUIRE_PROGRAMS", "").split():
        pytest.fail(f"{wanted}, and DEFIYIELD_REQUIRE_PROGRAMS demands it")
    return pytest.skip(f"{wanted} to run this test")
