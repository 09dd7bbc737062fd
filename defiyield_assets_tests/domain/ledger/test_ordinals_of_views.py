"""Ordinals and the union of views against a second implementation: sorting and counting by pandas."""

from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.ordinals import assign_ordinals, merge_views

GROUP, RANKED = ["chain_id", "tx_hash", "kind"], ["token_address", "from_address", "to_address", "value"]
ROWS = st.tuples(
    st.sampled_from([1, 10]),
    st.sampled_from(["0xa", "0xb"]),
    st.sampled_from(["token", "gas"]),
    st.sampled_from(["t", "u"]),
    st.sampled_from(["x", "y"]),
    st.sampled_from(["x", "y", ""]),
    st.sampled_from([0, 9, 10, 2**255, 2**256 - 1]),
)


def frame(rows: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*GROUP, *RANKED], dtype=object).astype({"chain_id": "int64"})


def ranked(view: pd.DataFrame) -> list[int]:
    keys = view[[*GROUP, *RANKED[:-1]]].assign(value=[f"{value:064x}" for value in view["value"]])
    keys = keys.reset_index(drop=True).sort_values([*GROUP, *RANKED], kind="stable")
    return [int(number) for number in keys.groupby(GROUP, sort=False).cumcount().sort_index()]


@given(st.lists(ROWS, max_size=12))
@settings(max_examples=100, deadline=None)
def test_an_ordinal_is_the_rank_within_transaction_and_kind(rows: list[Any]) -> None:
    view = frame(rows).set_axis([f"row {place}" for place in range(len(rows))]).assign(ordinal=-1)
    found = assign_ordinals(view)
    assert set(view["ordinal"]) <= {-1}, "the frame that was given is not changed"
    assert found["ordinal"].tolist() == ranked(view)
    assert found["ordinal"].dtype == "int64"
    assert found.index.equals(view.index)


@given(st.lists(st.lists(ROWS, max_size=8), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_union_keeps_of_equal_rows_as_many_as_the_view_that_has_most(views: list[list[Any]]) -> None:
    found = merge_views([frame(rows) for rows in views])
    most: dict[Any, int] = {}
    for rows in views:
        for row in rows:
            most[row] = max(most.get(row, 0), rows.count(row))
    told = list(zip(*(found[name] for name in (*GROUP, *RANKED)), strict=True))
    assert {row: told.count(row) for row in told} == most
    assert found["ordinal"].tolist() == ranked(found)
    keys = list(zip(*(found[name] for name in (*GROUP, "ordinal")), strict=True))
    assert keys == sorted(set(keys))
