"""Today's `/pools` and `/lendBorrow` answers as the `pools` table.

Lives here: joining, aliases, staleness and the check that a snapshot is whole. Not here: fetching (sources),
histories (histories.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

POOL_COLUMNS = (
    "snapshot_date",
    "pool_id",
    "chain",
    "project",
    "symbol",
    "pool_meta",
    "tvl_usd",
    "total_supply_usd",
    "total_borrow_usd",
    "apy",
    "apy_base",
    "apy_reward",
    "exposure",
    "il_risk",
    "is_stablecoin",
    "underlying_addresses_json",
    "reward_tokens_json",
    "observed_at",
    "is_stale",
)
STALE_AFTER = timedelta(days=1)
"""A vendor row that is older than this when it is fetched is stale."""
MIN_SHARE_OF_PREVIOUS = 0.5
"""A snapshot with fewer than this share of the pools of the day before is taken for truncated."""


def aliases_in_force(pool_aliases: pd.DataFrame, day: date) -> dict[str, str]:
    """Old pool id -> today's id, chains followed to their end; rows of `pool_aliases` with `since` <= day.

    Raises ConfigurationError when aliases run in a circle.
    """
    known = pool_aliases[pool_aliases["since"] <= day] if len(pool_aliases) else pool_aliases
    direct = dict(zip(known["old_id"], known["new_id"], strict=True)) if len(known) else {}
    resolved = {}
    for old in direct:
        seen, current = {old}, direct[old]
        while current in direct:
            if current in seen:
                raise ConfigurationError(f"pool_aliases: {old} leads back to itself; remove one row of the circle")
            seen.add(current)
            current = direct[current]
        resolved[old] = current
    return resolved


def under_todays_ids(rows: pd.DataFrame, aliases: Mapping[str, str], per: Sequence[str]) -> pd.DataFrame:
    """Rows with a pool_id under today's ids; where several ids of one pool tell of the same `per`, one of them counts.

    An alias often comes into force days after both ids were listed. All rows of one pool and one `per` (further
    columns) then come from the id that is today's own, without one from the first old id.
    """
    stored = rows["pool_id"]
    is_old = stored.isin(list(aliases))
    if not is_old.any():
        return rows
    renamed = rows.assign(pool_id=stored.map(lambda pool_id: aliases.get(pool_id, pool_id)))
    ranked = renamed.assign(stored=stored, is_old=is_old).reset_index(drop=True).sort_values(["is_old", "stored"])
    counts = ranked.groupby(["pool_id", *per], sort=False, dropna=False)["stored"].transform("first").sort_index()
    kept: pd.DataFrame = renamed.loc[counts.to_numpy() == stored.to_numpy()]
    return kept.reset_index(drop=True)


def build_pools(
    pool_rows: pd.DataFrame,
    lend_borrow_rows: pd.DataFrame,
    day: date,
    fetched_at: datetime,
    aliases: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The `pools` slice of one day from the parsed vendor answers.

    Rates are fractions and kept as they are, however absurd. A negative or infinite size becomes unknown. A list of
    underlying tokens with a hole in it is not a list: it becomes []. Rows under an old pool id get today's id; where
    both exist the row that already carries today's id wins, and of several rows of one id the largest is kept.
    `is_stale` is set where the vendor stamps its rows and the stamp is more than a day older than `fetched_at`;
    `observed_at` is `fetched_at`.
    """
    if pool_rows.empty:
        return pd.DataFrame(columns=list(POOL_COLUMNS))
    ids = pool_rows["pool_id"].astype(str)
    renamed = ids.map(dict(aliases or {}))
    frame = pd.DataFrame(
        {
            "snapshot_date": day,
            "pool_id": renamed.fillna(ids),
            "chain": pool_rows["chain"],
            "project": pool_rows["project"],
            "symbol": pool_rows["symbol"],
            "pool_meta": _text(pool_rows, "pool_meta"),
            "tvl_usd": _size(pool_rows["tvl_usd"]),
            "apy": _number(pool_rows["apy"]),
            "apy_base": _number(pool_rows["apy_base"]),
            "apy_reward": _number(pool_rows["apy_reward"]),
            "exposure": _text(pool_rows, "exposure"),
            "il_risk": _text(pool_rows, "il_risk"),
            "is_stablecoin": _text(pool_rows, "is_stablecoin"),
            "underlying_addresses_json": [_address_list(value) for value in pool_rows["underlying_addresses"]],
            "reward_tokens_json": [_address_list(value) for value in pool_rows["reward_tokens"]],
            "observed_at": fetched_at,
            "is_stale": _is_stale(pool_rows, fetched_at),
            "is_renamed": renamed.notna(),
        }
    )
    frame = frame.sort_values(
        ["pool_id", "is_renamed", "tvl_usd", "apy", "symbol"], ascending=[True, True, False, False, True], kind="stable"
    ).drop_duplicates("pool_id")
    frame = frame.merge(_legs(lend_borrow_rows, aliases or {}), on="pool_id", how="left")
    return frame[list(POOL_COLUMNS)].reset_index(drop=True)


def require_whole_snapshot(n_pools: int, n_previous: int | None, day: date) -> None:
    """Raise SuspiciousDataError when a snapshot is empty or lost more than half of the pools of the day before."""
    if n_pools == 0:
        raise SuspiciousDataError(f"pools of {day}: the snapshot holds no pool; nothing was written")
    if n_previous and n_pools < MIN_SHARE_OF_PREVIOUS * n_previous:
        raise SuspiciousDataError(
            f"pools of {day}: the snapshot holds {n_pools} pools, the one before {n_previous}; "
            f"below {MIN_SHARE_OF_PREVIOUS:.0%} it is taken for truncated and nothing was written"
        )


def _legs(rows: pd.DataFrame, aliases: Mapping[str, str]) -> pd.DataFrame:
    """Supply and borrow by today's pool id, one row each."""
    if rows.empty:
        return pd.DataFrame({"pool_id": pd.Series(dtype=object), "total_supply_usd": [], "total_borrow_usd": []})
    ids = rows["pool_id"].astype(str)
    renamed = ids.map(dict(aliases))
    legs = pd.DataFrame(
        {
            "pool_id": renamed.fillna(ids),
            "total_supply_usd": _size(rows["total_supply_usd"]),
            "total_borrow_usd": _size(rows["total_borrow_usd"]),
            "is_renamed": renamed.notna(),
        }
    )
    order = ["pool_id", "is_renamed", "total_supply_usd", "total_borrow_usd"]
    legs = legs.sort_values(order, ascending=[True, True, False, False], kind="stable").drop_duplicates("pool_id")
    return legs.drop(columns="is_renamed")


def _number(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    return numbers.where(np.isfinite(numbers))


def _size(values: pd.Series) -> pd.Series:
    numbers = _number(values)
    return numbers.where(numbers >= 0)


def _text(rows: pd.DataFrame, column: str) -> pd.Series:
    """An optional column with None for what is missing."""
    if column not in rows:
        return pd.Series([None] * len(rows), index=rows.index, dtype=object)
    values = rows[column].astype(object)
    return pd.Series([None if pd.isna(value) else value for value in values], index=rows.index, dtype=object)


def _address_list(value: object) -> str:
    """Lower-case addresses as JSON; [] when the list is missing or has a hole."""
    if not isinstance(value, list | tuple | np.ndarray):
        return "[]"
    if not all(isinstance(item, str) and item.strip() for item in value):
        return "[]"
    return canonical_json([item.strip().lower() for item in value])


def _is_stale(rows: pd.DataFrame, fetched_at: datetime) -> pd.Series:
    if "observed_at" not in rows:
        return pd.Series(False, index=rows.index)
    stamps = pd.to_datetime(rows["observed_at"], utc=True, errors="coerce")
    return (stamps < pd.Timestamp(fetched_at) - STALE_AFTER).fillna(False).astype(bool)
