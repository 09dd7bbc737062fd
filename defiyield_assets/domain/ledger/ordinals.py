"""The rank that gives every transfer of a transaction a name, because the vendors give no log index.

Lives here: `ordinal` of `account_transactions` and the union of several wallets' views of the chain. Not here: fetching
those views (sources/etherscan.py, sources/ethplorer.py) or what the transfers mean (postings.py).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

_GROUP = ["chain_id", "tx_hash", "kind"]
_RANKED = ["token_address", "from_address", "to_address", "value"]


def assign_ordinals(frame: pd.DataFrame) -> pd.DataFrame:
    """Copy of the frame with `ordinal` = rank by (token, from, to, value) within (chain, transaction, kind), from 0.

    Equal rows are numbered consecutively, so the result does not depend on the order of the rows (but for which of two
    equal rows comes first). Row order and index stay. `value` is a non-negative python int of up to 256 bits.
    """
    groups = list(zip(*(frame[name].tolist() for name in _GROUP), strict=True))
    counts = Counter(groups)
    ordinals = [0] * len(groups)
    if len(counts) < len(groups):
        ranked = [frame[name].tolist() for name in _RANKED]
        shared: dict[tuple[Any, ...], list[int]] = {}
        for place, group in enumerate(groups):
            if counts[group] > 1:
                shared.setdefault(group, []).append(place)
        for places in shared.values():
            places.sort(key=lambda place: [column[place] for column in ranked])
            for ordinal, place in enumerate(places):
                ordinals[place] = ordinal
    numbered = frame.copy(deep=False)  # the new column alone is its own: histories are large
    numbered["ordinal"] = pd.Series(ordinals, dtype="int64", index=frame.index)
    return numbered


def merge_views(views: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Union of several wallets' views of the same blocks, with ordinals that hold for the union.

    A transfer between two of our wallets is in both views and is kept once; two equal transfers of one transaction are
    in each view twice and are kept twice (so: per distinct transfer the largest count of any view). Ordinals of a
    single view must not be stored when another view sees more transfers of the same transaction. `views` are frames
    with the columns of `account_transactions`; at least one.
    """
    filled = [view for view in views if not view.empty]
    if not filled:
        return assign_ordinals(views[0])
    numbered = assign_ordinals(filled[0] if len(filled) == 1 else _first_seen(filled))
    return numbered.sort_values([*_GROUP, "ordinal"], ignore_index=True)


def _first_seen(views: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all views, those that an earlier view has already left out; the n-th of equal ones is its n-th.

    Only transactions that several views tell of are looked at row by row.
    """
    told = Counter(tx_hash for view in views for tx_hash in set(view["tx_hash"]))
    seen: set[tuple[Any, ...]] = set()
    parts = []
    for view in views:
        places = [place for place, tx_hash in enumerate(view["tx_hash"]) if told[tx_hash] > 1]
        copies: Counter[tuple[Any, ...]] = Counter()
        is_new = np.ones(len(view), dtype=bool)
        several = view.iloc[places]
        rows = zip(*(several[name].tolist() for name in (*_GROUP, *_RANKED)), strict=True)
        for place, row in zip(places, rows, strict=True):
            at = (*row, copies[row])
            copies[row] += 1
            is_new[place] = at not in seen
            seen.add(at)
        parts.append(view[is_new])
    return pd.concat(parts, ignore_index=True)
