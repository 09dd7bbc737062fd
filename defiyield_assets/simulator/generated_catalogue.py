"""The pools of the generated market that a treasury can use, and the special cases that a demo should show.

Lives here: which of them exist and their character. Not here: the crowd (generated_crowd.py), what a character is
(generated_character.py), daily numbers (generated_pools.py) or the treasury's genesis (generated_genesis.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.policy import PoolOverride, Token
from defiyield_assets.simulator.generated_character import LENDING, TRADING, Catalogue, PoolCharacter, pool_id
from defiyield_assets.simulator.generated_crowd import crowd
from defiyield_assets.simulator.generated_genesis import HELD
from defiyield_assets.simulator.market import ETHEREUM
from defiyield_assets.simulator.pendle_records import PendleMarket
from defiyield_assets.simulator.pool_panel import PoolFacts

_THURSDAY, _PENDLE_DAYS = 3, 180
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
_MOVES: Mapping[tuple[str, str], int] = {
    ("fluid-lending", "USDC"): -200,
    ("yearn-finance", "USDT"): -40,
    ("euler-v2", "USDT"): -8,
    ("aave-v2", "MOVINGUSDC"): 2,
}
"""Pools that go on under another id, and how many days after the demo day they do so."""
_NAMES_OF_LOWER_CASE = {("euler-v2", "USDe"), ("aave-v3", "crvUSD")}
"""Pools whose symbol the vendor respelt shortly before the demo day."""
_STEADY = {
    **{"spread": 0.25, "market_share": 0.15, "gap_chance": 0.0, "stuck_chance": 0.0},
    **{"size_spread": 0.25, "size_jump": 0.0, "edit_chance": 0.0},
}
_STABLE_PAIR = replace(TRADING, spread=0.4, market_share=0.2, noise=0.3, reward_spread=0.6, weekend_level=-0.1)
"""Pairs of dollar tokens: less trade, smaller programmes."""
_CALM = replace(LENDING, **(_STEADY | {"spread": 0.08, "swing": 0.04, "spike_chance": 0.0, "size_spread": 0.15}))
_PENDLE: tuple[tuple[str, int], ...] = (("sUSDe", 12), ("USDe", 150), ("sUSDS", 90), ("sUSDe", 114), ("GHO", -33))
"""Underlying tokens of Pendle's principal tokens, and about how many days after the demo day they mature."""


def unapproved_protocol(protocols: Sequence[str]) -> str:
    """A protocol that is not on the approved list."""
    return next(slug for slug in (*UNAPPROVED_PROTOCOLS, "protocol-that-nobody-approved") if slug not in protocols)


@dataclass(frozen=True)
class _Drawn:
    """What chance decides of a designed pool."""

    level: float
    size: float
    age_days: int
    activity: float
    spike_keep: float
    reward_share: float
    reward_level: float


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
        self._pendle()
        self.catalogue.pools += crowd(self._seed, self._demo, self._first, self._last)
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
        stuck: tuple[tuple[date, date], ...] = (),
        **override: object,
    ) -> None:
        """One designed pool; left out when the approved list lacks one of its tokens. Draws are made all the same."""
        drawn = self._draw(role)
        if any(symbol not in self._tokens for symbol in symbols):
            return
        name = f"{project}/{label}"
        tokens = [self._tokens[symbol] for symbol in symbols]
        moves = (project, label) in _MOVES
        facts = PoolFacts(
            pool_id=self._pool_id(project, ETHEREUM, label, role),
            chain=ETHEREUM,
            project=project,
            symbol=label if (project, label) in _NAMES_OF_LOWER_CASE else label.upper(),
            underlyings=tuple(token.address for token in tokens),
            reward_tokens=(stable_address("token", f"{project} reward"),),
            exposure="multi" if len(tokens) > 1 else "single",
            renamed_since=self._demo - timedelta(days=20) if (project, label) in _NAMES_OF_LOWER_CASE else None,
            symbol_before=label.upper(),
            moved_since=self._demo + timedelta(days=_MOVES[project, label]) if moves else None,
            id_before=self._pool_id(project, ETHEREUM, label, role, "before") if moves else None,
        )
        kind = _STABLE_PAIR if len(tokens) > 1 else LENDING
        if any(name == held for held, _ in HELD):
            # What the treasury holds from the start is large and steady; its vendor never falls silent on it, and never
            # tells another past: the chain grew by the values that were told first.
            kind = replace(kind, **_STEADY)
        self.catalogue.add(
            name,
            PoolCharacter(
                facts=facts,
                liveliness=_CALM if is_calm else kind,
                born=self._demo - timedelta(days=drawn.age_days if age_days is None else age_days),
                died=died or self._last + timedelta(days=1),
                level=drawn.level if level is None else level,
                size=_FLAGSHIPS.get((project, label), max(5e6, drawn.size) if size is None else size),
                activity=min(drawn.activity, 0.3) if is_calm else drawn.activity,
                spike_keep=drawn.spike_keep,
                size_floor=900_000.0 if size is None else 0.0,
                utilisation=0.8 if role == "lend" else None,
                reward_share=0.0 if is_calm or level is not None else drawn.reward_share,
                reward_level=drawn.reward_level,
                gaps=gaps,
                stuck=stuck,
                role=role,
                override=PoolOverride(facts.pool_id, role=role, source="simulated market", **override),  # type: ignore[arg-type]
            ),
        )

    def _draw(self, role: str) -> "_Drawn":
        """What chance decides of a designed pool; drawn for pools that are left out too, so that none moves another."""
        rng, is_pair = self._rng, role == "liquidity"
        has_programmes = rng.random() < (0.6 if is_pair else 0.5)
        return _Drawn(
            level=float(rng.lognormal(np.log(4.8), 0.3)),
            size=float(rng.lognormal(np.log(7e7), 1.1)),
            age_days=int(rng.integers(430, 800)),
            activity=float(np.clip(rng.lognormal(np.log(0.45 if is_pair else 0.65), 0.45), 0.2, 1.5)),
            spike_keep=float(rng.uniform(0.2, 0.7)),
            reward_share=float(rng.uniform(0.2, 0.8)) * has_programmes,
            reward_level=float(rng.lognormal(np.log(0.8), 0.4)),
        )

    def _special_cases(self, protocols: Sequence[str]) -> None:
        """One pool for each rule that a demo should show."""
        demo, soon = self._demo, self._demo + timedelta(days=12)
        stale = ((demo - timedelta(days=3), demo + timedelta(days=4)),)
        frozen = ((demo - timedelta(days=5), demo + timedelta(days=7)),)
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
        self._design("morpho-v1", "STUCKUSDC", ("USDC",), "vault", stuck=frozen)
        self._design("aave-v2", "MOVINGUSDC", ("USDC",), "lend", level=0.6, is_calm=True)
        for symbol in ("sUSDe", "USDe", "sUSDS"):
            self._design("morpho-v1", f"COLLATERAL{symbol.upper()}", (symbol,), "collateral", level=130.0)

    def _pendle(self) -> None:
        """Pools of principal tokens, for which the vendor names no underlying token: Pendle's market list does."""
        for symbol, days in _PENDLE:
            drawn = self._draw("principal_token")
            if symbol not in self._tokens:
                continue
            matures = self._demo + timedelta(days=days)
            matures -= timedelta(days=(matures.weekday() - _THURSDAY) % 7)
            opened = matures - timedelta(days=_PENDLE_DAYS)
            market = PendleMarket.of(self._seed, self._tokens[symbol], opened, matures)
            facts = PoolFacts(
                pool_id=self._pool_id("pendle", ETHEREUM, market.address),
                chain=ETHEREUM,
                project="pendle",
                symbol=symbol.upper(),
                underlyings=None,
                pool_meta=f"For buying {market.principal_name}",
            )
            self.catalogue.pendle.append(market)
            self.catalogue.add(
                f"pendle/{market.principal_name}",
                PoolCharacter(
                    facts=facts,
                    liveliness=LENDING,
                    born=opened,
                    died=matures,
                    level=drawn.level * 1.5,
                    size=max(2e6, drawn.size / 4),
                    activity=drawn.activity,
                    role="principal_token",
                    override=PoolOverride(facts.pool_id, role="principal_token", source="simulated market"),
                ),
            )

    def _pool_id(self, *parts: str) -> str:
        return pool_id(self._seed, *parts)
