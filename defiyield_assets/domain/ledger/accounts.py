"""The ledger's vocabulary: account names, classifications, and which addresses are wallets, pools and share tokens.

Lives here: names and look-ups. Not here: how a transaction is classified (classify.py) or booked (booking.py).
"""

from dataclasses import dataclass, field, replace

import pandas as pd

from defiyield_assets.domain.chains import CHAINS
from defiyield_assets.domain.policy import Opening, Policy
from defiyield_assets.errors import ConfigurationError

NATIVE = "native"
NATIVE_DECIMALS = 18
ZERO_ADDRESS = "0x" + "0" * 40

EXTERNAL_IN = "external_in"
EXTERNAL_OUT = "external_out"
WALLET_TRANSFER = "wallet_transfer"
DEPOSIT = "deposit"
WITHDRAWAL = "withdrawal"
MIGRATION = "migration"
REWARD = "reward"
SWAP = "swap"
UNTRUSTED_SWAP = "untrusted_swap"
UNLISTED_DEPOSIT = "unlisted_deposit"
UNLISTED_WITHDRAWAL = "unlisted_withdrawal"
BORROW = "borrow"
REPAY = "repay"
WRAP = "wrap"
UNWRAP = "unwrap"
APPROVE = "approve"
CALL = "call"
FAILED = "failed"
UNTRUSTED_TOKEN = "UNTRUSTED_TOKEN"  # noqa: S105 - a code, not a secret
UNEXPLAINED = "unexplained"
ACCRUAL = "accrual"
CORRECTION = "correction"
"""The kind of a posting that corrects another; its classification is that of what it corrects, as known now."""
OPENING = "opening"
CLASSIFICATIONS = (
    EXTERNAL_IN,
    EXTERNAL_OUT,
    WALLET_TRANSFER,
    DEPOSIT,
    WITHDRAWAL,
    MIGRATION,
    REWARD,
    SWAP,
    UNTRUSTED_SWAP,
    UNLISTED_DEPOSIT,
    UNLISTED_WITHDRAWAL,
    BORROW,
    REPAY,
    WRAP,
    UNWRAP,
    APPROVE,
    CALL,
    FAILED,
    UNTRUSTED_TOKEN,
    UNEXPLAINED,
    ACCRUAL,
    OPENING,
)

OPENING_ACCOUNT = "equity:opening"
CONVERSIONS = "equity:conversions"
UNEXPLAINED_ACCOUNT = "equity:unexplained"
REWARDS = "income:rewards"
GAS = "expenses:gas"
CONVERSION_COST = "expenses:conversion"
EXTERNAL_PREFIX = "equity:external:"
SHARES_PREFIX = "equity:shares:"
WALLET_PREFIX = "assets:wallet:"
POOL_PREFIX = "assets:pool:"
YIELD_PREFIX = "income:yield:"
ASSETS_PREFIX = "assets:"


@dataclass(frozen=True)
class AddressBook:
    """Whose address is whose. All addresses are lower case; keys are (chain_id, address)."""

    wallets: frozenset[tuple[int, str]]
    share_pools: dict[tuple[int, str], str]
    contract_pools: dict[tuple[int, str], tuple[str, ...]]
    pegged: dict[tuple[int, str], int] = field(default_factory=dict)
    """Decimals of the approved tokens that are meant to be worth one dollar."""
    openings: dict[tuple[int, str], Opening] = field(default_factory=dict)
    """Wallets whose books begin with balances after a block."""

    @classmethod
    def of(cls, policy: Policy, contracts: pd.DataFrame) -> "AddressBook":
        """Address book of the policy's wallets and of `pool_contracts`.

        Two pools that claim one share token cannot be told apart: ConfigurationError.
        """
        share_pools: dict[tuple[int, str], str] = {}
        contract_pools: dict[tuple[int, str], tuple[str, ...]] = {}
        columns = (contracts[name] for name in ("pool_id", "chain_id", "contract", "share_token"))
        for pool_id, chain_id, contract, share_token in sorted(zip(*columns, strict=True)):
            share = (int(chain_id), share_token.lower())
            if share_pools.setdefault(share, pool_id) != pool_id:
                raise ConfigurationError(
                    f"pool_contracts: pools {share_pools[share]} and {pool_id} both claim share token {share_token} "
                    f"on chain {chain_id}; name one pool per share token"
                )
            at = (int(chain_id), contract.lower())
            contract_pools[at] = tuple(sorted({*contract_pools.get(at, ()), pool_id}))
        wallets = frozenset((wallet.chain_id, wallet.address.lower()) for wallet in policy.wallets)
        ids = {chain.name: chain.chain_id for chain in CHAINS.values()}
        pegged = {
            (ids[token.chain], token.address.lower()): token.decimals
            for token in policy.tokens
            if token.peg == "usd" and token.chain in ids
        }
        openings = {
            (wallet.chain_id, wallet.address.lower()): wallet.opening
            for wallet in policy.wallets
            if wallet.opening is not None
        }
        return cls(wallets, share_pools, contract_pools, pegged, openings)

    def open_at(self, chain_id: int, block: int) -> "AddressBook":
        """The book as it holds in a block: a wallet that opens in it or later is an address like any other."""
        closed = {at for at, opening in self.openings.items() if at[0] == chain_id and block <= opening.block}
        return replace(self, wallets=self.wallets - closed) if closed else self

    def owns(self, chain_id: int, address: str) -> bool:
        """Whether the address is one of our wallets."""
        return (chain_id, address) in self.wallets

    def pool_of_share(self, chain_id: int, token: str) -> str | None:
        """Pool that mints this token, None when it is no known share token."""
        return self.share_pools.get((chain_id, token))

    def pools_at(self, chain_id: int, address: str) -> tuple[str, ...]:
        """Pools that take deposits at this address; several when a protocol has one contract for all its pools."""
        return self.contract_pools.get((chain_id, address), ())

    def is_of_pool(self, chain_id: int, address: str, pool_id: str) -> bool:
        """Whether the address is the pool's contract or its share token."""
        return pool_id in self.pools_at(chain_id, address) or self.pool_of_share(chain_id, address) == pool_id
