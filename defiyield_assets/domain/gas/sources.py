"""Which source of gas counts on a day, what a later answer may change of it, and where two of them disagree.

Lives here: the one rule for every reader of `gas_fees_daily` (forecasts, ledger, plans), the rules for its writers, and
the cross-check. Not here: rows of a source (fees.py), asking (sources).
"""

import numpy as np
import pandas as pd

ETHGASTRACKER = "ethgastracker"
ETH_FEE_HISTORY = "eth_fee_history"
PRIORITY = (ETHGASTRACKER, ETH_FEE_HISTORY)
"""The vendor first, the node as its substitute; any other source comes last, by name."""
MIN_HOURS = 20
"""Hours of a day that a source must have seen to come first; 20 of 24 still hold day and night."""
AGREEMENT = 0.10
"""Relative difference of two sources' mean base fee of an hour that is still agreement: both are means over the same
blocks, but the node's hours are cut by interpolated times and the vendor's rounding is not known."""
MIN_DIFFERENCE_GWEI = 0.02
"""Below this, a difference is rounding and not worth a word: a plan of ten transactions costs cents more."""


def prevailing_fees(gas_daily: pd.DataFrame) -> pd.DataFrame:
    """The rows of `gas_fees_daily` of the one source that counts on each day, all its kinds; row order stays.

    The first by `PRIORITY` that saw at least `MIN_HOURS`; where none did, the one that saw most, then by `PRIORITY`.
    Kinds of two sources are never combined within a day, so that a base fee is never topped with another's price.
    """
    if gas_daily.empty:
        return gas_daily
    seen = gas_daily.groupby(["date", "source"])["n_hours"].max().reset_index()
    rank = {source: place for place, source in enumerate(PRIORITY)}
    seen["rank"] = seen["source"].map(rank).fillna(len(PRIORITY))
    seen["has_enough"] = seen["n_hours"] >= MIN_HOURS
    seen["short"] = np.where(seen["has_enough"], 0, -seen["n_hours"].astype(int))
    order = ["date", "has_enough", "short", "rank", "source"]
    first = seen.sort_values(order, ascending=[True, False, True, True, True]).drop_duplicates("date")
    chosen = set(zip(first["date"], first["source"], strict=True))
    counts = [pair in chosen for pair in zip(gas_daily["date"], gas_daily["source"], strict=True)]
    return gas_daily[counts].reset_index(drop=True)


def of_unknown_days(told: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The rows told of a (date, kind) of which `known` has no row of any source, with a fresh index.

    A day with gas may have been planned upon: a later answer must not give it another source.
    """
    taken = set(zip(known["date"], known["kind"], strict=True))
    is_new = [pair not in taken for pair in zip(told["date"], told["kind"], strict=True)]
    return told[is_new].reset_index(drop=True)


def without_poorer_days(told: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The hourly rows told, without days of a source of which `known` has more rows, with a fresh index.

    An answer's reach ends in the middle of a day: what it still tells of that day replaces no whole one.
    """
    pairs = ["date", "source"]
    before = known.groupby(pairs).size().to_dict()
    n_rows = told.groupby(pairs)["hour"].transform("size")
    n_before = [before.get(pair, 0) for pair in zip(told["date"], told["source"], strict=True)]
    return told[n_rows >= n_before].reset_index(drop=True)


def fee_disagreements(
    hourly: pd.DataFrame, tolerance: float = AGREEMENT, minimum_gwei: float = MIN_DIFFERENCE_GWEI
) -> tuple[pd.DataFrame, int]:
    """Hours whose mean base fee two sources tell differently, and how many hours both tell at all.

    Columns: hour, first_source, second_source (by priority), first_gwei, second_gwei, difference (fraction of the
    first). A difference counts when it is beyond `tolerance` of the larger and beyond `minimum_gwei`. Effective gas
    prices are not compared: one source's median over transactions is not the other's base fee plus a percentile.
    """
    columns = ["hour", "first_source", "second_source", "first_gwei", "second_gwei", "difference"]
    base = hourly[(hourly["kind"] == "base_fee") & hourly["mean_gwei"].notna()]
    rank = {source: place for place, source in enumerate(PRIORITY)}
    names = sorted(set(base["source"]), key=lambda name: (rank.get(name, len(rank)), name))[:2]
    if len(names) < 2:
        return pd.DataFrame(columns=columns), 0
    first, second = (base[base["source"] == name].set_index("hour")["mean_gwei"].astype(float) for name in names)
    both = pd.DataFrame({"first_gwei": first, "second_gwei": second}).dropna().reset_index()
    gap = (both["second_gwei"] - both["first_gwei"]).abs()
    larger = both[["first_gwei", "second_gwei"]].max(axis=1)
    apart = both[(gap > tolerance * larger) & (gap > minimum_gwei)].copy()
    apart["difference"] = apart["second_gwei"] / apart["first_gwei"].where(apart["first_gwei"] > 0) - 1.0
    apart = apart.assign(first_source=names[0], second_source=names[1])
    return apart[columns].reset_index(drop=True), len(both)
