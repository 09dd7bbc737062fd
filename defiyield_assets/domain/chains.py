"""The one table of EVM chains: their ids, the names that DeFiLlama gives them, their native coins.

Lives here: what connects wallets (ids) with pools and token lists (names). Not here: which chains are allowed (policy),
which chains a resolver knows (selection/resolvers.py).
"""

from dataclasses import dataclass

from defiyield_assets.errors import ConfigurationError

ETH = "ETH"


@dataclass(frozen=True)
class Chain:
    """One chain: `name` as DeFiLlama spells it, and the coin in which its gas is paid."""

    chain_id: int
    name: str
    native_symbol: str
    native_decimals: int = 18

    @property
    def is_native_trusted(self) -> bool:
        """Whether its native coin counts in dollars: ETH does, at the price of `gas_fees_daily`; no other has one."""
        return self.native_symbol == ETH


_CHAINS = (
    Chain(1, "Ethereum", ETH),
    Chain(10, "Optimism", ETH),
    Chain(56, "BSC", "BNB"),
    Chain(100, "Gnosis", "XDAI"),
    Chain(137, "Polygon", "POL"),
    Chain(8453, "Base", ETH),
    Chain(42161, "Arbitrum", ETH),
    Chain(43114, "Avalanche", "AVAX"),
    Chain(534352, "Scroll", ETH),
)
CHAINS = {chain.chain_id: chain for chain in _CHAINS}
"""Every chain that wallets and pools can be on together, by id."""


def chain_name(chain_id: int) -> str:
    """DeFiLlama's name of a chain; raises `ConfigurationError` for an id that has none here."""
    if chain_id not in CHAINS:
        raise ConfigurationError(f"chain id {chain_id} is not one of {sorted(CHAINS)}: no pool can be matched to it")
    return CHAINS[chain_id].name


def name_or_none(chain_id: int) -> str | None:
    """DeFiLlama's name of a chain, None for an id that has none here."""
    chain = CHAINS.get(chain_id)
    return None if chain is None else chain.name


def is_native_trusted(chain_id: int) -> bool:
    """Whether the chain's native coin counts in dollars; that of an unknown chain does not."""
    chain = CHAINS.get(chain_id)
    return chain is not None and chain.is_native_trusted
