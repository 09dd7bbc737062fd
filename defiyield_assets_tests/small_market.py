"""The simulated market with fewer pools, for loops of many days: a world of its own, through the same graph.

Not here: the market (simulator/generated.py), the days (benchmarks/soak.py, test_end_to_end.py).
"""

from datetime import date
from functools import lru_cache
from pathlib import Path

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.orchestration.resources import MarketResource, Simulation
from defiyield_assets.simulator.generated import GeneratedMarket

N_POOLS = 48


@lru_cache(maxsize=1)
def _small_market(seed: int, chain_path: str, pools: int) -> GeneratedMarket:
    policy = load_policy(date.max).policy
    return GeneratedMarket(
        seed,
        Path(chain_path),
        policy.wallets,
        policy.tokens,
        policy.protocols,
        instruments=load_instruments().instruments,
        n_pools=pools or None,
    )


class SmallMarketResource(MarketResource):
    """The simulated market with so many designed pools beside those held, and no crowd; 0: the whole market."""

    pools: int = N_POOLS

    @property
    def simulation(self) -> Simulation:
        """The market object of the loop."""
        return _small_market(self.seed, self.chain_path, self.pools)
