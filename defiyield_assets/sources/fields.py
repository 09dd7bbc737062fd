"""Readers of single wire values: they return a clean Python value or raise `ValueError` with the reason.

Lives here: numbers, texts, addresses and timestamps as vendors spell them; the column reader that names field and row.
Not here: what a vendor's answer looks like (the vendor's own module) or asking for it (transport.py).
"""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from defiyield_assets.errors import VendorMalformed

T = TypeVar("T")

MAX_TEXT = 1_000
"""Display texts are cut at this length; the archive keeps them whole."""
MAX_IDENTIFIER = 200
MAX_UINT256 = 2**256 - 1
_MAX_EXACT_FLOAT = 2**53
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_DIGITS = re.compile(r"[0-9]{1,90}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_HASH = re.compile(r"0x[0-9a-f]{64}")
_HASHES = re.compile(r"(?:0x[0-9a-f]{64})+")
_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})")
_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL and lone surrogates: legal in JSON, refused by PostgreSQL."""
_FIRST_SESSION_YEAR = 1900
_FIRST_YEAR, _LAST_YEAR = 1971, 2199
_LAST_EPOCH = 7_258_118_399


def shown(value: object) -> str:
    """A hostile value made fit for a message: type and at most its first 40 characters."""
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, str):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    return f"a value of type {type(value).__name__}"


def number(value: object) -> float:
    """A finite float; numbers may come as strings. NaN, infinities and booleans are refused."""
    if type(value) is float:
        result = value
    elif (type(value) is int and abs(value) < 10**300) or (
        type(value) is str and len(value) <= 400 and _NUMBER.fullmatch(value)
    ):
        result = float(value)
    else:
        raise ValueError(f"expected a number, got {shown(value)}")
    if not math.isfinite(result):
        raise ValueError(f"expected a finite number, got {shown(value)}")
    return result


def maybe_number(value: object) -> float | None:
    """`number`, or None for null."""
    return None if value is None else number(value)


def fraction(value: object) -> float:
    """Percent to fraction: one float division by 100, so that equal percents give equal fractions."""
    return number(value) / 100


def maybe_fraction(value: object) -> float | None:
    """`fraction`, or None for null."""
    return None if value is None else number(value) / 100


def positive(value: object) -> float:
    """A price or fee: a number that is not negative."""
    result = number(value)
    if result < 0:
        raise ValueError(f"expected a number of at least 0, got {result!r}")
    return result


def maybe_positive(value: object) -> float | None:
    """`positive`, or None for null."""
    return None if value is None else positive(value)


def maybe_size(value: object) -> float | None:
    """A size in USD; null and negative sizes (an adapter's accident) are unknown."""
    result = None if value is None else number(value)
    return None if result is None or result < 0 else result


def integer(value: object) -> int:
    """An exact integer from 0 to 2**256-1, as JSON integer, as digits, or as a float that holds it exactly."""
    if type(value) is int:
        result = value
    elif (type(value) is str and _DIGITS.fullmatch(value)) or (
        type(value) is float and value.is_integer() and abs(value) < _MAX_EXACT_FLOAT
    ):
        result = int(value)
    else:
        raise ValueError(f"expected a whole number, got {shown(value)}")
    if not 0 <= result <= MAX_UINT256:
        raise ValueError("expected a whole number from 0 to 2**256-1, got one outside")
    return result


def small_integer(value: object) -> int:
    """A count, block or id that fits a signed 64-bit column."""
    result = integer(value)
    if result >= 2**63:
        raise ValueError("expected a whole number below 2**63, got a larger one")
    return result


def hex_quantity(value: object) -> int:
    """A JSON-RPC quantity: `0x` and the fewest lower-case hexadecimal digits of a number from 0 to 2**256-1."""
    if type(value) is not str or len(value) > 66 or not _QUANTITY.fullmatch(value):
        raise ValueError(f"expected a hexadecimal quantity, got {shown(value)}")
    return int(value, 16)


def hex_bytes(value: object) -> str:
    """Unformatted JSON-RPC data: `0x` and two hexadecimal digits a byte, in lower case, of any length."""
    if type(value) is not str or not _BYTES.fullmatch(value):
        raise ValueError(f"expected bytes in hexadecimal digits, got {shown(value)}")
    return value.lower()


def maybe_integer(value: object) -> int | None:
    """`integer`, or None for null and the empty text."""
    return None if value is None or value == "" else integer(value)


def claimed_decimals(value: object) -> int:
    """Decimals as a token's contract claims; its deployer writes them, so nonsense counts as 0 and never raises."""
    try:
        result = integer(value)
    except ValueError:
        return 0
    return result if result <= 255 else 0


def text(value: object) -> str:
    """A display text without what databases refuse (NUL, lone surrogates become U+FFFD), cut at `MAX_TEXT`."""
    if type(value) is not str:
        raise ValueError(f"expected a text, got {shown(value)}")
    if len(value) > MAX_TEXT:
        value = value[: MAX_TEXT - 1] + "…"
    return value if value.isprintable() else _UNSTORABLE.sub("\ufffd", value)


def maybe_text(value: object) -> str | None:
    """`text`, or None for null."""
    return None if value is None else text(value)


def claimed_text(value: object) -> str | None:
    """A symbol or name that a token's contract claims; anything that is no text is unknown and never raises."""
    return text(value) if type(value) is str else None


def identifier(value: object) -> str:
    """A vendor's id: a printable text of 1 to 200 characters."""
    if type(value) is not str or not 0 < len(value) <= MAX_IDENTIFIER or not value.isprintable():
        raise ValueError(f"expected an id of 1 to {MAX_IDENTIFIER} printable characters, got {shown(value)}")
    return value


def flag(value: object) -> bool | None:
    """A boolean, or None for null."""
    if value is None or type(value) is bool:
        return value
    raise ValueError(f"expected true, false or null, got {shown(value)}")


def address(value: object) -> str:
    """A 20-byte EVM address, lower case."""
    lowered = value.lower() if type(value) is str and len(value) == 42 else ""
    if not _ADDRESS.fullmatch(lowered):
        raise ValueError(f"expected an address, got {shown(value)}")
    return lowered


def address_or_none(value: object) -> str:
    """`address`, or the empty text where a transaction has no receiver (contract creation)."""
    return "" if value is None or value == "" else address(value)


def transaction_hash(value: object) -> str:
    """A 32-byte transaction hash, lower case."""
    lowered = value.lower() if type(value) is str and len(value) == 66 else ""
    if not _HASH.fullmatch(lowered):
        raise ValueError(f"expected a transaction hash, got {shown(value)}")
    return lowered


def instant(value: object) -> datetime:
    """An ISO 8601 timestamp with time zone, as UTC; years 1971 to 2199."""
    if type(value) is not str or len(value) > 40:
        raise ValueError(f"expected a timestamp, got {shown(value)}")
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"expected a timestamp, got {shown(value)}") from None
    if parsed.tzinfo is None or not _FIRST_YEAR <= parsed.year <= _LAST_YEAR:
        raise ValueError(f"expected a timestamp with time zone between 1971 and 2199, got {shown(value)}")
    return parsed.astimezone(UTC)


def maybe_instant(value: object) -> datetime | None:
    """`instant`, or None for null."""
    return None if value is None else instant(value)


def epoch_seconds(value: object) -> datetime:
    """A Unix timestamp in seconds, as UTC; years 1970 to 2199."""
    seconds = int(value) if type(value) is float and math.isfinite(value) and value >= 0 else integer(value)
    if seconds > _LAST_EPOCH:
        raise ValueError("expected a Unix timestamp in seconds before 2200, got a larger number")
    return datetime.fromtimestamp(seconds, UTC)


def iso_date(value: object) -> date:
    """A calendar date `YYYY-MM-DD`."""
    if type(value) is not str or len(value) != 10:
        raise ValueError(f"expected a date YYYY-MM-DD, got {shown(value)}")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"expected a date YYYY-MM-DD, got {shown(value)}") from None


def session_date(value: object) -> date:
    """A calendar date on which somebody traded: years 1900 to 2199, which instants in nanoseconds can hold."""
    found = iso_date(value)
    if not _FIRST_SESSION_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError(f"expected a date between 1900 and 2199, got {shown(value)}")
    return found


def record(value: object, where: str) -> dict[str, Any]:
    """The JSON object found at `where`; anything else is `VendorMalformed`."""
    if type(value) is not dict:
        raise VendorMalformed(f"{where} is {shown(value)}, expected an object")
    return value


def records(value: object, where: str) -> list[dict[str, Any]]:
    """The JSON list of objects found at `where`; anything else is `VendorMalformed` naming the row."""
    if type(value) is not list:
        raise VendorMalformed(f"{where} is {shown(value)}, expected a list")
    for row, item in enumerate(value):
        if type(item) is not dict:
            raise VendorMalformed(f"row {row} of {where} is {shown(item)}, expected an object")
    return value


def column(
    rows: Sequence[Mapping[str, Any]], field: str, read: Callable[[Any], T], *, optional: bool = False
) -> list[T]:
    """One field of every row, read; a missing (unless optional: then null) or unreadable one is `VendorMalformed`."""
    try:
        return [read(item.get(field)) for item in rows] if optional else [read(item[field]) for item in rows]
    except (KeyError, ValueError):
        faults = ((row, _fault(item, field, read, optional=optional)) for row, item in enumerate(rows))
        row, fault = next((row, fault) for row, fault in faults if fault)
    raise VendorMalformed(f"field {field!r} of row {row}{fault}")


def fractions(rows: Sequence[Mapping[str, Any]], field: str, *, optional: bool = False) -> npt.NDArray[np.float64]:
    """`column` of `maybe_fraction` as floats, null as NaN; plain numbers, the usual case, are read all at once."""
    plain = _plain_numbers(rows, field)
    return floats(column(rows, field, maybe_fraction, optional=optional)) if plain is None else plain / 100


def sizes(rows: Sequence[Mapping[str, Any]], field: str, *, optional: bool = False) -> npt.NDArray[np.float64]:
    """`column` of `maybe_size` as floats, unknown as NaN; plain numbers are read all at once."""
    plain = _plain_numbers(rows, field)
    if plain is None:
        return floats(column(rows, field, maybe_size, optional=optional))
    return np.where(plain < 0, np.nan, plain)


def stamps(rows: Sequence[Mapping[str, Any]], field: str) -> list[datetime]:
    """`column` of `instant`; texts that all say UTC are read all at once."""
    try:
        texts = [item[field] for item in rows]
        found = list(map(datetime.fromisoformat, texts)) if set(map(type, texts)) == {str} else []
    except (KeyError, ValueError):
        found = []
    is_plain = (
        len(found) > 0
        and max(map(len, texts)) <= 40
        and {stamp.tzinfo for stamp in found} == {UTC}
        and min(found).year >= _FIRST_YEAR
        and max(found).year <= _LAST_YEAR
    )
    return found if is_plain else column(rows, field, instant)


def repeated(
    rows: Sequence[Mapping[str, Any]], field: str, read: Callable[[Any], T], *, optional: bool = False
) -> list[T]:
    """`column` of a field that says few different things: each text is read once, and kept once."""
    cells = _texts(rows, field, optional=optional)
    try:
        known = {} if cells is None else {cell: _one_copy(read(cell)) for cell in set(cells)}
    except ValueError:
        cells = None
    return column(rows, field, read, optional=optional) if cells is None else [known[cell] for cell in cells]


def integers(rows: Sequence[Mapping[str, Any]], field: str) -> list[int]:
    """`column` of `integer`; digits, the usual case, are read all at once."""
    found = _digits(rows, field, MAX_UINT256)
    return column(rows, field, integer) if found is None else found


def maybe_integers(rows: Sequence[Mapping[str, Any]], field: str) -> list[int | None]:
    """`column` of `maybe_integer`, missing ones null; digits are read all at once."""
    found = _digits(rows, field, MAX_UINT256)
    return column(rows, field, maybe_integer, optional=True) if found is None else [*found]


def small_integers(rows: Sequence[Mapping[str, Any]], field: str) -> list[int]:
    """`column` of `small_integer`; digits are read all at once."""
    found = _digits(rows, field, 2**63 - 1)
    return column(rows, field, small_integer) if found is None else found


def epochs(rows: Sequence[Mapping[str, Any]], field: str) -> list[datetime]:
    """`column` of `epoch_seconds`; digits are read all at once."""
    found = _digits(rows, field, _LAST_EPOCH)
    return column(rows, field, epoch_seconds) if found is None else [datetime.fromtimestamp(at, UTC) for at in found]


def transaction_hashes(rows: Sequence[Mapping[str, Any]], field: str) -> list[str]:
    """`column` of `transaction_hash`; lower-case ones, the usual case, are read all at once."""
    cells = _texts(rows, field)
    if cells and set(map(len, cells)) == {66} and _HASHES.fullmatch("".join(cells)):
        return cells
    return column(rows, field, transaction_hash)


def _digits(rows: Sequence[Mapping[str, Any]], field: str, most: int) -> list[int] | None:
    """The field of every row where all are ASCII digits of a number up to `most`; None where `column` must look."""
    cells = _texts(rows, field)
    if not cells or not all(cells) or max(map(len, cells)) > len(str(most)):
        return None
    digits = "".join(cells)
    numbers = list(map(int, cells)) if digits.isascii() and digits.isdecimal() else []
    return numbers if numbers and max(numbers) <= most else None


def _texts(rows: Sequence[Mapping[str, Any]], field: str, *, optional: bool = False) -> list[Any] | None:
    """The field of every row where each is a text (or, where `optional`, null or missing); None otherwise."""
    try:
        cells = [item.get(field) for item in rows] if optional else [item[field] for item in rows]
    except KeyError:
        return None
    return cells if set(map(type, cells)) <= ({str, type(None)} if optional else {str}) else None


def _one_copy(value: Any) -> Any:
    """The one copy of a text that comes again and again; anything else as it is."""
    return sys.intern(value) if type(value) is str else value


def _plain_numbers(rows: Sequence[Mapping[str, Any]], field: str) -> npt.NDArray[np.float64] | None:
    """The field of every row where all have it as a finite JSON number or null; None where `column` must look."""
    try:
        cells = [item[field] for item in rows]
        if not set(map(type, cells)) <= {float, int, type(None)}:
            return None
        plain = np.array(cells, dtype=np.float64)
    except (KeyError, OverflowError):
        return None
    is_finite = not np.isinf(plain).any() and int(np.isnan(plain).sum()) == cells.count(None)
    return plain if is_finite else None


def _fault(item: Mapping[str, Any], field: str, read: Callable[[Any], Any], *, optional: bool) -> str:
    """Why the field cannot be read, or nothing."""
    try:
        read(item.get(field) if optional else item[field])
    except KeyError:
        return " is missing"
    except ValueError as error:
        return f": {error}"
    return ""


def single(item: Mapping[str, Any], field: str, read: Callable[[Any], T], where: str) -> T:
    """One field of one object, read; a missing or unreadable one is `VendorMalformed` naming field and place."""
    try:
        return read(item[field])
    except KeyError:
        raise VendorMalformed(f"field {field!r} of {where} is missing") from None
    except ValueError as error:
        raise VendorMalformed(f"field {field!r} of {where}: {error}") from None


def distinct(rows: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    """Rows without exact repeats; two different rows with the same `field` are `VendorMalformed`."""
    told = _texts(rows, field)
    if told is not None and max(map(len, told), default=0) <= MAX_IDENTIFIER and len(set(told)) == len(told):
        return rows
    known: dict[str, dict[str, Any]] = {}
    for row, item in enumerate(rows):
        first = known.setdefault(str(item.get(field))[:MAX_IDENTIFIER], item)
        if first is not item and first != item:
            raise VendorMalformed(
                f"field {field!r} of row {row}: {shown(item.get(field))} is there twice with other values"
            )
    return rows if len(known) == len(rows) else list(known.values())


def floats(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """A float column; None becomes NaN."""
    return np.array(values, dtype=np.float64)


def objects(values: Sequence[object]) -> "pd.Series[Any]":
    """A column that keeps Python objects as they are (texts, dates, integers of any size, lists)."""
    return pd.Series(values, dtype=object)


def instants(values: Sequence[datetime | None]) -> pd.DatetimeIndex:
    """A column of UTC timestamps; None becomes NaT."""
    return pd.DatetimeIndex(list(values), dtype="datetime64[ns, UTC]")
