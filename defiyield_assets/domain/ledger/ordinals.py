"""The rank that gives every transfer of a transaction a name, because the vendors give no log index.

Lives here: `ordinal` of `account_transactions` and the union of several wallets' views of the chain. Not here: fetching
those views (sources/etherscan.py, sources/ethplorer.py) or what the transfers mean (postings.py).
"""

from collections.abc import Sequence

import pandas as pd

_GROUP = ["chain_id", "tx_hash", "kind"]
_RANKED = ["token_address", "from_address", "to_address", "value"]
_HEX_DIGITS = 64
"""Hexadecimal digits of a 256-bit integer: padded to this width, text order is numeric order."""


def assign_ordinals(frame: pd.DataFrame) -> pd.DataFrame:
    """Copy of the frame with `ordinal` = rank by (token, from, to, value) within (chain, transaction, kind), from 0.

    Equal rows are numbered consecutively, so the result does not depend on the order of the rows (but for which of two
    equal rows comes first). Row order and index stay. `value` is a non-negative python int of up to 256 bits.
    """
    if frame.empty:
        return frame.assign(ordinal=pd.Series(dtype="int64"))
    keys = frame[[*_GROUP, *_RANKED[:-1]]].assign(value=[f"{value:0{_HEX_DIGITS}x}" for value in frame["value"]])
    keys = keys.reset_index(drop=True).sort_values([*_GROUP, *_RANKED], kind="stable")
    ordinal = keys.groupby(_GROUP, sort=False).cumcount().sort_index()
    return frame.assign(ordinal=ordinal.to_numpy())


def merge_views(views: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Union of several wallets' views of the same blocks, with ordinals that hold for the union.

    A transfer between two of our wallets is in both views and is kept once; two equal transfers of one transaction are
    in each view twice and are kept twice (so: per distinct transfer the largest count of any view). Ordinals of a
    single view must not be stored when another view sees more transfers of the same transaction. `views` are frames
    with the columns of `account_transactions`; at least one.
    """
    key = [*_GROUP, *_RANKED]
    numbered = [view.assign(_copy=view.groupby(key, sort=False, dropna=False).cumcount()) for view in views]
    filled = [view for view in numbered if not view.empty]
    if not filled:
        return assign_ordinals(views[0])
    merged = pd.concat(filled, ignore_index=True).drop_duplicates([*key, "_copy"]).drop(columns="_copy")
    return assign_ordinals(merged).sort_values([*_GROUP, "ordinal"], ignore_index=True)
