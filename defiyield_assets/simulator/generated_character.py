"""What a generated pool is: what the vendor says of it for good, and how its numbers live.

Lives here: the character of one pool and the kinds of liveliness. Not here: which pools exist (generated_catalogue.py,
generated_crowd.py) or the numbers (generated_pools.py).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from itertools import zip_longest
from uuid import UUID, uuid5

from defiyield_assets.domain.policy import PoolOverride
from defiyield_assets.simulator.pendle_records import PendleMarket
from defiyield_assets.simulator.pool_panel import PoolFacts

POOL_NAMESPACE = UUID("0d0e2a55-3c57-5c0e-9d0c-7f5b9d1e4c11")


@dataclass(frozen=True)
class Liveliness:
    """How the numbers of a kind of pool move; every figure was fitted to recorded series
    (docs/explanation/simulated-market.md).

    Spreads, swings and noises are standard deviations of logarithms; chances are per day, lengths in days (means).
    """

    spread: float
    swing: float
    noise: float
    market_share: float
    weekend_level: float
    weekend_calm: float
    spike_chance: float
    reward_days: float
    reward_spread: float
    reward_noise: float
    size_spread: float
    size_noise: float
    size_jump_chance: float
    size_jump: float
    size_weekend_calm: float
    lent_noise: float
    gap_chance: float
    gap_days: float
    stuck_chance: float
    stuck_days: float
    edit_chance: float = 0.0012
    """That a point is told differently later: in any month, one chart in thirty changes somewhere in its past."""


LENDING = Liveliness(
    spread=0.4,
    swing=0.1,
    noise=0.13,
    market_share=0.36,
    weekend_level=-0.01,
    weekend_calm=0.5,
    spike_chance=0.011,
    reward_days=20.0,
    reward_spread=1.0,
    reward_noise=0.35,
    size_spread=0.55,
    size_noise=0.01,
    size_jump_chance=0.01,
    size_jump=1.5,
    size_weekend_calm=0.45,
    lent_noise=0.04,
    gap_chance=1.5 / 365,
    gap_days=2.2,
    stuck_chance=1.6 / 365,
    stuck_days=1.6,
)
"""Money markets and vaults, as in the recorded lending panel."""

TRADING = Liveliness(
    spread=0.75,
    swing=0.38,
    noise=0.38,
    market_share=0.5,
    weekend_level=-0.27,
    weekend_calm=1.0,
    spike_chance=0.008,
    reward_days=160.0,
    reward_spread=1.4,
    reward_noise=0.35,
    size_spread=1.0,
    size_noise=0.01,
    size_jump_chance=0.003,
    size_jump=1.3,
    size_weekend_calm=0.5,
    lent_noise=0.0,
    gap_chance=5.5 / 365,
    gap_days=6.5,
    stuck_chance=0.0,
    stuck_days=1.0,
)
"""Pools of exchanges, which live on fees and programmes, as in the recorded panel of exchanges."""


@dataclass(frozen=True)
class PoolCharacter:
    """One pool: what the vendor says of it for good, and the parameters of its numbers (APYs in percent, USD).

    `level` and `size`: medians. `activity`: how much livelier than its kind. `reward_share`: share of days on which a
    programme runs, at about `reward_level`. `gaps`, `stuck`: days [from, to) without points, and of repeated ones.
    """

    facts: PoolFacts
    liveliness: Liveliness
    born: date
    died: date
    level: float
    size: float
    activity: float = 1.0
    spike_keep: float = 0.5
    size_floor: float = 0.0
    utilisation: float | None = None
    reward_share: float = 0.0
    reward_level: float = 1.0
    gaps: tuple[tuple[date, date], ...] = ()
    stuck: tuple[tuple[date, date], ...] = ()
    role: str | None = None
    override: PoolOverride | None = None

    @property
    def is_on_chain(self) -> bool:
        """The simulated chain takes deposits into it."""
        return self.role is not None and self.facts.underlyings is not None


@dataclass
class Catalogue:
    """All pools in a fixed order, and the ones that the genesis needs by name (`project/symbol`)."""

    pools: list[PoolCharacter] = field(default_factory=list)
    named: dict[str, PoolCharacter] = field(default_factory=dict)
    pendle: list[PendleMarket] = field(default_factory=list)

    def add(self, name: str, pool: PoolCharacter) -> None:
        """Append a designed pool under its name."""
        self.pools.append(pool)
        self.named[name] = pool

    def cut_to(self, count: int, kept: Collection[str]) -> "Catalogue":
        """So many designed pools and nothing else: the named ones, then the others, one of each role in turn."""
        roles: dict[str | None, list[str]] = {}
        for name, pool in self.named.items():
            if name not in kept:
                roles.setdefault(pool.role, []).append(name)
        in_turn = [name for round_ in zip_longest(*roles.values()) for name in round_ if name is not None]
        chosen = {*(name for name in self.named if name in kept), *in_turn[: max(0, count - len(kept))]}
        named = {name: pool for name, pool in self.named.items() if name in chosen}
        return Catalogue(list(named.values()), named, self.pendle)


def pool_id(seed: int, *parts: str) -> str:
    """The id of a pool: a UUID that depends on the seed and the parts only."""
    return str(uuid5(POOL_NAMESPACE, "|".join((str(seed), *parts))))
