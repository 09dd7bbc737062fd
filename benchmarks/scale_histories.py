"""Seeded histories of thousands of pools, and all else that a day of selection reads, at any size.

Lives here: numpy walks with revisions, gaps, births, stuck and spiking pools, and their rows in a warehouse. Not here:
what is measured (scale.py). Prices, lists and forecasts are made up but pass the rules: every pool gets to the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.policy import Policy
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import Installation

LAST = date(2025, 6, 3)
SEED = 20250603
POOLS_AT_ONCE = 1_000
BACKFILLED_SHARE = 0.5
"""Of the days, those that a pool's chart told at once, all seen late; the others were seen day by day."""
LATE_BIRTHS, GAPS, NULL_APYS, SPIKES, JUMPS = 0.1, 0.003, 0.004, 0.002, 0.0005
"""Shares: of pools that begin within the range, of points where a gap of 1 to 6 days begins, …"""
STUCK_POOLS = 0.02
REVISED_POOLS, REVISIONS = 0.1, 4
"""So many pools have up to so many points that were changed afterwards; a fiftieth of them ten times as many."""
REWARDED, LENT, PAIRED = 0.4, 0.3, 0.15
"""Shares of pools that pay rewards, that tell supply and borrow, that hold two tokens."""
MICROSECONDS = 1_000_000


def pool_ids(n_pools: int) -> npt.NDArray[np.object_]:
    """Ids of the vendor's shape, in no order that means anything."""
    numbers = np.random.default_rng(SEED).permutation(n_pools)
    return np.array([f"{number:08x}-0000-4000-8000-{number * 7919 % 16**12:012x}" for number in numbers], dtype=object)


def days_of(n_days: int) -> DayRange:
    """So many days that end on LAST."""
    return DayRange(LAST - timedelta(days=n_days - 1), LAST)


@dataclass(frozen=True)
class Walks:
    """Matrices [pool, day] of what the vendor told at first."""

    apy: npt.NDArray[np.float64]
    reward: npt.NDArray[np.float64]
    tvl: npt.NDArray[np.float64]
    has_point: npt.NDArray[np.bool_]

    @classmethod
    def made(cls, n_pools: int, n_days: int, random: np.random.Generator) -> "Walks":
        """Mean-reverting rates and sizes, with the troubles that the module names."""
        shape = (n_pools, n_days)
        apy = np.exp(np.log(random.uniform(0.02, 0.15, (n_pools, 1))) + _reverting(random.normal(0, 0.05, shape)))
        tvl = random.uniform(1e6, 5e8, (n_pools, 1)) * np.exp(_reverting(random.normal(0, 0.02, shape)))
        apy[random.random(shape) < SPIKES] *= 40.0
        tvl[random.random(shape) < JUMPS] *= 9.0
        stuck = random.random(n_pools) < STUCK_POOLS
        since = random.integers(0, n_days, n_pools)
        for pool in np.flatnonzero(stuck):
            apy[pool, since[pool] :], tvl[pool, since[pool] :] = apy[pool, since[pool]], tvl[pool, since[pool]]
        apy[random.random(shape) < NULL_APYS] = np.nan
        has_point = np.ones(shape, dtype=bool)
        for pool, day in np.argwhere(random.random(shape) < GAPS):
            has_point[pool, day : day + int(random.integers(1, 7))] = False
        born = np.where(random.random(n_pools) < LATE_BIRTHS, random.integers(0, n_days, n_pools), 0)
        has_point &= np.arange(n_days)[None, :] >= born[:, None]
        share = np.where(random.random((n_pools, 1)) < REWARDED, random.uniform(0, 0.8, (n_pools, 1)), np.nan)
        return cls(apy, apy * share, tvl, has_point)


def _reverting(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A walk that forgets a twentieth of itself every day."""
    walk = np.zeros_like(steps)
    for day in range(1, steps.shape[1]):
        walk[:, day] = 0.95 * walk[:, day - 1] + steps[:, day]
    return walk


def histories(n_pools: int, n_days: int) -> Iterator[pd.DataFrame]:
    """Rows of `pool_histories`, some pools at a time."""
    ids, days = pool_ids(n_pools), np.array(list(days_of(n_days)), dtype=object)
    stamps = np.array([np.datetime64(market_stamp(day).replace(tzinfo=None), "us") for day in days])
    turn = int(n_days * BACKFILLED_SHARE)
    seen = np.where(np.arange(n_days) < turn, stamps[turn], stamps)
    for number, start in enumerate(range(0, n_pools, POOLS_AT_ONCE)):
        some = ids[start : start + POOLS_AT_ONCE]
        random = np.random.default_rng([SEED, number])
        walks = Walks.made(len(some), n_days, random)
        pool, day = np.nonzero(walks.has_point)
        first = pd.DataFrame(
            {
                "pool_id": some[pool],
                "date": days[day],
                "revision": 0,
                "apy": walks.apy[pool, day],
                "apy_base": (walks.apy - np.nan_to_num(walks.reward))[pool, day],
                "apy_reward": walks.reward[pool, day],
                "tvl_usd": walks.tvl[pool, day],
                "il_7d": np.nan,
                "is_provisional": False,
                "source": np.where(np.arange(n_days) < turn, "chart", "snapshot").astype(object)[day],
                "seen_at": seen[day],
            }
        )
        rows = pd.concat([first, _revised(first, random)], ignore_index=True)
        yield rows.assign(seen_at=rows["seen_at"].dt.tz_localize("UTC"))


def _revised(first: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    """Second sights of some points of some pools, one to forty days after the first."""
    codes, known = pd.factorize(first["pool_id"])
    wanted = np.where(random.random(len(known)) < REVISED_POOLS, random.integers(1, REVISIONS + 1, len(known)), 0)
    wanted = np.where(random.random(len(known)) < 0.02, wanted * 10, wanted)
    share = wanted[codes] / np.bincount(codes)[codes]
    changed = first[random.random(len(first)) < share].copy()
    later = random.integers(1, 41, len(changed)).astype("timedelta64[D]")
    return changed.assign(
        revision=1, apy=changed["apy"] * random.uniform(0.9, 1.1, len(changed)), seen_at=changed["seen_at"] + later
    )


# --- everything else that the day reads ----------------------------------------------------------------------------
def prepare(folder: Path, url: str | None, n_pools: int) -> Installation:
    """A simulated installation whose last day lists so many pools, all of which pass the pre-filter; no histories."""
    installation = Installation(folder, "simulated", url)
    folder.mkdir(parents=True, exist_ok=True)
    installation.warehouse.migrate()
    installation.run(LAST, ["policy_snapshot", "instruments", "pool_aliases", "pool_contracts"])
    policy = installation.warehouse.policy(LAST)
    day = DayRange.of(LAST)
    listed = _pools(policy, n_pools)
    for table, frame in (
        (schema.pools, listed),
        (schema.daily_bars, _bars(policy)),
        (schema.pool_forecasts, _forecasts(listed)),
    ):
        writes.replace_slice(installation.engine, table, frame, day)
    installation.run(LAST, ["token_registry"])
    return installation


def _frame(table: sa.Table, n_rows: int, **columns: object) -> pd.DataFrame:
    """Rows of a table, null where nothing is said."""
    told = {column.name: columns.get(column.name) for column in table.columns}
    frame = pd.DataFrame(told, index=range(n_rows))
    return frame.astype({column.name: float for column in table.columns if isinstance(column.type, sa.Float)})


def _pools(policy: Policy, n_pools: int) -> pd.DataFrame:
    random = np.random.default_rng(SEED + 1)
    protocols = sorted(name for name in policy.protocols if name != "pendle")
    tokens = [
        (address, token.symbol)
        for (chain, address), token in sorted(policy.token_by_address().items())
        if chain == "Ethereum" and token.peg in ("usd", "accruing") and token.access == "open" and token.exit_days == 0
    ]
    chosen = random.integers(0, len(tokens), n_pools)
    lent = random.random(n_pools) < LENT
    paired = ~lent & (random.random(n_pools) < PAIRED)
    addresses = [
        [tokens[one][0], tokens[(one + 1) % len(tokens)][0]] if both else [tokens[one][0]]
        for one, both in zip(chosen, paired, strict=True)
    ]
    tvl = random.uniform(1e6, 5e8, n_pools)
    return _frame(
        schema.pools,
        n_pools,
        snapshot_date=LAST,
        pool_id=pool_ids(n_pools),
        chain="Ethereum",
        project=np.array(protocols, dtype=object)[random.integers(0, len(protocols), n_pools)],
        symbol=np.array([tokens[one][1] for one in chosen], dtype=object),
        tvl_usd=tvl,
        total_supply_usd=np.where(lent, tvl * 3, np.nan),
        total_borrow_usd=np.where(lent, tvl * 2, np.nan),
        apy=random.uniform(0.02, 0.15, n_pools),
        exposure=np.where(paired, "multi", "single").astype(object),
        is_stablecoin=True,
        underlying_addresses_json=np.array([str(some).replace("'", '"').replace(" ", "") for some in addresses]),
        reward_tokens_json="[]",
        observed_at=pd.Timestamp(market_stamp(LAST)),
        is_stale=False,
    ).astype({"underlying_addresses_json": object})


def _bars(policy: Policy) -> pd.DataFrame:
    """Bars of the day, at par and with capitalisations that suffice, of every token of the policy."""
    ids = sorted({token.instrument_id for token in policy.tokens})
    return _frame(
        schema.daily_bars,
        len(ids),
        instrument_id=np.array(ids, dtype=object),
        instrument_type="crypto",
        date=LAST,
        open=1.0,
        high=1.0,
        low=1.0,
        close=1.0,
        market_cap_usd=1e9,
        adj_factor=1.0,
        split_factor=1.0,
        source="coinmarketcap",
        quality="full",
    )


def _forecasts(listed: pd.DataFrame) -> pd.DataFrame:
    """Three horizons of total APY for every pool, as the forecasts of the day."""
    n, horizons = len(listed), (1, 7, 30)
    mean = np.repeat(listed["apy"].to_numpy(), len(horizons))
    return _frame(
        schema.pool_forecasts,
        n * len(horizons),
        pool_id=np.repeat(listed["pool_id"].to_numpy(dtype=object), len(horizons)),
        as_of=LAST,
        horizon_days=np.tile(np.array(horizons), n),
        target="apy",
        mean=mean,
        p10=mean * 0.8,
        p50=mean,
        p90=mean * 1.2,
        model="last_value",
        model_version="1",
        tier="panel",
        trained_from=LAST - timedelta(days=60),
        trained_to=LAST,
        n_obs=60,
        is_hindsight=False,
    )
