"""What the simulated chain is made of: transactions, their transfers, the pools it knows, the receipt of a plan.

Lives here: plain types and their errors. Not here: how transactions are built (chain_transactions.py, chain_plan.py),
kept (chain_store.py) or told to the vendors' clients (chain_answers.py). All amounts are base units, python int.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property

from defiyield_assets.domain.canonical import content_hash, stable_address
from defiyield_assets.domain.policy import GasUnits, Token
from defiyield_assets.errors import ConfigurationError, PermanentError
from defiyield_assets.simulator.blocks import block_at

NATIVE = "native"
ZERO_ADDRESS = "0x" + "0" * 40
ROUTER = stable_address("router", "conversions")
"""One router converts, deposits and withdraws: its address says nothing about what a transaction was."""
SHARE_DECIMALS = 18
CHAIN_ID = 1

IN_WALLET = ""
"""Instead of a pool_id: the wallet's own balance of a rebasing token, which grows like a position."""
REBASING_PROJECTS = frozenset({"aave-v2", "aave-v3", "sparklend", "compound-v3"})
"""Protocols whose shares are balances of the underlying."""
PositionKey = tuple[str, str, str]
"""(wallet, pool_id or `IN_WALLET`, token address)."""


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
    """A pool as the chain knows it: its contract, its share token and the tokens that it takes.

    `is_rebasing`: shares are balances of the one underlying (aTokens), in its decimals, and grow by themselves.
    """

    pool_id: str
    role: str
    tokens: tuple[str, ...]
    label: str = ""
    is_rebasing: bool = False
    share_decimals: int = SHARE_DECIMALS

    @property
    def contract(self) -> str:
        """Address that takes deposits."""
        return stable_address("pool", self.pool_id)

    @property
    def share_token(self) -> str:
        """Token minted for deposits."""
        return stable_address("share", self.pool_id)

    @property
    def is_routed_in(self) -> bool:
        """Deposits go wallet, router, pool; the shares are minted to the router, which hands them on. Half of all pools
        that do not lend.
        """
        return self.role != "lend" and self._draw("in") % 2 == 0

    @property
    def is_routed_out(self) -> bool:
        """Shares go to the router, which burns them and hands on what the pool pays. Half of all that do not lend."""
        return self.role != "lend" and self._draw("out") % 2 == 0

    def _draw(self, kind: str) -> int:
        return int(stable_address(f"routed {kind}", self.pool_id)[-8:], 16)


def pool_on_chain(pool_id: str, role: str, tokens: Sequence[Token], label: str, project: str) -> ChainPool:
    """A pool with the shares of its family: single-token pools of `REBASING_PROJECTS` have rebasing ones."""
    addresses = tuple(token.address for token in tokens)
    if project not in REBASING_PROJECTS or len(tokens) != 1:
        return ChainPool(pool_id, role, addresses, label)
    return ChainPool(pool_id, role, addresses, label, is_rebasing=True, share_decimals=tokens[0].decimals)


@dataclass(frozen=True)
class ChainWorld:
    """Everything that the chain knows besides its transactions; `wallets` are lower-case addresses."""

    wallets: frozenset[str]
    tokens: Mapping[str, Token]
    pools: Mapping[str, ChainPool]
    gas_units: GasUnits = field(default_factory=GasUnits)
    reverts_one_in: int = 0
    """Of so many steps of plans one reverts the first time and is sent again; 0: none."""

    @cached_property
    def rebasing_tokens(self) -> frozenset[str]:
        """Tokens, not shares, whose balances grow by themselves."""
        return frozenset(address for address, token in self.tokens.items() if token.rebasing)

    @cached_property
    def rebasing_shares(self) -> Mapping[str, ChainPool]:
        """Pools with rebasing shares by share token."""
        return {pool.share_token: pool for pool in self.pools.values() if pool.is_rebasing}

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
