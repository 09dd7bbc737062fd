"""Tests of files going into the warehouse: all or nothing, once, and never two sources in one series."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.store import csv_imports as importing
from defiyield_assets.store import reads, schema
from defiyield_assets.store.csv_imports import imported_files, mark_followed, store_import, unfollowed

NOW = datetime(2025, 7, 1, tzinfo=UTC)


def bars(
    digest: str, closes: dict[str, float], *, name: str = "crypto:X", source: str = "one", is_adjusted: bool = False
) -> pd.DataFrame:
    """Daily rows of ohlcv_csv by day."""
    ts = pd.to_datetime(list(closes), utc=True)
    close = np.array(list(closes.values()))
    return pd.DataFrame(
        {
            "instrument_id": name,
            "interval": "1d",
            "ts": ts,
            "date": list(ts.date),
            **dict.fromkeys(("open", "high", "low", "close"), close),
            "volume_units": np.nan,
            "volume_usd": 7.0,
            "market_cap_usd": np.nan,
            "csv_source": source,
            "price_scale": 1.0,
            "is_adjusted": is_adjusted,
            "file_sha256": digest,
            "row_number": np.arange(1, len(close) + 1),
        }
    )


def record(digest: str, source: str = "one") -> dict[str, Any]:
    return {
        "file_sha256": digest,
        "file_name": f"{digest}.csv",
        "csv_source": source,
        "layout": "ohlcv",
        "interval": "1d",
        "rows_bad": 0,
        "bad_lines_json": "{}",
        "first_ts": NOW,
        "last_ts": NOW,
        "imported_at": NOW,
    }


def put(engine: sa.Engine, frame: pd.DataFrame, *, is_replacing: bool = False) -> Any:
    digest, source = frame["file_sha256"].iloc[0], frame["csv_source"].iloc[0]
    return store_import(engine, frame, record(digest, source), is_replacing=is_replacing)


def closes(engine: sa.Engine) -> dict[str, float]:
    rows = reads.read_all(engine, schema.ohlcv_csv)
    return {f"{day}": close for day, close in zip(rows["date"], rows["close"], strict=True)}


FIRST = {"2025-01-01": 10.0, "2025-01-02": 11.0}


def test_a_file_is_stored_once_with_its_record(warehouse: sa.Engine) -> None:
    stored = put(warehouse, bars("a", FIRST))
    assert (stored.n_new, stored.n_changed, stored.n_known, stored.n_read) == (2, 0, 0, 2)
    assert put(warehouse, bars("a", {"2030-01-01": 1.0})) is None, "a known file is not even looked into"
    assert closes(warehouse) == FIRST
    assert imported_files(warehouse, ["a", "b"]) == {"a": "a.csv"}
    row = reads.read_all(warehouse, schema.csv_imports).iloc[0]
    assert (row["rows_read"], row["rows_new"], row["rows_changed"], bool(row["is_followed"])) == (2, 2, 0, False)


def test_a_later_file_of_the_source_adds_corrects_and_leaves_what_it_repeats(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST))
    stored = put(warehouse, bars("b", {"2025-01-01": 10.0, "2025-01-02": 11.5, "2025-01-03": 12.0}))
    assert (stored.n_new, stored.n_changed, stored.n_known) == (1, 1, 1)
    assert stored.days == DayRange(datetime(2025, 1, 2).date(), datetime(2025, 1, 3).date())
    assert closes(warehouse) == {"2025-01-01": 10.0, "2025-01-02": 11.5, "2025-01-03": 12.0}
    rows = reads.read_all(warehouse, schema.ohlcv_csv)
    assert rows["file_sha256"].tolist() == ["a", "b", "b"]


def test_a_file_that_tells_nothing_new_is_remembered_and_asks_for_nothing(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST))
    mark_followed(warehouse, ["a"])
    stored = put(warehouse, bars("b", FIRST))
    assert (stored.n_known, stored.days) == (2, None)
    assert unfollowed(warehouse).empty
    assert imported_files(warehouse, ["b"]) == {"b": "b.csv"}


def test_bars_of_two_sources_are_never_joined(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST))
    with pytest.raises(SuspiciousDataError, match=r"crypto:X by one.*--replace.*nothing was written"):
        put(warehouse, bars("b", {"2025-01-03": 100.0}, source="two"))
    assert closes(warehouse) == FIRST
    assert imported_files(warehouse, ["b"]) == {}
    both = pd.concat(
        [bars("c", {"2025-01-03": 1.0}, source="two"), bars("c", {"2025-01-03": 2.0}, source="two", name="crypto:Y")]
    )
    stored = put(warehouse, both)
    assert (stored.left_out, stored.n_new) == ({"crypto:X": "one"}, 1)
    hourly = bars("d", {"2025-01-03": 100.0}, source="two").assign(interval="1h")
    assert put(warehouse, hourly).n_new == 1, "another interval is another series"


def test_adjusted_and_raw_bars_of_an_instrument_are_never_joined(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST, is_adjusted=True))
    with pytest.raises(SuspiciousDataError, match="nothing was written"):
        put(warehouse, bars("b", {"2025-01-03": 100.0}).assign(interval="1h"))


def test_replacing_takes_the_other_sources_bars_away_and_forgets_its_files(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", {**FIRST, "2025-02-01": 9.0}))
    stored = put(warehouse, bars("b", {"2025-01-02": 100.0}, source="two"), is_replacing=True)
    assert closes(warehouse) == {"2025-01-02": 100.0}
    assert stored.days == DayRange(datetime(2025, 1, 1).date(), datetime(2025, 2, 1).date()), "days that lost a bar too"
    assert imported_files(warehouse, ["a", "b"]) == {"b": "b.csv"}
    assert put(warehouse, bars("b", FIRST, source="two"), is_replacing=True).n_new == 2, "also with a known file"


def test_adjusted_prices_are_restated_as_a_whole_or_not_at_all(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST, is_adjusted=True))
    with pytest.raises(SuspiciousDataError, match=r"begins on 2025-01-02 .*\(2025-01-01\).*nothing was written"):
        put(warehouse, bars("b", {"2025-01-02": 5.5, "2025-01-03": 6.0}, is_adjusted=True))
    assert closes(warehouse) == FIRST
    assert put(warehouse, bars("c", {"2025-01-01": 5.0, "2025-01-02": 5.5}, is_adjusted=True)).n_changed == 2


def test_a_failure_in_the_middle_leaves_neither_bars_nor_record(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(importing, "_insert_record", die)
        with pytest.raises(KeyboardInterrupt):
            put(warehouse, bars("a", FIRST))
    assert closes(warehouse) == {}
    assert put(warehouse, bars("a", FIRST)).n_new == 2


def test_what_is_no_row_is_refused_before_anything_is_written(warehouse: sa.Engine) -> None:
    with pytest.raises(SuspiciousDataError, match="close"):
        put(warehouse, bars("a", {"2025-01-01": -1.0}))
    assert imported_files(warehouse, ["a"]) == {}


def test_files_are_unfollowed_until_they_are_marked(warehouse: sa.Engine) -> None:
    put(warehouse, pd.concat([bars("a", FIRST), bars("a", FIRST, name="crypto:Y")]))
    put(warehouse, bars("b", {"2025-03-01": 1.0}, name="crypto:Z"))
    found = unfollowed(warehouse)
    assert found["instrument_ids"].tolist() == [["crypto:X", "crypto:Y"], ["crypto:Z"]]
    assert [str(day) for day in found["changed_to"]] == ["2025-01-02", "2025-03-01"]
    mark_followed(warehouse, ["a"])
    assert unfollowed(warehouse)["file_sha256"].tolist() == ["b"]


def test_replacing_deletes_nothing_of_what_it_leaves_out(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST).assign(interval="5m"))
    put(warehouse, pd.concat([bars("b", FIRST), bars("b", FIRST, name="crypto:Y")]))
    lower = {day: close / 2 for day, close in FIRST.items()}
    parts = [bars("c", lower, name=name, source="two", is_adjusted=True) for name in ("crypto:X", "crypto:Y")]
    both = pd.concat(parts)
    stored = put(warehouse, both, is_replacing=True)
    assert (stored.left_out, stored.n_new) == ({"crypto:X": "one"}, 2)
    told = reads.read_all(warehouse, schema.ohlcv_csv).groupby(["instrument_id", "interval", "csv_source"]).size()
    assert told.to_dict() == {
        ("crypto:X", "1d", "one"): 2,
        ("crypto:X", "5m", "one"): 2,
        ("crypto:Y", "1d", "two"): 2,
    }
    with pytest.raises(SuspiciousDataError, match="which --replace does not take away; nothing was written"):
        put(warehouse, bars("d", lower, source="two", is_adjusted=True), is_replacing=True)
    assert len(reads.read_all(warehouse, schema.ohlcv_csv)) == 6


def test_replacing_forgets_only_files_whose_bars_it_took_away(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST))
    put(warehouse, bars("other", FIRST, name="crypto:Z"))
    put(warehouse, bars("same", FIRST, name="crypto:Z"))
    nothing = reads.read_all(warehouse, schema.market_events)
    events = {**record("ev"), "layout": "events", "rows_read": 1, "rows_new": 1, "rows_changed": 0, "rows_bad": 1}
    assert importing.store_events(warehouse, nothing, events)
    put(warehouse, bars("b", {"2025-01-02": 100.0}, source="two"), is_replacing=True)
    kept = {"ev": "ev.csv", "b": "b.csv", "other": "other.csv", "same": "same.csv"}
    assert imported_files(warehouse, ["a", *kept]) == kept


def test_a_file_whose_rows_were_taken_over_before_it_was_followed_is_still_followed(warehouse: sa.Engine) -> None:
    put(warehouse, bars("a", FIRST))
    put(warehouse, bars("b", {"2025-01-02": 12.0}))
    mark_followed(warehouse, ["b"])
    put(warehouse, bars("a", FIRST))
    assert unfollowed(warehouse)["file_sha256"].tolist() == ["a"]
    days = unfollowed(warehouse)[["changed_from", "changed_to"]].iloc[0]
    assert [str(day) for day in days] == ["2025-01-01", "2025-01-02"]


@pytest.mark.parametrize("is_adjusted", [False, True])
def test_two_files_that_reach_as_far_do_not_take_turns(warehouse: sa.Engine, is_adjusted: bool) -> None:
    corrected = {"2025-01-01": 20.0, "2025-01-02": 22.0}
    put(warehouse, bars("a", FIRST, is_adjusted=is_adjusted))
    assert put(warehouse, bars("b", corrected, is_adjusted=is_adjusted)).n_changed == 2
    again = put(warehouse, bars("a", FIRST, is_adjusted=is_adjusted))
    assert again is None if is_adjusted else again.n_changed == 0
    assert put(warehouse, bars("b", corrected, is_adjusted=is_adjusted)) is None
    assert closes(warehouse) == corrected
    assert put(warehouse, bars("a", FIRST, is_adjusted=is_adjusted), is_replacing=True).n_new == 2


def test_an_older_file_of_adjusted_prices_restates_nothing(warehouse: sa.Engine) -> None:
    newer = {**record("a"), "last_ts": datetime(2025, 7, 2, tzinfo=UTC)}
    store_import(warehouse, bars("a", FIRST, is_adjusted=True), newer)
    with pytest.raises(SuspiciousDataError, match=r"it is older.*nothing was written"):
        put(warehouse, bars("b", {"2025-01-01": 20.0, "2025-01-02": 22.0}, is_adjusted=True))
    assert closes(warehouse) == FIRST
