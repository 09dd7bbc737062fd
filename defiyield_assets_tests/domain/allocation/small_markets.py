"""Markets small enough for an oracle, from a seed: tiny ones for every combination, small ones for its search.

Lives here: the random choices. Not here: the tables (instances.py) or what is asserted about them.
"""

import random

from defiyield_assets.domain.policy import Parameters
from defiyield_assets_tests.domain.allocation.instances import Coin, Market, Pool, units


def tiny_market(seed: int) -> Market:
    """Two or three pools, up to three tokens, some of it held, stuck or to be left."""
    rng = random.Random(seed)
    n_tokens = rng.choice([1, 2, 2, 3])
    coins = _coins(rng, n_tokens, n_issuers=2, first_barred=1)
    n_pools = rng.choice([2, 2, 3] if n_tokens < 3 else [2])
    pools = [_pool(rng, index, coins, widths=[1, 1, min(2, n_tokens)], is_held=None) for index in range(n_pools)]
    return Market(coins, pools, _parameters(rng, [0.4, 0.6, 1.0], [1, 2]), gas_gwei=_gwei(rng), gas_p90=30.0)


def small_market(seed: int) -> Market:
    """Six or seven pools of one to three tokens, three or four tokens, two or three positions."""
    rng = random.Random(seed)
    coins = _coins(rng, rng.choice([3, 3, 4]), n_issuers=3, first_barred=2)
    n_pools = rng.choice([6, 6, 7])
    held = set(rng.sample(range(n_pools), rng.choice([2, 2, 3])))
    pools = [_pool(rng, index, coins, widths=[1, 1, 2, 3], is_held=index in held) for index in range(n_pools)]
    return Market(coins, pools, _parameters(rng, [0.3, 0.4, 0.6], [1, 2, 3]), gas_gwei=_gwei(rng), gas_p90=30.0)


def _coins(rng: random.Random, count: int, *, n_issuers: int, first_barred: int) -> list[Coin]:
    coins = [
        Coin(
            f"t{index}",
            rng.choice([6, 18]),
            price=round(rng.uniform(0.9, 1.1), 4),
            issuer=f"i{rng.randrange(n_issuers)}",
            is_barred=index >= first_barred and rng.random() < 0.15,
        )
        for index in range(count)
    ]
    for coin in coins:
        if rng.random() < 0.6:
            coin.balance = units(round(rng.uniform(0, 60_000), 2), coin.decimals)
    return coins


def _pool(rng: random.Random, index: int, coins: list[Coin], *, widths: list[int], is_held: bool | None) -> Pool:
    tokens = rng.sample(coins, rng.choice(widths))
    size = 10 ** rng.uniform(5, 7.5)
    pool = Pool(
        f"p{index}",
        tuple(coin.name for coin in tokens),
        apy=rng.uniform(0.0, 0.4),
        size=size,
        protocol=f"x{rng.randint(0, 1)}",
        role=rng.choice(["lend", "vault", "liquidity"]),
        reward=rng.choice([0.0, 0.4]),
        exit_days=rng.choice([0, 0, 2]),
        group=rng.randint(1, 3),
    )
    if is_held if is_held is not None else rng.random() < 0.6:
        value = rng.uniform(200, 30_000)
        pool.held = tuple(units(round(value * rng.uniform(0.8, 1.2), 2), coin.decimals) for coin in tokens)
        pool.is_must_exit = rng.random() < 0.15
        pool.is_exit_only = rng.random() < 0.2 or any(coin.is_barred for coin in tokens)
    if rng.random() < 0.3:
        pool.supply, pool.borrow = size, size * rng.uniform(0.5, 1.0)
    return pool


def _parameters(rng: random.Random, pool_shares: list[float], min_pools: list[int]) -> Parameters:
    return Parameters(
        max_pool_share=rng.choice(pool_shares),
        max_pool_tvl_share=rng.choice([0.05, 0.2]),
        max_protocol_share=rng.choice([0.5, 1.0]),
        max_token_share=rng.choice([0.6, 1.0]),
        max_chain_share=rng.choice([0.8, 1.0]),
        group_caps=rng.random() < 0.3,
        idle_buffer_share=rng.choice([0.0, 0.1]),
        min_pools=rng.choice(min_pools),
        min_position_share=rng.choice([0.01, 0.1]),
        conversion_rate=rng.choice([0.0004, 0.003]),
        break_even_days=rng.choice([3, 14, 30]),
    )


def _gwei(rng: random.Random) -> float:
    return rng.choice([0.5, 5.0, 30.0])
