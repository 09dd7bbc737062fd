"""Events in a CSV file as typed rows, and every line of it that was not taken, with its number and why.

Lives here: the columns `date,kind,instrument,title,expected,actual,announced_on,known_on,unit,event_id`. Not here:
cells (csv_lines.py), bars (csv_bars.py), what is known of an event when (domain/market/events.py).
"""

from dataclasses import dataclass
from datetime import date

import pandas as pd

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.sources.csv_bars import number_or_none
from defiyield_assets.sources.csv_lines import BadLine, first_bytes, shown, split_lines

KINDS = ("earnings", "economic", "on_chain")
NEEDED = ("date", "kind")
OPTIONAL = ("instrument", "title", "expected", "actual", "announced_on", "known_on", "unit", "event_id")
EVENT_COLUMNS = (*NEEDED, *OPTIONAL, "is_known_assumed", "row_number")
LONGEST_TITLE = 300


@dataclass(frozen=True)
class CsvEvents:
    """What a file holds: EVENT_COLUMNS in the order of the file; `bad` is sorted by line."""

    sha256: str
    events: pd.DataFrame
    bad: tuple[BadLine, ...]
    n_repeated: int


def is_events(file_name: str, content: bytes) -> bool:
    """Whether the file's header is one of events: it names a date and a kind."""
    lines = split_lines(file_name, first_bytes(file_name, content))
    return bool(lines.cells) and set(NEEDED) <= {cell.lower() for cell in lines.cells[0]}


def read_events(file_name: str, content: bytes) -> CsvEvents:
    """The events of a file. SuspiciousDataError for an unknown column or a file without a good line.

    `event_id` identifies an event in the file; without it a hash of date, kind, instrument and title does. `known_on`:
    since when the outcome is known; without it the day of the event is assumed.
    """
    lines = split_lines(file_name, content)
    names = [cell.lower() for cell in lines.cells[0]]
    unknown = sorted(set(names) - {*NEEDED, *OPTIONAL})
    if unknown or len(set(names)) < len(names):
        raise SuspiciousDataError(
            f"{file_name}: its columns are {', '.join(map(shown, names))}; events have "
            f"{', '.join((*NEEDED, *OPTIONAL))}, each once"
        )
    rows: dict[str, dict[str, object]] = {}
    bad, n_repeated = list(lines.bad), 0
    for number, cells in zip(lines.numbers[1:], lines.cells[1:], strict=True):
        try:
            row = _event(dict(zip(names, cells, strict=True)))
        except ValueError as error:
            bad.append(BadLine(number, str(error)))
            continue
        first = rows.setdefault(str(row["event_id"]), {**row, "row_number": number})
        if first["row_number"] != number:
            n_repeated += 1
            if any(first[name] != value for name, value in row.items()):
                n_repeated -= 1
                bad.append(BadLine(number, f"contradicts line {first['row_number']}: both tell of the same event"))
    if not rows:
        raise SuspiciousDataError(f"{file_name}: no line of it is an event; {bad[0].reason if bad else 'it is empty'}")
    events = pd.DataFrame(list(rows.values()), columns=list(EVENT_COLUMNS))
    return CsvEvents(lines.sha256, events, tuple(sorted(set(bad))), n_repeated)


def _event(cells: dict[str, str]) -> dict[str, object]:
    """One line as a row; ValueError says what is wrong."""
    row: dict[str, object] = {name: cells.get(name) or None for name in OPTIONAL}
    happens = _day("date", cells["date"])
    if happens is None:
        raise ValueError("has no date")
    kind = cells["kind"].lower().replace("-", "_")
    if kind not in KINDS:
        raise ValueError(f"kind {shown(cells['kind'])!r} is none of {', '.join(KINDS)}")
    announced, known = (_day(name, cells.get(name, "")) for name in ("announced_on", "known_on"))
    if announced is not None and announced > happens:
        raise ValueError(f"announced_on {announced} is after its date {happens}")
    if known is not None and known < happens:
        raise ValueError(f"known_on {known} is before its date {happens}")
    for name in ("expected", "actual"):
        row[name] = number_or_none(name, cells.get(name, ""))
    title = (cells.get("title") or "")[:LONGEST_TITLE] or None
    identity = [happens.isoformat(), kind, cells.get("instrument", ""), title or ""]
    return {
        **row,
        "date": happens,
        "kind": kind,
        "title": title,
        "announced_on": announced,
        "known_on": known or happens,
        "event_id": cells.get("event_id") or content_hash("\n".join(identity))[:24],
        "is_known_assumed": known is None,
    }


def _day(name: str, cell: str) -> date | None:
    if not cell:
        return None
    try:
        return date.fromisoformat(cell)
    except ValueError as error:
        raise ValueError(f"{name} {shown(cell)!r} is no date; write it as YYYY-MM-DD") from error
