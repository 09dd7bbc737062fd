"""Growth of a position in a day, and the rank of transfers within a transaction."""

import math
from collections.abc import Sequence
from decimal import Decimal, localcontext

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.ordinals import assign_ordinals, merge_views
from defiyield_assets.domain.ledger.rates import accrue, daily_factor


def test_accrue_is_the_floor_of_the_365th_root() -> None:
    assert accrue(10**12, 0.05) == 1_000_133_680_617
    assert accrue(1_000_000 * 10**6, 0.0725) == math.floor(1_000_000 * 10**6 * 1.0725 ** (1 / 365))
    assert [accrue(7, apy) for apy in (0.0, 0.05, -1.0, -3.0)] == [7, 7, 0, 0]
    assert accrue(0, 5.0) == 0
    assert accrue(2**256 - 1, 0.0) == 2**256 - 1
    assert accrue(100, -0.5) == 99


@given(apy=st.floats(-0.99, 20.0))
def test_a_year_of_days_is_the_apy(apy: float) -> None:
    with localcontext() as context:
        context.prec = 60
        year = daily_factor(apy) ** 365
        assert abs(year - (1 + Decimal(repr(apy)))) < Decimal("1e-50")


@given(amount=st.integers(0, 2**256 - 1), apy=st.floats(0.0, 4_000.0))
def test_growth_is_exact_and_never_loses(amount: int, apy: float) -> None:
    grown = accrue(amount, apy)
    with localcontext() as context:
        context.prec = 400
        exact = Decimal(amount) * daily_factor(apy)
        assert 0 <= exact - grown < 1
    assert grown >= amount


@pytest.mark.parametrize("apy", [math.nan, math.inf, -math.inf])
def test_an_apy_is_finite(apy: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        accrue(1, apy)


def test_a_position_is_not_negative() -> None:
    with pytest.raises(ValueError, match="-1"):
        accrue(-1, 0.1)


ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 10]),
        st.sampled_from(["0xa", "0xb"]),
        st.sampled_from(["token", "native"]),
        st.sampled_from(["0x1", "0x2"]),
        st.sampled_from(["0x8", "0x9"]),
        st.sampled_from(["0x8", "0x9"]),
        st.sampled_from([0, 1, 9, 10, 2**64, 2**255, 2**256 - 1]),
    ),
    max_size=12,
)
NAMES = ["chain_id", "tx_hash", "kind", "token_address", "from_address", "to_address", "value"]


def rows_frame(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    data = {name: pd.Series([row[at] for row in rows], dtype=object) for at, name in enumerate(NAMES)}
    return pd.DataFrame(data, columns=NAMES)


@given(rows=ROWS, seed=st.randoms())
def test_ordinals_are_the_rank_by_plain_tuple_order_whatever_the_row_order(
    rows: list[tuple[object, ...]], seed
) -> None:  # type: ignore[no-untyped-def]
    expected = {}
    for group in {row[:3] for row in rows}:
        for rank, row in enumerate(sorted(row[3:] for row in rows if row[:3] == group)):  # type: ignore[type-var]
            expected[(*group, rank)] = row
    seed.shuffle(rows)
    frame = assign_ordinals(rows_frame(rows))
    found = {(*row[:3], row[-1]): row[3:-1] for row in frame.itertuples(index=False, name=None)}
    assert found == expected
    assert list(frame.columns) == [*NAMES, "ordinal"]
    assert list(frame[NAMES].itertuples(index=False, name=None)) == rows


def test_ordinals_overwrite_and_keep_the_index() -> None:
    frame = rows_frame([(1, "0xa", "token", "0x1", "0x8", "0x9", value) for value in (5, 3)])
    frame = assign_ordinals(frame.assign(ordinal=9).set_axis([4, 2]))
    assert list(frame["ordinal"]) == [1, 0]
    assert list(frame.index) == [4, 2]


def test_views_of_two_wallets_are_one_history() -> None:
    shared = (1, "0xa", "token", "0x1", "0x8", "0x9", 5)
    only_first = (1, "0xa", "token", "0x1", "0x7", "0x8", 5)
    only_second = (1, "0xa", "token", "0x1", "0x9", "0x6", 5)
    merged = merge_views([rows_frame([only_first, shared, shared]), rows_frame([shared, shared, only_second])])
    assert list(merged["from_address"]) == ["0x7", "0x8", "0x8", "0x9"]
    assert list(merged["ordinal"]) == [0, 1, 2, 3]
    assert merge_views([rows_frame([]), rows_frame([])]).empty
