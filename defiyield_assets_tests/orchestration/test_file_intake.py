"""Files into tables and what follows: the recorded files, an import that died, the assets, the drop folder."""

import gzip
import os
import signal
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from defiyield_assets.orchestration import file_intake
from defiyield_assets.orchestration.drop_folder import import_dropped_files, look
from defiyield_assets.orchestration.file_intake import Intake, listed_files, take_in
from defiyield_assets.orchestration.intraday_features import instruments_since, make_intraday_features
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.faults.interrupted import die_while_writing
from defiyield_assets_tests.installations import SILENT, Installation

NOW = datetime(2025, 7, 1, tzinfo=UTC)
BARS = b"2024.09.24,03:55,3,4,2,3,1\r\n2024.09.24,04:00,3,4,2,3,1\r\n"


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A migrated warehouse without anything in it."""
    found = Installation(tmp_path / "state")
    found.folder.mkdir()
    found.warehouse.migrate()
    return found


def take(installation: Installation, *paths: Path, **options: Any) -> Intake:
    return take_in(installation.warehouse, PolicyResource(), listed_files(paths), now=NOW, **options)


@pytest.mark.recorded
def test_50_000_rows_of_a_recorded_file_give_50_000_and_again_none(
    installation: Installation, recorded_data: Path
) -> None:
    (item,) = take(installation, recorded_data / "intraday" / "DOTUSDT-5.csv.gz").imports
    assert (item.n_read, item.n_new, item.bad) == (50_000, 50_000, ())
    told = reads.distinct(installation.engine, schema.ohlcv_csv, ["instrument_id", "file_sha256"], date.max)
    assert told == [("crypto:DOT", item.sha256)]
    again = take(installation, recorded_data / "intraday" / "DOTUSDT-5.csv.gz")
    assert (again.imports[0].is_known, again.n_intraday, again.n_daily) == (True, 0, 0)
    for table in (schema.ohlcv_csv, schema.intraday_bars):
        assert reads.count_through(installation.engine, table, date.max) == 50_000
    assert reads.count_through(installation.engine, schema.daily_bars, date.max) == 174


def test_features_of_bars_below_a_day_are_made_for_files_that_came_since(
    installation: Installation, tmp_path: Path
) -> None:
    def bars(name: str, n: int) -> Path:
        path = tmp_path / name
        start = 1_727_136_000
        prices = [10 + (7 * k) % 11 / 10 for k in range(n)]
        rows = [f"{start + 300 * k},{price},{price + 1},{price - 1},{price},5" for k, price in enumerate(prices)]
        path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n", encoding="utf-8")
        return path

    take(installation, bars("BTCUSD.csv", 300), bars("ETHUSD.csv", 301))
    engine = installation.engine
    assert instruments_since(engine, None) == ["crypto:BTC", "crypto:ETH"]
    assert make_intraday_features(engine, ["crypto:BTC"]).rows == 300
    first = installation.rows(schema.intraday_features)
    closes = (
        installation.rows(schema.intraday_bars).query("instrument_id == 'crypto:BTC'")["close"].reset_index(drop=True)
    )
    assert np.allclose(first["sma_20"], closes.rolling(20).mean(), rtol=1e-12, equal_nan=True)
    yearly = np.log(closes).diff().rolling(20).std() * np.sqrt(365 * 288)
    assert np.allclose(first["realised_vol_20"], yearly, rtol=1e-9, equal_nan=True)
    take_in(installation.warehouse, PolicyResource(), [bars("BTCUSD.csv", 302)], now=NOW + timedelta(days=1))
    assert instruments_since(engine, NOW) == ["crypto:BTC"]
    assert make_intraday_features(engine, ["crypto:BTC"]).rows == 302
    again = installation.rows(schema.intraday_features)
    assert again.iloc[:300].equals(first), "a later bar changes no earlier feature"


@pytest.mark.nightly
@pytest.mark.recorded
def test_50_000_rows_of_each_recorded_file_give_50_000_and_again_none(
    installation: Installation, recorded_data: Path
) -> None:
    intake = take(installation, recorded_data / "intraday")
    assert [(item.n_read, item.n_new, item.bad) for item in intake.imports] == [(50_000, 50_000, ())] * 3
    assert (intake.n_intraday, intake.n_daily, intake.failures) == (150_000, 597, [])
    counts = reads.read_all(installation.engine, schema.intraday_bars).groupby("instrument_id").size().to_dict()
    assert counts == {"crypto:ADA": 50_000, "crypto:AVAX": 50_000, "crypto:DOT": 50_000}
    days = reads.read_all(installation.engine, schema.daily_bars)
    assert days.groupby("source").size().to_dict() == {
        "csv:adausd_5m": 211,
        "csv:avaxusd_5m": 212,
        "csv:dotusdt_5m": 174,
    }
    monday = days[(days["instrument_id"] == "crypto:ADA") & (days["date"] == date(2025, 3, 3))].iloc[0]
    assert 0.5 < monday["close"] < 1.5, "cents became dollars"
    before = installation.fingerprints()
    again = take(installation, recorded_data / "intraday")
    assert [item.is_known for item in again.imports] == [True] * 3
    assert installation.fingerprints() == before


def test_an_import_that_died_before_its_bars_were_made_is_finished_by_the_next(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "AVAXUSD-5.csv"
    path.write_bytes(BARS)

    def die(*_args: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(file_intake, "_make_days", die)
        with pytest.raises(KeyboardInterrupt):
            take(installation, path)
    assert installation.rows(schema.daily_bars).empty
    assert len(installation.rows(schema.ohlcv_csv)) == 2
    path = path.rename(tmp_path / "renamed-5.csv")
    intake = take(installation, path)
    assert intake.imports[0].known_as == "AVAXUSD-5.csv"
    assert (intake.n_intraday, intake.n_daily) == (2, 1)
    assert take(installation, path).n_daily == 0, "once is enough"


def test_a_process_that_is_killed_while_it_writes_leaves_whole_tables_and_the_next_one_finishes(
    installation: Installation, tmp_path: Path
) -> None:
    path = tmp_path / "AVAXUSD-5.csv"
    path.write_bytes(BARS)
    killed = {name: installation.copy_to(tmp_path / name) for name in ("csv_imports", "intraday_bars", "daily_bars")}
    take(installation, path)
    for table, other in killed.items():
        other.engine.dispose()  # no connection may be shared with the child
        child = os.fork()
        if child == 0:
            try:
                die_while_writing("an import", [table])
                take(other, path)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        stored = len(other.rows(schema.ohlcv_csv))
        assert stored == (0 if table == "csv_imports" else 2)
        assert len(other.rows(schema.csv_imports)) == stored // 2, "rows and record together or neither"
        assert other.rows(schema.daily_bars).empty
        take(other, path)
        for written in (schema.ohlcv_csv, schema.csv_imports, schema.intraday_bars, schema.daily_bars):
            assert other.fingerprint(written) == installation.fingerprint(written), "as if nothing had happened"


def test_a_files_bar_stands_in_where_no_vendor_told_one(installation: Installation, tmp_path: Path) -> None:
    path = tmp_path / "AVAXUSD-5.csv.gz"
    path.write_bytes(gzip.compress(BARS))
    take(installation, path)
    bar = installation.rows(schema.daily_bars).iloc[0]
    assert (bar["source"], bar["quality"], bar["close"]) == ("csv:avaxusd_5m", "partial", 3.0)
    assert bar["volume_units"] is None or bar["volume_units"] != bar["volume_units"], "ticks are no volume"


@pytest.mark.usefixtures("pictures")
def test_the_asset_takes_a_files_bars_and_fails_loudly_for_one_that_it_cannot_read(
    installation: Installation, tmp_path: Path
) -> None:
    good, bad = tmp_path / "AVAXUSD-5.csv", tmp_path / "NOBODY.csv"
    good.write_bytes(BARS)
    bad.write_bytes(BARS + BARS[:1])
    job = installation.definitions.resolve_job_def("import_files")

    def run(*paths: Path) -> dg.ExecuteInProcessResult:
        config = {"ops": {"import_csv_files": {"config": {"files": [str(path) for path in paths]}}}, **SILENT}
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)

    result = run(good)
    assert result.success
    (event,) = [
        item
        for item in result.asset_materializations_for_node("import_csv_files")
        if item.asset_key == dg.AssetKey("ohlcv_csv")
    ]
    assert event.metadata["dagster/row_count"].value == 2
    assert event.metadata["daily_bars_written"].value == 1
    pictures = [
        item.metadata["plot"].value
        for item in result.asset_materializations_for_node("import_csv_files")
        if item.asset_key == dg.AssetKey("intraday_bars")
    ]
    assert str(pictures[0]).startswith("![Bars below a day](data:image/png;base64,")
    failed = run(good, bad)
    assert not failed.success
    assert len(installation.rows(schema.ohlcv_csv)) == 2
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, run_config=SILENT).success, (
            "without files the bars below a day are made again"
        )
    assert len(installation.rows(schema.intraday_bars)) == 2
    assert len(installation.rows(schema.intraday_features)) == 2, "the job goes on to features"


def test_a_dropped_file_is_asked_for_once_when_it_has_stopped_growing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"1")
    marks, due = look(tmp_path, {})
    assert due == [], "nobody knows yet whether it is whole"
    path.write_bytes(b"12")
    marks, due = look(tmp_path, marks)
    assert due == [], "it has grown"
    marks, due = look(tmp_path, marks)
    assert due == ["a.csv"]
    marks, due = look(tmp_path, marks)
    assert due == [], "also when the run failed"
    path.write_bytes(b"123")
    marks, _ = look(tmp_path, marks)
    marks, due = look(tmp_path, marks)
    assert due == ["a.csv"], "it has changed"
    (tmp_path / ".hidden.csv").write_bytes(b"1")
    (tmp_path / "b.csv.part").write_bytes(b"1")
    path.unlink()
    assert look(tmp_path, marks) == ({}, [])


def test_a_name_that_is_no_text_keeps_no_other_file_from_being_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_DROP_FOLDER", str(tmp_path))
    (tmp_path / "good.csv").write_bytes(BARS)
    (tmp_path / os.fsdecode(b"BTC\xff.csv")).write_bytes(BARS)
    first = import_dropped_files(dg.build_sensor_context())
    assert r"names are no UTF-8: 'BTC\udcff.csv'" in getattr(first.skip_reason, "skip_message", "")
    second = import_dropped_files(dg.build_sensor_context(cursor=first.cursor))
    assert [request.tags["defiyield/file"] for request in second.run_requests or []] == ["good.csv"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setenv("DEFIYIELD_DROP_FOLDER", str(folder))
    (tmp_path / "accounts").write_bytes(b"0xours,account data")
    (folder / "real.csv").write_bytes(BARS)
    (folder / "inside.csv").symlink_to("real.csv")
    (folder / "outside.csv").symlink_to(tmp_path / "accounts")
    (folder / "above.csv").symlink_to("../accounts")
    first = import_dropped_files(dg.build_sensor_context())
    assert "links out of the folder: 'above.csv', 'outside.csv'" in getattr(first.skip_reason, "skip_message", "")
    second = import_dropped_files(dg.build_sensor_context(cursor=first.cursor))
    assert [request.tags["defiyield/file"] for request in second.run_requests or []] == ["inside.csv", "real.csv"]


def test_the_sensor_does_nothing_without_its_setting_and_asks_for_one_run_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_DROP_FOLDER", "")
    assert "is not set" in str(import_dropped_files(dg.build_sensor_context()).skip_reason)
    monkeypatch.setenv("DEFIYIELD_DROP_FOLDER", str(tmp_path / "nowhere"))
    assert "is no folder" in str(import_dropped_files(dg.build_sensor_context()).skip_reason)
    monkeypatch.setenv("DEFIYIELD_DROP_FOLDER", str(tmp_path))
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(BARS)
    first = import_dropped_files(dg.build_sensor_context())
    assert not first.run_requests
    second = import_dropped_files(dg.build_sensor_context(cursor=first.cursor))
    assert [request.run_config for request in second.run_requests or []] == [
        {"ops": {"import_csv_files": {"config": {"files": [str((tmp_path / name).resolve())]}}}}
        for name in ("a.csv", "b.csv")
    ]
    third = import_dropped_files(dg.build_sensor_context(cursor=second.cursor))
    assert not third.run_requests
