"""The treasury's policy as data: parameters, lists, overrides, wallets.

Lives here: the types that every rule reads, and their canonical form. Not here: reading YAML (config/loader.py) or
the rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

PEGS = ("usd", "accruing", "other")
ACCESS = ("open", "permissioned")
OBJECTIVES = ("expected", "robust", "profit")
METHODS = ("milp", "lp")
LOT_METHODS = ("fifo", "specific")
DOLLAR_ROLES = ("lend", "vault", "staking", "liquidity")
"""Pool roles that hold dollars; other roles (collateral, principal_token, unclear) are NOT_A_DOLLAR_POOL."""


@dataclass(frozen=True)
class GasUnits:
    """Gas that one executed transaction of each kind uses."""

    approve: int = 50_000
    lend_in: int = 220_000
    lend_out: int = 250_000
    vault_in: int = 180_000
    vault_out: int = 200_000
    lp_in: int = 300_000
    lp_out: int = 300_000
    swap: int = 180_000


@dataclass(frozen=True)
class Parameters:
    """Every number of the policy (defi.md, section Policy). Shares and rates are fractions."""

    max_pool_share: float = 0.25
    max_pool_tvl_share: float = 0.05
    max_protocol_share: float = 0.50
    max_token_share: float = 0.60
    max_chain_share: float = 1.0
    max_group_share: tuple[float, float, float, float] = (0.35, 0.35, 0.30, 0.0)
    group_caps: bool = False
    cap_headroom: float = 0.01
    exit_share: float = 0.10
    idle_buffer_share: float = 0.0
    min_pools: int = 5
    min_position_share: float = 0.01
    min_transaction_usd: float = 50.0
    conversion_rate: float = 0.0004
    reward_haircut: float = 0.2
    horizon_days: int = 30
    break_even_days: int = 14
    robust_quantile: float = 0.10
    objective: str = "expected"
    method: str = "milp"
    pool_tvl_min_usd: float = 500_000.0
    pool_apy_min: float = 0.01
    apy_plausible_max: float = 10.0
    token_market_cap_min_usd: float = 35_000_000.0
    pool_age_min_days: int = 30
    pair_reserve_ratio_min: float = 0.3
    pair_reserve_ratio_max: float = 0.5
    max_exit_days: int = 7
    max_illiquid_share: float = 0.25
    stuck_days: int = 3
    gap_days: int = 3
    spike_median_multiple: float = 5.0
    spike_robust_z: float = 3.0
    icebox_low_depth: float = 0.02
    icebox_low_days: int = 2
    icebox_close_depth: float = 0.01
    icebox_close_days: int = 1
    icebox_recovery_low_days: int = 2
    icebox_recovery_close_days: int = 3
    chains: tuple[str, ...] = ("Ethereum",)
    priority_fee_gwei: float = 0.1
    confirmations: int = 64
    lot_method: str = "fifo"
    gas_units: GasUnits = field(default_factory=GasUnits)


@dataclass(frozen=True)
class Token:
    """One token of the policy's lists; `address` is lower case."""

    symbol: str
    chain: str
    address: str
    decimals: int
    issuer: str
    peg: str = "usd"
    rebasing: bool = False
    access: str = "open"
    exit_days: int = 0
    coingecko_id: str | None = None
    cmc_id: int | None = None
    slippage_per_million_usd: float = 0.0
    """Extra part lost per million USD converted; 0.002: the second million costs three times 2,000 USD."""

    @property
    def instrument_id(self) -> str:
        """Stable id of the token in price tables: `<chain>:<address>`, lower case."""
        return f"{self.chain.lower()}:{self.address}"


@dataclass(frozen=True)
class BarredToken:
    """A blacklisted token; without an address it bars by exact symbol."""

    symbol: str
    chain: str
    address: str | None = None


@dataclass(frozen=True)
class PoolOverride:
    """Dated facts about one pool that its vendor does not tell."""

    pool_id: str
    role: str | None = None
    underlying_addresses: tuple[str, ...] | None = None
    maturity: date | None = None
    exit_days: int | None = None
    access: str | None = None
    since: date | None = None
    until: date | None = None
    source: str = ""
    reserve_shares: tuple[float, ...] | None = None
    """Value share of each underlying token in the pool, in the order of its underlying addresses."""


@dataclass(frozen=True)
class PoolAlias:
    """A pool id that is gone and the id under which the pool goes on."""

    old_id: str
    new_id: str
    since: date
    source: str = ""


@dataclass(frozen=True)
class PoolContract:
    """Which on-chain contract a pool is: deposits go to `contract`, shares are `share_token`.

    `is_rebasing`: the balance of the share token grows by itself; one base unit of it is one of the underlying.
    """

    pool_id: str
    chain_id: int
    contract: str
    share_token: str
    share_decimals: int = 18
    is_rebasing: bool = False
    source: str = ""


@dataclass(frozen=True)
class IceboxOverride:
    """A manual word on a token: `barred` True bars it, False frees it, until `expires` (inclusive)."""

    chain: str
    address: str
    barred: bool
    reason: str
    since: date
    expires: date | None = None


@dataclass(frozen=True)
class TokenAmount:
    """So many base units of a token ('native' for the chain's coin); `decimals` where no list of ours tells them."""

    token: str
    amount: int
    decimals: int | None = None


@dataclass(frozen=True)
class OpeningBalance(TokenAmount):
    """One token that a wallet held when its books were opened.

    `underlying`: of the share token of a listed pool, what these shares stood for then; it is their cost from then on.
    """

    underlying: tuple[TokenAmount, ...] = ()


@dataclass(frozen=True)
class Opening:
    """What a wallet held after block `block` (mined at `time`, UTC); nothing in that block or before is booked."""

    block: int
    time: datetime
    balances: tuple[OpeningBalance, ...] = ()


@dataclass(frozen=True)
class Wallet:
    """One wallet of the treasury. Exactly one wallet per chain is `investable`: plans spend only from it.

    With an `opening` it belongs to the treasury from that block on; before, it is an address like any other.
    """

    name: str
    chain_id: int
    address: str
    investable: bool = False
    permitted_tokens: tuple[str, ...] = ()
    opening: Opening | None = None


@dataclass(frozen=True)
class LotChoice:
    """Which lots a transaction gives away of a token, in this order, where lots are identified specifically.

    `disposal` is a transaction hash, `token` an address or 'native', both lower case; `lots` are ids of `open_lots`.
    """

    disposal: str
    token: str
    lots: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """Everything that the rules may read of the configuration, frozen per day in `policy_snapshot`."""

    parameters: Parameters
    tokens: tuple[Token, ...]
    protocols: tuple[str, ...]
    blacklist: tuple[BarredToken, ...] = ()
    protocol_aliases: Mapping[str, str] = field(default_factory=dict)
    pool_overrides: tuple[PoolOverride, ...] = ()
    icebox_overrides: tuple[IceboxOverride, ...] = ()
    wallets: tuple[Wallet, ...] = ()
    pool_aliases: tuple[PoolAlias, ...] = ()
    pool_contracts: tuple[PoolContract, ...] = ()
    lot_choices: tuple[LotChoice, ...] = ()

    def token_by_address(self) -> dict[tuple[str, str], Token]:
        """Approved tokens keyed by (chain, lower-case address)."""
        return {(token.chain, token.address): token for token in self.tokens}

    def reserve_shares_of(self, pool_id: str) -> tuple[float, ...]:
        """Value share of each underlying token of a pool where an override tells it; the newest counts."""
        told = [item for item in self.pool_overrides if item.pool_id == pool_id and item.reserve_shares]
        newest = max(told, key=lambda item: item.since or date.min, default=None)
        return newest.reserve_shares or () if newest else ()

    def protocol_of(self, slug: str) -> str:
        """Today's slug of a protocol that may be recorded under an older one."""
        return self.protocol_aliases.get(slug, slug)
