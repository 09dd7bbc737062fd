"""What was done through the console stays as it was told, in one line, the newest first.

Not here: what is recorded when (console), who may write these rows (deploy/test_roles.py).
"""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store.console_audit import (
    LOGIN,
    LONGEST,
    WRITE,
    Deed,
    Outcome,
    record_deed,
    recorded,
    recorded_version,
)
from defiyield_assets_tests.store.deeds import deeds

NOW = datetime(2025, 6, 3, 12, 0, tzinfo=UTC)


def test_deeds_are_kept_newest_first(warehouse: sa.Engine) -> None:
    for number, outcome in enumerate(("done", "refused", "failed")):
        deed = Deed("Ada", "127.0.0.1", "write_version", f"p{number}", outcome)  # type: ignore[arg-type]
        record_deed(warehouse, deed, NOW + timedelta(minutes=number))
    found = deeds(warehouse)
    assert [(one["subject"], one["outcome"]) for one in found] == [("p2", "failed"), ("p1", "refused"), ("p0", "done")]
    assert found[2]["at"] == NOW


def test_strangers_words_are_one_line_and_not_endless(warehouse: sa.Engine) -> None:
    record_deed(warehouse, Deed("a\nb\x00\ud800", "\x1b[31m", "login", "", "refused", "x" * 10_000), NOW)
    (one,) = deeds(warehouse)
    assert (one["author"], one["remote"], one["subject"]) == ("a b", "[31m", "")
    assert len(one["detail"]) == LONGEST


def test_an_outcome_that_there_is_not_is_refused(warehouse: sa.Engine) -> None:
    with pytest.raises(SuspiciousDataError, match="outcome"):
        record_deed(warehouse, Deed("a", "b", "c", "d", "perhaps"), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action", "outcome", "detail", "version"),
    [
        (WRITE, "done", recorded(12), 12),
        (WRITE, "done", "version 0 recorded", None),
        (WRITE, "done", "version 12 recorded, they say", None),
        (WRITE, "done", "version \u0661 recorded", None),
        (WRITE, "refused", recorded(12), None),
        (LOGIN, "done", recorded(12), None),
    ],
)
def test_the_version_that_came_of_a_write_is_known_from_its_row(
    warehouse: sa.Engine, action: str, outcome: Outcome, detail: str, version: int | None
) -> None:
    record_deed(warehouse, Deed("Ada", "127.0.0.1", action, "", outcome, detail), NOW)
    (one,) = deeds(warehouse)
    assert recorded_version(one) == version
