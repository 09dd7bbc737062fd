"""What commands write: values as JSON, errors, a reader that goes away, tables in narrow windows.

Not here: what a command tells (its own test).
"""

import io
import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from defiyield_assets.cli import main as entry
from defiyield_assets.cli.output import BASE_UNITS, CLOSED_PIPE, Terminal, json_ready, write_json
from defiyield_assets.cli.tables import print_table, row_lines
from defiyield_assets.errors import ConfigurationError, DefiYieldError, InfeasibleError
from defiyield_assets.store import schema
from defiyield_assets.store.types import BaseUnits


class Kind(StrEnum):
    """An enumeration of strings."""

    GOOD = "good"


@dataclass(frozen=True)
class Pair:
    """Two values."""

    day: date
    amount: Decimal


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), None),
        (2**53, 2**53),
        (2**53 + 1, "9007199254740993"),
        (-(2**60), "-1152921504606846976"),
        (True, True),
        (float("nan"), None),
        (float("inf"), None),
        (date(2025, 6, 3), "2025-06-03"),
        (datetime(2025, 6, 3, 1, tzinfo=UTC), "2025-06-03T01:00:00+00:00"),
        (Path("a/b"), "a/b"),
        (Kind.GOOD, "good"),
        ({date(2025, 6, 3): (1, {2})}, {"2025-06-03": [1, [2]]}),
        (Pair(date(2025, 6, 3), Decimal(1)), {"day": "2025-06-03", "amount": "1"}),
        (np.int64(2**60), "1152921504606846976"),
        (np.float64("nan"), None),
        (np.array([1.5, np.nan]), [1.5, None]),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timestamp("2025-06-03", tz="UTC"), "2025-06-03T00:00:00+00:00"),
        (pd.DataFrame({"a": [1, 2], "b": [Decimal("0.1"), None]}), [{"a": 1, "b": "0.1"}, {"a": 2, "b": None}]),
    ],
)
def test_values_become_json_without_losing_a_digit(value: Any, wanted: Any) -> None:
    found = json_ready(value)
    assert (found, type(found)) == (wanted, type(wanted))
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("value", [SecretStr("hidden"), object(), b"bytes"])
def test_what_has_no_agreed_form_is_refused_rather_than_guessed(value: Any) -> None:
    with pytest.raises(TypeError, match="no agreed form"):
        json_ready({"inside": [value]})


def test_a_document_is_ascii_and_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"a": "é\x1b[31m\n", "b": [1, 2]}, is_line=True)
    text = capsys.readouterr().out
    assert text.isascii()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert json.loads(text) == {"a": "é\x1b[31m\n", "b": [1, 2]}


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigurationError("no\nkey"), 2), (InfeasibleError("no plan"), 1), (DefiYieldError("x"), 1)]
)
@pytest.mark.parametrize("is_json", [False, True])
def test_errors_are_one_line_and_one_object_and_the_class_decides_the_exit_code(
    error: DefiYieldError, code: int, is_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_arguments: object) -> int:
        raise error

    monkeypatch.setattr(entry, "dispatch", failing)
    assert entry.main(["plan", *(["--json"] if is_json else [])]) == code
    captured = capsys.readouterr()
    words = " ".join(str(error).split())
    assert captured.err == f"error: {type(error).__name__}: {words}\n"
    told = {"error": {"type": type(error).__name__, "message": words}}
    assert (json.loads(captured.out) if is_json else captured.out) == (told if is_json else "")


def test_wrong_use_is_told_as_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        entry.main(["plan", "--date", "june", "--json"])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    told = json.loads(captured.out)["error"]
    assert told["type"] == "UsageError"
    assert "'june' is no date" in told["message"]
    assert "defiyield plan: error: " in captured.err


def test_ctrl_c_under_json_is_told_and_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "dispatch", stopped)
    assert entry.main(["run", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "Interrupted"


def test_a_reader_that_goes_away_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `defiyield plan | head -1`: neither a traceback nor the exit code of a failure."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    def telling(_arguments: object, console: Console) -> int:
        monkeypatch.setattr(sys, "stdout", Gone())
        console.print("words")
        return 0

    monkeypatch.setattr(entry, "dispatch", telling)
    with pytest.raises(SystemExit) as stop:
        entry.main(["plan"])
    assert stop.value.code == CLOSED_PIPE == 141


# --- tables ----------------------------------------------------------------------------------------------------------
def drawn(width: int, monkeypatch: pytest.MonkeyPatch, *, is_window: bool = True) -> str:
    """A wide table as it is printed."""
    if is_window:
        monkeypatch.setenv("COLUMNS", str(width))
    else:
        monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("pool", "what is said of it", title="Pools")
    table.add_column("amount", justify="right")
    table.add_row(Text("0x" + "ab" * 20), "[red]a sentence[/] of some words, " * 3, "123,456.789012345678")
    table.add_row("short", "", "1")
    stream = io.StringIO()
    print_table(table, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_amounts_in_base_units_are_strings_whatever_their_size() -> None:
    told = json_ready({"amount": 7, "amount_in": 2**70, "balance": 0, "gas_units": 7, "is_held": True})
    assert told == {"amount": "7", "amount_in": str(2**70), "balance": "0", "gas_units": 7, "is_held": True}
    tables = schema.metadata.tables.values()
    columns = {one.name for table in tables for one in table.columns if isinstance(one.type, BaseUnits)}
    unclear = {"assets", "value"}  # names of other things as well: whoever writes these turns them into strings
    assert columns - unclear == BASE_UNITS


def test_a_row_that_begins_with_a_figure_says_of_what() -> None:
    table = Table()
    table.add_column("Cap on a pool", justify="right")
    table.add_column("Gain")
    table.add_row("10%", "$1.00")
    first, *_ = row_lines(table, Console(width=20), 20)
    assert first.plain == "Cap on a pool 10%"


def test_a_table_that_fits_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(200, monkeypatch).splitlines()
    assert any("pool" in line and "amount" in line for line in lines)


def test_a_table_that_is_too_wide_is_told_row_by_row_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(60, monkeypatch)
    assert max(map(len, text.splitlines())) <= 60
    assert "0x" + "ab" * 20 in text
    assert "amount 123,456.789012345678" in text, "a figure that is cut is another figure"
    assert "a sentence of some words, a sentence" in " ".join(text.split())
    assert "short\n  amount 1\n" in text, "cells without words are left out"


def test_other_programs_get_one_line_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = [line for line in drawn(60, monkeypatch, is_window=False).splitlines() if "0xabab" in line]
    assert "123,456.789012345678" in line


def test_a_terminal_highlights_nothing_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print(":smile: 1.5")
    assert capsys.readouterr().out == ":smile: 1.5\n"
