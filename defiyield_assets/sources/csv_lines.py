"""The lines of a CSV file as cells, with the number of every line that cannot be cells.

Lives here: bytes to text, delimiters, quotes, hostile lines, and how bad lines are told. Not here: what the columns
mean (csv_layouts.py), bars (csv_bars.py).
"""

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from defiyield_assets.errors import SuspiciousDataError

MOST_BYTES = 64 * 2**20
"""What a file may hold, unpacked: a million bars. A file of a few kilobytes may unpack to far more, and reading takes
some 15 times its bytes of memory.
"""
MOST_LINES = 2_000_000
LONGEST_LINE = 100_000
"""Characters of a line: a thousand instruments' closes; longer ones are no lines of a table."""
LONGEST_SHOWN = 40
DELIMITERS = (",", ";", "\t")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufffd]")


@dataclass(frozen=True, order=True)
class BadLine:
    """A line, or a cell of it, that was not taken, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Lines:
    """A file cut into cells: `cells[i]` are those of line `numbers[i]` (from 1), all with the same count."""

    sha256: str
    delimiter: str
    numbers: list[int]
    cells: list[list[str]]
    bad: list[BadLine]


def shown(text: str) -> str:
    """Text of a file for a message: short, on one line, without control characters."""
    plain = text[: LONGEST_SHOWN + 1].encode("unicode_escape").decode("ascii")
    return plain if len(plain) <= LONGEST_SHOWN else f"{plain[:LONGEST_SHOWN]}…"


def file_hash(content: bytes) -> str:
    """What a file is known by: a hash of its bytes as they are, packed or not."""
    return hashlib.sha256(content).hexdigest()


def read_bytes(path: Path) -> bytes:
    """The file's bytes. SuspiciousDataError when there is none, it cannot be read or is too large."""
    try:
        if not path.is_file():
            raise SuspiciousDataError(f"{path}: there is no such file")
        if path.stat().st_size > MOST_BYTES:
            raise SuspiciousDataError(f"{path.name}: larger than {MOST_BYTES // 2**20} MiB; cut it into parts")
        return path.read_bytes()
    except OSError as error:
        raise SuspiciousDataError(f"{path}: cannot be read: {error.strerror}") from error


def split_lines(name: str, content: bytes) -> Lines:
    """The file's lines as cells; what cannot be cells is in `bad`.

    Comma, semicolon or tab, told by the first line that is not blank; CRLF or LF; with or without BOM; packed by gzip
    or not (told by its first bytes). Blank lines are nothing. Bytes that are no UTF-8 make their line bad. The count of
    cells is that of the first line. Raises SuspiciousDataError for a file that cannot be unpacked, is too large or
    holds no line.
    """
    plain = _unpacked(name, content)
    if len(plain) > MOST_BYTES or plain.count(b"\n") > MOST_LINES:
        raise SuspiciousDataError(
            f"{name}: holds more than {MOST_BYTES // 2**20} MiB (unpacked) or {MOST_LINES:,} lines; cut it into parts"
        )
    text = plain.decode("utf-8-sig", errors="replace")
    lines = text.split("\n")
    first = next((line for line in lines[:1000] if line.strip("\r ")), None)
    if first is None:
        raise SuspiciousDataError(f"{name}: holds no line")
    delimiter = max(DELIMITERS, key=first[:LONGEST_LINE].count)
    is_hostile = _CONTROL.search(text.replace("\r\n", "\n")) is not None
    width = None
    numbers, rows, bad = [], [], []
    for number, raw in enumerate(lines, start=1):
        line = raw.removesuffix("\r")
        if not line.strip():
            continue
        try:
            cells = _cells(line, delimiter, is_hostile=is_hostile)
        except ValueError as error:
            bad.append(BadLine(number, str(error)))
            continue
        width = len(cells) if width is None else width
        if len(cells) != width:
            bad.append(BadLine(number, f"{len(cells)} cells where the first line has {width}"))
            continue
        numbers.append(number)
        rows.append(cells)
    return Lines(file_hash(content), delimiter, numbers, rows, bad)


def first_bytes(name: str, content: bytes) -> bytes:
    """The beginning of a file, unpacked: enough for its header."""
    return _unpacked(name, content, LONGEST_LINE)[:LONGEST_LINE]


def _unpacked(name: str, content: bytes, most: int | None = None) -> bytes:
    """The plain bytes, of a packed file at most `most`, or one more than a file may hold."""
    most = MOST_BYTES + 1 if most is None else most
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            return packed.read(most)
    except (OSError, EOFError, zlib.error) as error:
        raise SuspiciousDataError(f"{name}: cannot be unpacked: {error}") from error


def _cells(line: str, delimiter: str, *, is_hostile: bool) -> list[str]:
    """The cells of a line, without blanks around them; ValueError says why it has none."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"{len(line):,} characters, of which a line has at most {LONGEST_LINE:,}")
    if is_hostile and _CONTROL.search(line):
        raise ValueError(f"holds control characters or bytes that are no UTF-8: {shown(line)}")
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        found = next(csv.reader([line], delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"its quotes do not close: {shown(line)}") from error
    return [cell.strip() for cell in found]


def ranges(numbers: Iterable[int]) -> str:
    """Line numbers in short: 3, 5-9, 12."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)


def count_bad(bad: Sequence[BadLine]) -> int:
    """How many lines are bad: several cells of a line are one."""
    return len({item.number for item in bad})
