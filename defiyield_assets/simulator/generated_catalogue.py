"""The pools of the generated market: designed ones that a treasury can use, and thousands that it cannot.

Lives here: which pools exist and their character. Not here: their daily numbers (generated_pools.py) or the genesis of
the treasury (generated_genesis.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID, uuid5

import numpy as np

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.policy import PoolOverride, Token
from defiyield_assets.simulator.market import ETHEREUM
from defiyield_assets.simulator.pool_panel import PoolFacts

POOL_NAMESPACE = UUID("0d0e2a55-3c57-5c0e-9d0c-7f5b9d1e4c11")
NOISE_POOLS = 3_000
UNAPPROVED_PROTOCOLS = ("silo-v2", "radiant-v2", "idle", "notional-v3")
"""Candidates for the protocol of the position that must be left; the first that is not approved is taken."""

_LENDERS: Mapping[str, tuple[str, ...]] = {
    "aave-v3": ("USDC", "USDT", "DAI", "USDS", "USDe", "GHO", "PYUSD", "LUSD", "crvUSD", "RLUSD", "sDAI", "USDtb"),
    "aave-v2": ("USDC", "USDT", "GUSD", "USDP", "LUSD"),
    "compound-v3": ("USDC", "USDT", "USDS"),
    "compound-v2": ("USDC", "USDT", "DAI", "USDP"),
    "sparklend": ("DAI", "USDC", "USDT", "USDS", "sDAI", "PYUSD"),
    "fluid-lending": ("USDC", "USDT", "GHO"),
    "euler-v2": ("USDC", "USDT", "USDe", "USDS", "sUSDS", "USDtb", "RLUSD"),
    "morpho-v0-aavev2": ("USDC", "USDT", "DAI"),
    "morpho-v0-compoundv2": ("USDC", "USDT", "DAI"),
}
_VAULTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "morpho-v1": (
        ("STEAKUSDC", "USDC"),
        ("GTUSDC", "USDC"),
        ("GTUSDCCORE", "USDC"),
        ("BBQUSDC", "USDC"),
        ("SMOKEUSDC", "USDC"),
        ("RE7USDC", "USDC"),
        ("HYPERUSDC", "USDC"),
        ("STEAKUSDT", "USDT"),
        ("GTUSDT", "USDT"),
        ("BBUSDT", "USDT"),
        ("SPDAI", "DAI"),
        ("STEAKPYUSD", "PYUSD"),
        ("APRUSDE", "USDe"),
        ("VAULTUSDS", "USDS"),
    ),
    "yearn-finance": (("USDC", "USDC"), ("USDT", "USDT"), ("DAI", "DAI"), ("CRVUSD", "crvUSD"), ("USDS", "USDS")),
    "maple": (("USDC", "USDC"), ("USDT", "USDT")),
    "sky-lending": (("SUSDS", "USDS"), ("DSR", "DAI")),
    "liquity-v2": (("BOLD", "BOLD"),),
    "crvusd": (("SCRVUSD", "crvUSD"),),
}
_PAIRS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "curve-dex": (
        ("USDC", "USDT"),
        ("DAI", "USDC", "USDT"),
        ("crvUSD", "USDC"),
        ("PYUSD", "USDC"),
        ("GHO", "USDC"),
        ("USDe", "USDC"),
        ("USD0", "USDC"),
        ("sUSDS", "USDT"),
    ),
    "convex-finance": (("DAI", "USDC", "USDT"), ("crvUSD", "USDT")),
    "uniswap-v3": (("USDC", "USDT"), ("DAI", "USDC")),
    "balancer-v3": (("GHO", "USDC", "USDT"),),
}
_FLAGSHIPS = {
    ("aave-v3", "USDC"): 9e8,
    ("morpho-v1", "STEAKUSDC"): 2.5e8,
    ("sparklend", "USDT"): 3e8,
    ("curve-dex", "USDC-USDT"): 1.2e8,
}
"""Large pools, so that the treasury's first positions are small in them."""
_CHAINS = (ETHEREUM, "Arbitrum", "Base", "BSC", "Polygon", "Solana", "Optimism", "Avalanche")
_CHAIN_WEIGHTS = (0.28, 0.16, 0.16, 0.12, 0.08, 0.08, 0.07, 0.05)
_PROJECTS = (
    *(
        "uniswap-v3",
        "aave-v3",
        "curve-dex",
        "pancakeswap-amm",
        "aerodrome-v1",
        "raydium-amm",
        "velodrome-v2",
        "gmx-v2-perps",
    ),
    *("beefy", "stargate-v3", "moonwell-lending", "venus-core-pool", "uniswap-v2", "sushiswap", "camelot-v3", "joe-v2"),
)
_SYMBOLS = (
    "WETH",
    "WBTC",
    "ARB",
    "SOL",
    "BNB",
    "PEPE",
    "LINK",
    "CRV",
    "LDO",
    "AVAX",
    "USDC",
    "USDT",
    "CBBTC",
    "AERO",
    "OP",
)


@dataclass(frozen=True)
class PoolCharacter:
    """One pool: what the vendor says of it for good, and the parameters of its numbers (APYs in percent, USD)."""

    facts: PoolFacts
    born: date
    died: date
    level: float
    spread: float
    size: float
    size_spread: float = 0.35
    size_floor: float = 0.0
    spike_chance: float = 0.0
    utilisation: float | None = None
    programmes: tuple[tuple[date, date, float], ...] = ()
    gaps: tuple[tuple[date, date], ...] = ()
    role: str | None = None
    override: PoolOverride | None = None

    @property
    def is_on_chain(self) -> bool:
        """The simulated chain takes deposits into it."""
        return self.role is not None


@dataclass
class Catalogue:
    """All pools in a fixed order, and the ones that the genesis needs by name (`project/symbol`)."""

    pools: list[PoolCharacter] = field(default_factory=list)
    named: dict[str, PoolCharacter] = field(default_factory=dict)

    def add(self, name: str, pool: PoolCharacter) -> None:
        """Append a designed pool under its name."""
        self.pools.append(pool)
        self.named[name] = pool


def unapproved_protocol(protocols: Sequence[str]) -> str:
    """A protocol that is not on the approved list."""
    return next(slug for slug in (*UNAPPROVED_PROTOCOLS, "protocol-that-nobody-approved") if slug not in protocols)


class CatalogueBuilder:
    """Builds the catalogue from a seed, the demo day and the approved tokens by symbol."""

    def __init__(self, seed: int, demo_day: date, first: date, last: date, tokens: Mapping[str, Token]) -> None:
        self._seed = seed
        self._demo = demo_day
        self._first = first
        self._last = last
        self._tokens = tokens
        self._rng = np.random.default_rng([seed, 1])
        self.catalogue = Catalogue()

    def build(self, protocols: Sequence[str]) -> Catalogue:
        """Designed pools first, then the special cases, then the crowd."""
        for project, symbols in _LENDERS.items():
            for symbol in symbols:
                self._design(project, symbol, (symbol,), "lend")
        for project, vaults in _VAULTS.items():
            for label, symbol in vaults:
                self._design(project, label, (symbol,), "vault")
        for project, pairs in _PAIRS.items():
            for pair in pairs:
                self._design(project, "-".join(pair), pair, "liquidity")
        self._design("ethena-usde", "SUSDE", ("USDe",), "staking")
        self._special_cases(protocols)
        self._crowd()
        return self.catalogue

    def _design(
        self,
        project: str,
        label: str,
        symbols: tuple[str, ...],
        role: str,
        *,
        level: float | None = None,
        size: float | None = None,
        age_days: int | None = None,
        is_calm: bool = False,
        died: date | None = None,
        gaps: tuple[tuple[date, date], ...] = (),
        **override: object,
    ) -> None:
        """One designed pool; left out when the approved list lacks one of its tokens. Draws are made all the same."""
        rng = self._rng
        drawn_level, drawn_size = float(rng.lognormal(np.log(5.2), 0.4)), float(rng.lognormal(np.log(7e7), 1.1))
        drawn_age, reward, start, length = (
            int(rng.integers(430, 800)),
            rng.random(),
            rng.integers(-500, 300),
            rng.integers(90, 400),
        )
        reward_level = float(rng.lognormal(np.log(1.5), 0.5))
        if any(symbol not in self._tokens for symbol in symbols):
            return
        size = _FLAGSHIPS.get((project, label), size)
        tokens = [self._tokens[symbol] for symbol in symbols]
        pool_id = self._pool_id(project, ETHEREUM, label, role)
        programme = (
            self._demo + timedelta(days=int(start)),
            self._demo + timedelta(days=int(start + length)),
            reward_level,
        )
        is_renamed = (project, label) in {("euler-v2", "USDe"), ("aave-v3", "crvUSD")}
        facts = PoolFacts(
            pool_id=pool_id,
            chain=ETHEREUM,
            project=project,
            symbol=label.upper() if not is_renamed else label,
            underlyings=tuple(token.address for token in tokens),
            reward_tokens=(stable_address("token", f"{project} reward"),),
            exposure="multi" if len(tokens) > 1 else "single",
            renamed_since=self._demo - timedelta(days=20) if is_renamed else None,
            symbol_before=label.upper(),
        )
        facts_override = PoolOverride(pool_id, role=role, source="simulated market", **override)  # type: ignore[arg-type]
        self.catalogue.add(
            f"{project}/{label}",
            PoolCharacter(
                facts=facts,
                born=self._demo - timedelta(days=drawn_age if age_days is None else age_days),
                died=died or self._last + timedelta(days=1),
                level=drawn_level if level is None else level,
                spread=0.08 if is_calm else 0.28,
                size=max(5e6, drawn_size) if size is None else size,
                size_spread=0.15,
                size_floor=900_000.0 if size is None else 0.0,
                spike_chance=0.0 if is_calm else 0.0012,
                utilisation=0.8 if role == "lend" else None,
                programmes=(programme,) if reward < 0.25 and not is_calm else (),
                gaps=gaps,
                role=role,
                override=facts_override,
            ),
        )

    def _special_cases(self, protocols: Sequence[str]) -> None:
        """One pool for each rule that a demo should show."""
        demo, soon = self._demo, self._demo + timedelta(days=12)
        stale = ((demo - timedelta(days=3), demo + timedelta(days=4)),)
        self._design("aave-v2", "DAI", ("DAI",), "lend", level=0.45, size=4e7, is_calm=True)
        self._design(unapproved_protocol(protocols), "USDC", ("USDC",), "lend", level=5.5, size=6e7, is_calm=True)
        self._design("euler-v2", "YOUNGUSDC", ("USDC",), "lend", age_days=12, is_calm=True)
        self._design("morpho-v1", "YOUNGUSDT", ("USDT",), "vault", age_days=25, is_calm=True)
        self._design("morpho-v1", "TINYUSDC", ("USDC",), "vault", size=90_000.0)
        self._design("fluid-lending", "STALEUSDC", ("USDC",), "lend", gaps=stale)
        self._design("morpho-v1", "STALEUSDT", ("USDT",), "vault", gaps=stale)
        self._design("yearn-finance", "OLDUSDC", ("USDC",), "vault", died=demo + timedelta(days=9))
        self._design("spectra-v2", "MATURINGUSDC", ("USDC",), "vault", maturity=soon)
        self._design("maple", "PERMUSDC", ("USDC",), "vault", access="permissioned")
        self._design("goldfinch", "SLOWUSDC", ("USDC",), "vault", exit_days=20)
        for symbol, maturity in (
            ("sUSDe", soon),
            ("USDe", demo + timedelta(days=150)),
            ("sUSDS", demo + timedelta(days=90)),
        ):
            label = f"PT-{symbol.upper()}-{maturity.strftime('%d%b%Y').upper()}"
            self._design("pendle", label, (symbol,), "principal_token", maturity=maturity)
        for symbol in ("sUSDe", "USDe", "sUSDS"):
            self._design("morpho-v1", f"COLLATERAL{symbol.upper()}", (symbol,), "collateral", level=130.0)

    def _crowd(self) -> None:
        """Thousands of pools on many chains with heavy-tailed sizes and APYs; none of them passes the pre-filter."""
        rng, count = self._rng, NOISE_POOLS
        chains = rng.choice(len(_CHAINS), count, p=_CHAIN_WEIGHTS)
        projects = rng.integers(0, len(_PROJECTS), count)
        symbols = rng.integers(0, len(_SYMBOLS), (count, 2))
        is_pair, is_lending, is_unnamed = rng.random(count) < 0.6, rng.random(count) < 0.3, rng.random(count) < 0.05
        levels = rng.lognormal(np.log(6.0), 1.5, count)
        levels[rng.choice(count, 4, replace=False)] *= 5_000.0
        sizes = rng.lognormal(np.log(4e5), 2.0, count)
        span = (self._last - self._first).days
        births = np.where(rng.random(count) < 0.7, 0, rng.integers(0, span, count))
        lives = rng.exponential(12 * 365, count)
        programme = rng.random(count) < 0.4
        starts, lengths, rewards = (
            rng.integers(0, span, count),
            rng.integers(30, 700, count),
            rng.lognormal(np.log(8.0), 1.2, count),
        )
        renamed = set(rng.choice(count, 12, replace=False).tolist())
        gap_starts, gap_lengths = rng.integers(0, 365, count).tolist(), rng.integers(2, 9, count).tolist()
        years = range(self._first.year, self._last.year + 1)
        for i in range(count):
            chain, project = _CHAINS[chains[i]], _PROJECTS[projects[i]]
            names = [_SYMBOLS[k] for k in dict.fromkeys(symbols[i].tolist()[: 2 if is_pair[i] else 1])]
            symbol = "-".join(names)
            # Addresses of the crowd are made up, so that no pool of it holds approved tokens.
            addresses = tuple(stable_address("token", f"{chain}:{name}") for name in names)
            born = self._first + timedelta(days=int(births[i]))
            start = self._first + timedelta(days=int(starts[i]))
            # Every pool of the crowd is silent for some days of each year; those that the day falls into are stale.
            gap = [date(year, 1, 1) + timedelta(days=gap_starts[i]) for year in years]
            self.catalogue.pools.append(
                PoolCharacter(
                    facts=PoolFacts(
                        pool_id=self._pool_id(project, chain, symbol, str(i)),
                        chain=chain,
                        project=project,
                        symbol=symbol,
                        underlyings=None if is_unnamed[i] else addresses,
                        reward_tokens=(stable_address("token", f"{project} reward"),),
                        is_stablecoin=all(name in ("USDC", "USDT") for name in names),
                        il_risk="yes" if len(names) > 1 else "no",
                        exposure="multi" if len(names) > 1 else "single",
                        renamed_since=self._demo - timedelta(days=5) if i in renamed else None,
                        symbol_before=f"{symbol}.OLD" if i in renamed else None,
                    ),
                    born=born,
                    died=min(born + timedelta(days=int(min(lives[i], 9_000)) + 45), self._last + timedelta(days=1)),
                    level=float(levels[i]),
                    spread=0.6,
                    size=float(sizes[i]),
                    spike_chance=0.004,
                    utilisation=0.6 if is_lending[i] and len(names) == 1 else None,
                    programmes=((start, start + timedelta(days=int(lengths[i])), float(rewards[i])),)
                    if programme[i]
                    else (),
                    gaps=tuple((day, day + timedelta(days=gap_lengths[i])) for day in gap),
                )
            )

    def _pool_id(self, *parts: str) -> str:
        return str(uuid5(POOL_NAMESPACE, "|".join((str(self._seed), *parts))))
