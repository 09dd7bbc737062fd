"""Past days derived again from the archive: byte-identical, nobody asked, and loud when an answer is missing.

Not here: reruns on a market (test_idempotency.py), how the archive chooses an answer (sources/test_transport.py).
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.cli.main import main
from defiyield_assets.cli.rebuild import archived_definitions
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.rebuild import (
    KEPT,
    NOT_REBUILT,
    Fingerprints,
    Rebuilt,
    TableChange,
    Verdict,
    compare,
    fingerprints,
    rebuild_days,
)
from defiyield_assets.orchestration.resources import MarketResource
from defiyield_assets.store import schema, writes
from defiyield_assets.store.engine import write_transaction
from defiyield_assets.store.validation import day_column
from defiyield_assets_tests.installations import FIRST, Installation, Loop, day_after
from defiyield_assets_tests.store.frames import pools_frame

pytestmark = pytest.mark.slow

MIDDLE = day_after(FIRST)
DERIVED = [table for table in schema.metadata.sorted_tables if table.name not in KEPT - {"feature_state"}]
RESTATED = ("ohlcv_alpha_vantage", "daily_bars", "daily_features")
"""Of past sessions these also tell what came later: a dividend adjusts every bar before it."""


@pytest.fixture(autouse=True)
def no_market(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is neither a market nor a socket: whoever asks one has failed."""

    def explode(*_args: object) -> object:
        raise AssertionError("a rebuild asked the market")

    monkeypatch.setattr(MarketResource, "_transport", explode)
    monkeypatch.setattr("socket.socket.connect", explode)


def rebuild(installation: Installation, days: Iterable[date]) -> Rebuilt:
    """Rebuild these days of the installation."""
    span = DayRange(min(days), max(days))
    return rebuild_days(installation.engine, span, lambda day: archived_definitions(installation.settings, day))


def lose(installation: Installation, day: date | None = None) -> None:
    """Delete everything that can be derived, of one day or at all."""
    for table in DERIVED:
        if day is not None and table.info["day"] is None:
            continue
        lost = sa.delete(table) if day is None else sa.delete(table).where(day_column(table) == day)
        if table is schema.asset_outcomes:
            lost = lost.where(table.c.asset.not_in(NOT_REBUILT))
        with write_transaction(installation.engine, table.name) as connection:
            connection.execute(lost)


def verdicts(rebuilt: Rebuilt) -> dict[Verdict, set[str]]:
    """Tables by what became of them."""
    assert not rebuilt.failed, rebuilt.failed
    return {verdict: {change.table for change in rebuilt.changes if change.verdict is verdict} for verdict in Verdict}


@pytest.fixture
def installation(closed_loop: Loop, tmp_path: Path) -> Installation:
    return closed_loop.installation.copy_to(tmp_path / "state")


def requests(installation: Installation) -> int:
    return len(installation.rows(schema.raw_fetches))


@pytest.mark.nightly
def test_a_whole_day_is_rebuilt_to_the_last_byte_without_asking_anybody(installation: Installation) -> None:
    before, asked = installation.fingerprints(), requests(installation)
    found = verdicts(rebuild(installation, [MIDDLE]))
    assert found[Verdict.CHANGED] == found[Verdict.RESTORED] == set()
    assert installation.fingerprints() == before
    assert requests(installation) == asked


def test_a_lost_day_comes_back_from_the_archive(installation: Installation) -> None:
    before, asked, sessions = installation.fingerprints(), requests(installation), sessions_of(installation)
    assert len(sessions) > 10
    lose(installation, MIDDLE)
    assert installation.rows(schema.pools, MIDDLE).empty
    found = verdicts(rebuild(installation, [MIDDLE]))
    assert found[Verdict.CHANGED] == set()
    assert {"pools", "pool_histories", "account_transactions", "allocations", "daily_report"} <= found[Verdict.RESTORED]
    after = installation.fingerprints()
    retold = schema.ohlcv_alpha_vantage.name
    assert {**after, retold: None} == {**before, retold: None}
    pd.testing.assert_frame_equal(sessions_of(installation), sessions)
    assert requests(installation) == asked


def sessions_of(installation: Installation) -> pd.DataFrame:
    """Bars of shares of the lost day without what the vendor adjusts anew with every later answer."""
    rows = installation.rows(schema.ohlcv_alpha_vantage, MIDDLE)
    return rows.drop(columns=["adjusted_close", "fetched_at"])


@pytest.mark.nightly
def test_a_warehouse_of_which_only_the_archive_is_left_comes_back_day_by_day(
    installation: Installation, closed_loop: Loop
) -> None:
    before = installation.fingerprints()
    lose(installation)
    found = verdicts(rebuild(installation, closed_loop.days[:3]))
    assert found[Verdict.CHANGED] == set()
    for day in closed_loop.days[:3]:
        of_day, original = installation.fingerprints(day), closed_loop.installation.fingerprints(day)
        later = dict.fromkeys(RESTATED)
        assert {**of_day, **later} == {**original, **later}
    assert verdicts(rebuild(installation, closed_loop.days[3:]))[Verdict.CHANGED] <= set(RESTATED)
    assert installation.fingerprints() == before


def forget_answers(installation: Installation, endpoint: str) -> None:
    """The archive has lost what the middle day was told by this endpoint."""
    table = schema.raw_fetches
    with write_transaction(installation.engine, table.name) as connection:
        lost = sa.delete(table).where(table.c.endpoint == endpoint, table.c.partition_date == MIDDLE)
        assert connection.execute(lost).rowcount > 0


@pytest.mark.parametrize(
    ("endpoint", "asset", "words"),
    [
        ("/pools", "pools", "defillama_yields /pools"),
        pytest.param("/chart/{coins}", "closes_defillama", "defillama_coins", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.usefixtures("command_line")
def test_a_day_whose_archive_lacks_an_answer_fails_naming_it_and_changes_nothing(
    installation: Installation, endpoint: str, asset: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_answers(installation, endpoint)
    before = installation.fingerprints()
    arguments = ["rebuild", "--date", str(MIDDLE), "--market", "simulated", "--state-dir", str(installation.folder)]
    assert main(arguments) == 1
    told = capsys.readouterr().out
    failed = [line for line in told.splitlines() if line.startswith(f"failed {MIDDLE} {asset}: ")]
    assert len(failed) == 1, told
    assert words in failed[0]
    assert "cannot be recovered" in failed[0]
    assert installation.fingerprints() == before, "prices have a substitute, but a rebuild must not use it"


def test_rows_that_came_back_and_rows_that_changed_are_told_apart(warehouse: sa.Engine) -> None:
    days = DayRange.of(FIRST)
    frame = pools_frame(days, pools=4)
    writes.replace_slice(warehouse, schema.pools, frame, days)
    whole = fingerprints(warehouse, days)
    writes.replace_slice(warehouse, schema.pools, frame.iloc[:3], days)
    part = fingerprints(warehouse, days)
    writes.replace_slice(warehouse, schema.pools, frame.assign(apy=[0.5, *frame["apy"].iloc[1:]]), days)
    other = fingerprints(warehouse, days)

    def of_pools(before: Fingerprints, after: Fingerprints) -> TableChange:
        return next(change for change in compare(before, after) if change.table == "pools")

    assert of_pools(whole, whole) == TableChange("pools", rows=4, came=0, went=0)
    assert of_pools(whole, whole).verdict is Verdict.IDENTICAL
    assert of_pools(part, whole) == TableChange("pools", rows=4, came=1, went=0)
    assert of_pools(part, whole).verdict is Verdict.RESTORED
    assert of_pools(whole, other) == TableChange("pools", rows=4, came=1, went=1)
    assert of_pools(whole, other).verdict is Verdict.CHANGED


@pytest.mark.parametrize(("went", "failed", "code"), [(0, {}, 0), (1, {}, 1), (0, {MIDDLE: {"pools": "[gone]"}}, 1)])
@pytest.mark.usefixtures("command_line")
def test_the_exit_code_says_whether_anything_changed_or_failed(
    first_day: Loop, monkeypatch: pytest.MonkeyPatch, went: int, failed: dict[date, dict[str, str]], code: int
) -> None:
    made = Rebuilt((TableChange("pools", rows=4, came=1, went=went),), failed)
    monkeypatch.setattr("defiyield_assets.cli.rebuild.rebuild_days", lambda *_arguments: made)
    folder = str(first_day.installation.folder)
    assert main(["rebuild", "--date", str(FIRST), "--market", "simulated", "--state-dir", folder]) == code


@pytest.mark.usefixtures("command_line")
def test_a_day_that_never_ran_cannot_be_rebuilt(first_day: Loop, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--market", "simulated", "--state-dir", str(first_day.installation.folder)]
    third = day_after(MIDDLE)
    assert main(["rebuild", "--from", str(FIRST), "--to", str(third), *state]) == 2
    assert f"policy_snapshot of {MIDDLE}, {third} is missing" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.recorded
def test_a_recorded_day_is_rebuilt_too(recorded_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    installation = Installation(tmp_path / "state", market="recorded", recorded_data=recorded_data)
    assert installation.run(FIRST).success
    before = installation.fingerprints()
    lose(installation, FIRST)

    def explode(*_args: object) -> object:
        raise AssertionError("a rebuild asked the market")

    monkeypatch.setattr(MarketResource, "_transport", explode)
    assert verdicts(rebuild(installation, [FIRST]))[Verdict.CHANGED] == set()
    assert installation.fingerprints() == before
