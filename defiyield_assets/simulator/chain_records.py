"""What the simulated chain is made of: transactions, their transfers, the pools it knows, the receipt of a plan.

Lives here: plain types and their errors. Not here: how transactions are built (chain_transactions.py, chain_plan.py),
kept (chain_store.py) or told to the vendors' clients (chain_answers.py). All amounts are base units, python int.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from defiyield_assets.domain.canonical import content_hash, stable_address
from defiyield_assets.domain.policy import GasUnits, Token
from defiyield_assets.errors import ConfigurationError, PermanentError
from defiyield_assets.simulator.blocks import block_at

NATIVE = "native"
ZERO_ADDRESS = "0x" + "0" * 40
ROUTER = stable_address("router", "conversions")
SHARE_DECIMALS = 18
CHAIN_ID = 1

PositionKey = tuple[str, str, str]
"""(wallet, pool_id, token address)."""


class PlanRejected(PermanentError):  # noqa: N818 - says what happened to the plan
    """A plan cannot be executed as written; nothing was executed. The message names the step and the shortfall."""


class ChainConflict(ConfigurationError):  # noqa: N818
    """Executing this plan would rewrite days that later executions stand on."""

    def __init__(self, day: date, why: str) -> None:
        super().__init__(f"{why}; run `defiyield simulator reset --from {day.isoformat()}` to go back before that day")
        self.day = day


@dataclass(frozen=True)
class TokenTransfer:
    """One transfer of a token inside a transaction; symbol and name are what the token claims."""

    token: str
    sender: str
    receiver: str
    value: int
    decimals: int
    symbol: str
    name: str


@dataclass(frozen=True)
class InternalTransfer:
    """Wei that a contract moved inside a transaction."""

    sender: str
    receiver: str
    value: int


@dataclass(frozen=True)
class PositionChange:
    """Underlying base units that entered (positive) or left (negative) a pool position."""

    wallet: str
    pool_id: str
    token: str
    delta: int


@dataclass(frozen=True)
class Transaction:
    """One transaction; a failed one moves nothing but its gas."""

    time: datetime
    sender: str
    receiver: str
    function: str
    gas_used: int
    gas_price_wei: int
    value: int = 0
    is_success: bool = True
    transfers: tuple[TokenTransfer, ...] = ()
    internals: tuple[InternalTransfer, ...] = ()
    position_changes: tuple[PositionChange, ...] = ()

    @property
    def hash(self) -> str:
        """SHA-256 of the content: equal content in the same block is the same transaction."""
        return "0x" + content_hash(self)

    @property
    def block(self) -> int:
        """Number of the block that holds it."""
        return block_at(self.time)

    @property
    def fee_wei(self) -> int:
        """What the sender pays for gas."""
        return self.gas_used * self.gas_price_wei


@dataclass(frozen=True)
class ChainPool:
    """A pool as the chain knows it: its contract, its share token and the tokens that it takes."""

    pool_id: str
    role: str
    tokens: tuple[str, ...]
    label: str = ""

    @property
    def contract(self) -> str:
        """Address that takes deposits."""
        return stable_address("pool", self.pool_id)

    @property
    def share_token(self) -> str:
        """Token minted for deposits, 18 decimals."""
        return stable_address("share", self.pool_id)


@dataclass(frozen=True)
class ChainWorld:
    """Everything that the chain knows besides its transactions; `wallets` are lower-case addresses."""

    wallets: frozenset[str]
    tokens: Mapping[str, Token]
    pools: Mapping[str, ChainPool]
    gas_units: GasUnits = field(default_factory=GasUnits)

    def gas_in(self, pool: ChainPool) -> int:
        """Gas of a deposit, without approvals."""
        units = self.gas_units
        return {"lend": units.lend_in, "liquidity": units.lp_in}.get(pool.role, units.vault_in)

    def gas_out(self, pool: ChainPool) -> int:
        """Gas of a withdrawal."""
        units = self.gas_units
        return {"lend": units.lend_out, "liquidity": units.lp_out}.get(pool.role, units.vault_out)


@dataclass(frozen=True)
class ExecutionReceipt:
    """What became of a plan: status is `executed` or `nothing_to_do`; transactions include approvals."""

    run_id: str
    day: date
    n_transactions: int
    status: str
