"""Seeded reference instances of the allocation benchmark: as many pools and tokens as asked, every rule in force.

Lives here: the market of an instance, in the tables that the day's plan reads. Not here: what is measured on them
(allocation.py) or the usual formulation beside it (allocation_pairwise.py).
"""

import random

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.utilisation import UtilisationCurve
from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.instances import ETH, Coin, Market, Pool, units

SIZES = ((20, 8), (50, 20), (200, 30), (1000, 40))
"""Pools and tokens of the reference instances (allocation.md, section Speed)."""
AUM_USD = 1_000_000.0
N_HELD = 5
CASH_SHARE = 0.7
N_TOKENS_WITHOUT_SLIPPAGE = 2
"""The first tokens convert at the rate alone, as the large stablecoins do."""


def reference_market(n_pools: int, n_tokens: int, seed: int) -> Market:
    """A fifth of the pools holds two tokens, a fifth three; five positions, cash in every token, all rules in force."""
    rng = random.Random(f"{n_pools}x{n_tokens}:{seed}")
    coins = [
        Coin(
            f"t{index}",
            decimals=rng.choice([6, 6, 8, 18]),
            price=round(rng.uniform(0.97, 1.08), 6),
            issuer=f"i{index // 2}",
            is_barred=index == n_tokens - 1,
            slippage=0.0 if index < N_TOKENS_WITHOUT_SLIPPAGE else rng.choice([0.0005, 0.002, 0.01]),
        )
        for index in range(n_tokens)
    ]
    widths = ([2] * (n_pools // 5) + [3] * (n_pools // 5)) + [1] * (n_pools - 2 * (n_pools // 5))
    rng.shuffle(widths)
    pools = [_pool(rng, index, rng.sample(coins[:-1], width), n_pools) for index, width in enumerate(widths)]
    _hold(rng, pools, coins)
    for coin, cut in zip(coins, _cuts(rng, n_tokens), strict=True):
        coin.balance = _amount(AUM_USD * CASH_SHARE * cut, coin)
    return Market(coins, pools, reference_parameters(), eth_wei=2 * ETH, gas_gwei=2.0, gas_p90=6.0)


def reference_problem(market: Market, seed: int) -> AllocationProblem:
    """The problem of a market, with a curve of utilisation for every other lending pool."""
    rng = random.Random(f"curves:{seed}")
    lending = [pool for pool in market.pools if pool.role == "lend"][::2]
    return market.problem(
        curves={
            pool.name: UtilisationCurve(rng.uniform(0.8, 0.92), 0.0, rng.uniform(0.03, 0.08), rng.uniform(0.5, 3.0))
            for pool in lending
        }
    )


def reference_parameters() -> Parameters:
    """The default policy with every optional limit switched on, and at least four pools."""
    return Parameters(
        min_pools=4,
        max_pool_share=0.25,
        max_protocol_share=0.5,
        max_token_share=0.6,
        max_chain_share=0.97,
        group_caps=True,
        max_group_share=(0.6, 0.5, 0.3, 0.1),
        idle_buffer_share=0.01,
    )


def _pool(rng: random.Random, index: int, coins: list[Coin], n_pools: int) -> Pool:
    size = 10 ** rng.uniform(5.9, 8.5)
    pool = Pool(
        f"p{index}",
        tuple(coin.name for coin in coins),
        apy=min(0.6, rng.lognormvariate(-2.9, 0.6)),
        size=size,
        protocol=f"x{rng.randrange(max(4, n_pools // 12))}",
        role=rng.choice(["lend", "lend", "vault"]) if len(coins) == 1 else "liquidity",
        group=rng.choice([1, 1, 2, 2, 3, 4]),
        exit_days=rng.choice([0] * 9 + [5]),
        reward=rng.choice([0.0, 0.0, 0.3]),
        reserve_shares=(0.6, 0.4) if len(coins) == 2 and rng.random() < 0.5 else (),
    )
    if pool.role == "lend":
        pool.supply, pool.borrow = size, size * rng.uniform(0.4, 0.98)
    return pool


def _hold(rng: random.Random, pools: list[Pool], coins: list[Coin]) -> None:
    """Five positions: of them one must be left, one may not grow, one lacks its forecast."""
    by_name = {coin.name: coin for coin in coins}
    held = rng.sample(pools, N_HELD)
    for pool, cut in zip(held, _cuts(rng, N_HELD), strict=True):
        worth = AUM_USD * (1.0 - CASH_SHARE) * cut
        parts = _cuts(rng, len(pool.tokens))
        pool.held = tuple(_amount(worth * part, by_name[name]) for name, part in zip(pool.tokens, parts, strict=True))
    held[0].is_must_exit = True
    held[1].is_exit_only = True
    held[2].apy, held[2].last_apy = None, 0.04


def _cuts(rng: random.Random, count: int) -> list[float]:
    """Random shares that add up to one."""
    parts = [rng.uniform(0.5, 1.5) for _ in range(count)]
    return [part / sum(parts) for part in parts]


def _amount(value: float, coin: Coin) -> int:
    assert coin.price is not None
    return units(round(value / coin.price, 2), coin.decimals)
