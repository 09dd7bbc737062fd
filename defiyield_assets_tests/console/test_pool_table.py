"""All pools of a day as columns: searching, filtering and sorting against plain loops over rows.

Lives here: properties of the table on made-up days. Not here: the page, against pandas (test_pools.py).
"""

import json
from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.console.pool_table import TEXTS, VERDICTS, PoolTable, Wanted

FIGURES = ("pool_group", "size_usd", "apy", "verdict")
FLAGS = {"plan": "is_planned", "eligible": "is_eligible", "passed": "is_prefiltered", "refused": "is_refused"}
SEARCHED = (*TEXTS, "underlyings", "pool_id")
Row = dict[str, Any]
NUMBER = st.sampled_from([nan, -1.0, 0.0, 9.0, 10.0, 100.0, 1e9])
TEXT = st.sampled_from(["a", "A", "Ab", "b 0", "·", "Łp"])
CODES = st.sampled_from(["", "TOO_SMALL", "TOO_SMALL,STALE", "STALE", "NOT_TOO_SMALL"])
CELLS = st.fixed_dictionaries(
    {
        **dict.fromkeys((*TEXTS, "underlyings"), TEXT),
        **dict.fromkeys(("pool_group", "size_usd", "apy"), NUMBER),
        **dict.fromkeys((*FLAGS.values(), "is_held"), st.booleans()),
        "verdict": st.sampled_from([0.0, 1.0, 2.0, 3.0]),
        "codes": CODES,
    }
)
DAY = st.lists(CELLS, max_size=12).map(lambda rows: [{**row, "pool_id": f"p{place}"} for place, row in enumerate(rows)])
QUICK = settings(max_examples=60, deadline=None)


def table_of(day: list[Row]) -> PoolTable:
    """The table of a made-up day."""

    def cells(name: str, kind: type) -> np.ndarray:
        return np.array([row[name] for row in day], kind)

    return PoolTable(
        pool_id=cells("pool_id", object),
        texts={name: cells(name, object) for name in TEXTS},
        figures={name: cells(name, np.float64) for name in FIGURES},
        flags={name: cells(name, np.bool_) for name in (*FLAGS.values(), "is_held")},
        codes=cells("codes", object),
        underlyings=cells("underlyings", object),
        tokens=np.array([json.dumps(row.get("tokens", [])) for row in day], object),
    )


def plain(**cells: Any) -> Row:
    """A row in which only the cells named matter."""
    row: Row = {**dict.fromkeys((*TEXTS, "underlyings", "codes", "pool_id"), "x"), **dict.fromkeys(FIGURES, 0.0)}
    return {**row, **dict.fromkeys((*FLAGS.values(), "is_held"), False), **cells}


@QUICK
@given(day=DAY, column=st.sampled_from((*TEXTS, *FIGURES)), is_descending=st.booleans(), a_page=st.integers(1, 5))
def test_every_pool_is_on_one_page_in_order_and_unknown_values_are_last(
    day: list[Row], column: str, is_descending: bool, a_page: int
) -> None:
    """Pages together are all pools; neighbours are in order, equal ones as the table has them."""
    table = table_of(day)
    rows = table.rows(Wanted(), column, is_descending=is_descending).tolist()
    pages = [rows[first : first + a_page] for first in range(0, len(rows), a_page)]
    assert sorted(row for page in pages for row in page) == list(range(len(day)))
    values = [day[row][column] for row in rows]
    values = [value.lower() if column in TEXTS else value for value in values]
    for place in range(len(rows) - 1):
        one, other = values[place], values[place + 1]
        if column not in TEXTS and isnan(other):
            assert not isnan(one) or rows[place] < rows[place + 1]
            continue
        assert column in TEXTS or not isnan(one), "unknown before known"
        assert (one > other if is_descending else one < other) or (one == other and rows[place] < rows[place + 1])


def test_words_that_were_looked_for_are_kept_up_to_a_number_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("defiyield_assets.console.pool_table.KEPT_WORDS", 2)
    table = table_of([plain(name=name, pool_id=name) for name in ("USDC", "usdt", "DAI")])
    for _ in range(2):
        for words, found in (
            (("usd",), [0, 1]),
            (("usd", "C"), [0]),
            (("dai",), [2]),
            (("USD",), [0, 1]),
            (("no",), []),
        ):
            assert sorted(table.rows(Wanted(words), "name").tolist()) == found
            assert set(table._found) >= {word.lower() for word in words}
            assert len(table._found) <= 2
    table.rows(Wanted(("a",)), "name")
    kept = table._found["a"]
    for words in (("b",), ("a",), ("c",), ("a",)):
        table.rows(Wanted(words), "name")
    assert table._found["a"] is kept, "what is asked for goes last"


@QUICK
@given(
    day=DAY,
    words=st.lists(st.sampled_from(["a", "B", "0", "p1", "ł"]), max_size=3),
    verdict=st.sampled_from(["", *VERDICTS]),
    code=st.sampled_from(["", "TOO_SMALL", "STALE"]),
    protocol=st.sampled_from(["", "Ab", "a"]),
    figures=st.tuples(*[st.sampled_from([None, 0.0, 9.0, 10.0])] * 4),
    is_held=st.booleans(),
)
def test_what_is_found_is_what_a_loop_finds(
    day: list[Row],
    words: list[str],
    verdict: str,
    code: str,
    protocol: str,
    figures: tuple[float | None, ...],
    is_held: bool,
) -> None:
    """Every condition holds of every row that is found, and no other row has all of them."""
    group, least, most, size = figures
    whole = None if group is None else int(group)
    wanted = Wanted(tuple(words), verdict, protocol, "", whole, code, least, most, size, is_held)

    def matches(row: Row) -> bool:
        return (
            all(any(word.lower() in row[name].lower() for name in SEARCHED) for word in words)
            and (not verdict or row[FLAGS[verdict]])
            and protocol in ("", row["protocol"])
            and (not code or code in row["codes"].split(","))
            and (group is None or row["pool_group"] == group)
            and (least is None or row["apy"] >= least)
            and (most is None or row["apy"] <= most)
            and (size is None or row["size_usd"] >= size)
            and (not is_held or row["is_held"])
        )

    table = table_of(day)
    found = sorted(table.pool_id[table.rows(wanted, "apy")])
    assert found == sorted(row["pool_id"] for row in day if matches(row))


def test_a_whole_address_finds_the_pools_of_that_token() -> None:
    """In any case, beside other words; a part of one finds nothing, and an id is found by it as before."""
    one, other = f"0x{'ab' * 20}", f"0x{'12' * 20}"
    table = table_of(
        [
            plain(pool_id="first", name="USDC", tokens=[one]),
            plain(pool_id="both", name="USDC-DAI", tokens=[other, one]),
            plain(pool_id="none"),
            plain(pool_id=f"{one}-ethereum"),
        ]
    )

    def found(*words: str) -> list[str]:
        return sorted(table.pool_id[table.rows(Wanted(words), "name")])

    assert found(one) == found(one.upper()) == sorted(["first", "both", f"{one}-ethereum"])
    assert found(other) == found(other, "usdc") == ["both"]
    assert found(one[:-1]) == [f"{one}-ethereum"]
    assert found(other[:-1]) == found(other[2:]) == found(f"{other}1") == found(f'"{other}"') == []


def test_a_number_is_not_sorted_as_a_text() -> None:
    """9 is less than 10, and what is unknown comes behind both, whichever way it goes."""
    table = table_of([plain(pool_id="none", apy=nan), plain(pool_id="ten", apy=10.0), plain(pool_id="nine", apy=9.0)])
    assert list(table.pool_id[table.rows(Wanted(), "apy")]) == ["nine", "ten", "none"]
    assert list(table.pool_id[table.rows(Wanted(), "apy", is_descending=True)]) == ["ten", "nine", "none"]


@pytest.mark.parametrize(("place", "verdict"), list(enumerate(VERDICTS)))
def test_the_verdict_of_a_row_is_how_far_it_came(place: int, verdict: str) -> None:
    assert table_of([plain(verdict=float(place))]).verdict(0) == verdict
