"""EVM chain ids and the names that DeFiLlama gives these chains.

Lives here: the one mapping between wallets (ids) and pools (names). Not here: which chains are allowed (policy).
"""

from defiyield_assets.errors import ConfigurationError

CHAIN_NAMES = {
    1: "Ethereum",
    10: "Optimism",
    56: "BSC",
    100: "Gnosis",
    137: "Polygon",
    8453: "Base",
    42161: "Arbitrum",
    43114: "Avalanche",
}


def chain_name(chain_id: int) -> str:
    """DeFiLlama's name of a chain; raises `ConfigurationError` for an id that has none here."""
    if chain_id not in CHAIN_NAMES:
        raise ConfigurationError(
            f"chain id {chain_id} is not one of {sorted(CHAIN_NAMES)}: no pool can be matched to it"
        )
    return CHAIN_NAMES[chain_id]
