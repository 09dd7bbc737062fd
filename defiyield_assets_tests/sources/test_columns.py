"""Whole columns of an answer: readers that take the usual case at once agree with those that look at every cell."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.errors import VendorMalformed
from defiyield_assets.sources import fields

DIGITS = st.one_of(
    st.integers(0, 2**256 + 5).map(str),
    st.sampled_from(["", "0", "007", "-1", "1_0", "١٢", " 1", "1e3", str(2**63 - 1), str(2**63), "7258118399"]),
    st.sampled_from([None, 5, 2.0, 2.5, True, [], {}, "7258118400", "9" * 90]),
)
HASHES = st.one_of(
    st.integers(0, 2**256 - 1).map(lambda number: f"0x{number:064x}"),
    st.sampled_from(["0x" + "A" * 64, "0x" + "g" * 64, "0x" + "1" * 63, "0x" + "1" * 65, None, 5, "0x" + "é" * 64]),
)
ADDRESSES = st.one_of(
    st.sampled_from([f"0x{digit * 40}" for digit in "12A"]),
    st.sampled_from(["0x" + "g" * 40, "", None, 5, True, [], "0x" + "1" * 39]),
)
TEXTS = st.one_of(st.text(max_size=5), st.sampled_from([None, 5, [], "a\x00", "x" * 2_000, "6"]))
Pair = tuple[Callable[..., Any], Callable[[Any], Any], Any, bool]
PAIRS: dict[str, Pair] = {
    "integers": (fields.integers, fields.integer, DIGITS, False),
    "maybe_integers": (fields.maybe_integers, fields.maybe_integer, DIGITS, True),
    "small_integers": (fields.small_integers, fields.small_integer, DIGITS, False),
    "epochs": (fields.epochs, fields.epoch_seconds, DIGITS, False),
    "hashes": (fields.transaction_hashes, fields.transaction_hash, HASHES, False),
    "addresses": (lambda r, f: fields.repeated(r, f, fields.address), fields.address, ADDRESSES, False),
    "receivers": (lambda r, f: fields.repeated(r, f, fields.address_or_none), fields.address_or_none, ADDRESSES, False),
    "symbols": (
        lambda r, f: fields.repeated(r, f, fields.claimed_text, optional=True),
        fields.claimed_text,
        TEXTS,
        True,
    ),
    "decimals": (
        lambda r, f: fields.repeated(r, f, fields.claimed_decimals, optional=True),
        fields.claimed_decimals,
        DIGITS,
        True,
    ),
}


def outcome(read: Callable[[], list[Any]]) -> Any:
    """What was read with its types, or the words of the refusal."""
    try:
        return [(type(value), value) for value in read()]
    except VendorMalformed as error:
        return str(error)


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_column_read_at_once_is_the_column_read_cell_by_cell(pair: Pair, data: st.DataObject) -> None:
    at_once, one, cells, optional = pair
    rows = [{"f": cell} for cell in data.draw(st.lists(cells, max_size=6))]
    if rows and data.draw(st.booleans()):
        rows += [rows[0], {}] if data.draw(st.booleans()) else [rows[0]]
    expected = outcome(lambda: fields.column(rows, "f", one, optional=optional))
    assert outcome(lambda: at_once(rows, "f")) == expected


def test_hashes_that_are_only_hashes_when_joined_are_refused() -> None:
    torn = ["0x" + "1" * 64 + "0x", "2" * 64]
    with pytest.raises(VendorMalformed, match="field 'f' of row 0"):
        fields.transaction_hashes([{"f": cell} for cell in torn], "f")
