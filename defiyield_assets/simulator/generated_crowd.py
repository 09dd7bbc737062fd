"""The crowd of the generated market: thousands of pools on many chains that no treasury can use.

Lives here: which pools of the crowd exist and their character. Not here: the pools that a treasury can use
(generated_catalogue.py) or daily numbers (generated_pools.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np
import numpy.typing as npt

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.simulator.generated_character import LENDING, TRADING, PoolCharacter, pool_id
from defiyield_assets.simulator.market import ETHEREUM
from defiyield_assets.simulator.pool_panel import PoolFacts

CROWD_POOLS = 4_400
_PAIR_SHARE, _LENDING_SHARE, _UNNAMED_SHARE = 0.72, 0.5, 0.05
_OLD_SHARE = 0.62
"""Pools that exist from the first day on; the others are born later."""
_MEAN_LIFE_DAYS = 5 * 365
_IDLE_SHARES = (0.24, 0.18)
"""Pools without any yield: pairs, single-sided ones."""
_LEAST_LIFE_DAYS = 45
_RENAMED_SYMBOLS = 12
_MOVED_POOLS = 60
"""Pools that change their id once, some time in the market's life."""
_CHAINS = (ETHEREUM, "Arbitrum", "Base", "BSC", "Polygon", "Solana", "Optimism", "Avalanche")
_CHAIN_WEIGHTS = (0.28, 0.16, 0.16, 0.12, 0.08, 0.08, 0.07, 0.05)
_PROJECTS = (
    *("uniswap-v3", "aave-v3", "curve-dex", "pancakeswap-amm", "aerodrome-v1", "raydium-amm", "velodrome-v2"),
    *("gmx-v2-perps", "beefy", "stargate-v3", "moonwell-lending", "venus-core-pool", "uniswap-v2", "sushiswap"),
    *("camelot-v3", "joe-v2"),
)
_SYMBOLS = (
    *("WETH", "WBTC", "ARB", "SOL", "BNB", "PEPE", "LINK", "CRV", "LDO", "AVAX", "USDC", "USDT", "CBBTC", "AERO", "OP"),
)
_STABLE = ("USDC", "USDT")

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@cache
def _token(name: str) -> str:
    return stable_address("token", name)


def _log_normal(rng: np.random.Generator, median: Floats, spread: Floats) -> Floats:
    """One draw per pool: its kind's median and spread of logarithms."""
    return np.exp(np.log(median) + spread * rng.standard_normal(len(median)))


@dataclass(frozen=True)
class _Draws:
    """What chance decides of the crowd, one figure per pool."""

    chains: Integers
    projects: Integers
    symbols: Integers
    is_pair: Flags
    is_lending: Flags
    is_unnamed: Flags
    is_idle: Flags
    levels: Floats
    sizes: Floats
    births: Integers
    lives: Floats
    reward_shares: Floats
    reward_levels: Floats
    activity: Floats
    keeps: Floats
    renamed: frozenset[int]
    moves: Mapping[int, int]

    @classmethod
    def of(cls, rng: np.random.Generator, span: int) -> "_Draws":
        """All draws, in a fixed order. `span`: days of the market's life."""
        count = CROWD_POOLS
        chains = rng.choice(len(_CHAINS), count, p=_CHAIN_WEIGHTS)
        projects, symbols = rng.integers(0, len(_PROJECTS), count), rng.integers(0, len(_SYMBOLS), (count, 2))
        is_pair = (rng.random(count) < _PAIR_SHARE) & (symbols[:, 0] != symbols[:, 1])

        def kind(pair: float, single: float) -> Floats:
            return np.where(is_pair, pair, single)

        is_lending, is_unnamed = rng.random(count) < _LENDING_SHARE, rng.random(count) < _UNNAMED_SHARE
        is_idle = rng.random(count) < kind(*_IDLE_SHARES)
        levels = _log_normal(rng, kind(3.5, 3.6), kind(1.85, 1.5))
        sizes = _log_normal(rng, kind(1.6e5, 9e5), kind(1.65, 2.1))
        births = np.where(rng.random(count) < _OLD_SHARE, 0, rng.integers(0, span, count))
        lives = rng.exponential(_MEAN_LIFE_DAYS, count)
        has_programmes = rng.random(count) < kind(0.42, 0.55)
        reward_levels = _log_normal(rng, kind(7.0, 0.9), kind(1.4, 0.9))
        activity = np.clip(_log_normal(rng, kind(1.0, 0.86), kind(0.65, 0.9)), 0.08, 4.0)
        keeps = rng.uniform(0.2, 0.85, count)
        renamed = rng.choice(count, _RENAMED_SYMBOLS, replace=False).tolist()
        moved = rng.choice(count, _MOVED_POOLS, replace=False).tolist()
        moves = dict(zip(moved, rng.integers(30, span, _MOVED_POOLS).tolist(), strict=True))
        return cls(
            chains=chains,
            projects=projects,
            symbols=symbols,
            is_pair=is_pair,
            is_lending=is_lending & ~is_pair,
            is_unnamed=is_unnamed,
            is_idle=is_idle,
            levels=np.where(is_idle, 0.0, levels),
            sizes=sizes,
            births=births,
            lives=lives,
            reward_shares=kind(0.85, 0.45) * has_programmes * ~is_idle,
            reward_levels=reward_levels,
            activity=activity,
            keeps=keeps,
            renamed=frozenset(renamed),
            moves=moves,
        )


def crowd(seed: int, demo_day: date, first: date, last: date) -> list[PoolCharacter]:
    """The crowd's pools in a fixed order. Its token addresses are made up, so none of them passes the pre-filter."""
    drawn = _Draws.of(np.random.default_rng([seed, 5]), (last - first).days)
    pools = []
    for i in range(CROWD_POOLS):
        is_pair, born = bool(drawn.is_pair[i]), first + timedelta(days=int(drawn.births[i]))
        pools.append(
            PoolCharacter(
                facts=_facts(seed, i, drawn, demo_day, first),
                liveliness=TRADING if is_pair else LENDING,
                born=born,
                died=min(born + timedelta(days=int(drawn.lives[i]) + _LEAST_LIFE_DAYS), last + timedelta(days=1)),
                level=float(drawn.levels[i]),
                size=float(drawn.sizes[i]),
                activity=float(drawn.activity[i]),
                spike_keep=float(drawn.keeps[i]),
                utilisation=0.6 if drawn.is_lending[i] else None,
                reward_share=float(drawn.reward_shares[i]),
                reward_level=float(drawn.reward_levels[i]),
            )
        )
    return pools


def _facts(seed: int, i: int, drawn: _Draws, demo_day: date, first: date) -> PoolFacts:
    """What the vendor says of one pool of the crowd."""
    is_pair, chain, project = bool(drawn.is_pair[i]), _CHAINS[drawn.chains[i]], _PROJECTS[drawn.projects[i]]
    names = [_SYMBOLS[k] for k in drawn.symbols[i].tolist()[: 2 if is_pair else 1]]
    symbol, moves = "-".join(names), drawn.moves.get(i)
    key = (project, chain, symbol, str(i))
    return PoolFacts(
        pool_id=pool_id(seed, *key),
        chain=chain,
        project=project,
        symbol=symbol,
        underlyings=None if drawn.is_unnamed[i] else tuple(_token(f"{chain}:{name}") for name in names),
        reward_tokens=(_token(f"{project} reward"),),
        is_stablecoin=all(name in _STABLE for name in names),
        il_risk="yes" if is_pair else "no",
        exposure="multi" if is_pair else "single",
        renamed_since=demo_day - timedelta(days=5) if i in drawn.renamed else None,
        symbol_before=f"{symbol}.OLD" if i in drawn.renamed else None,
        moved_since=None if moves is None else first + timedelta(days=moves),
        id_before=None if moves is None else pool_id(seed, *key, "before"),
    )
