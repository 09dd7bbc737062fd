"""Share tokens that follow ERC-4626: which token they stand for and how much of it, asked of a node.

Lives here: the two calls and their ABI encoding. Not here: JSON-RPC (ethereum_node.py), which shares are asked about
and what follows from the answer (domain/ledger/share_rates.py).
"""

from dataclasses import dataclass

from defiyield_assets.sources.ethereum_node import EthereumNode
from defiyield_assets.sources.transport import Window

ASSET = "0x38d52e0f"
"""Selector of `asset()`, the underlying token."""
CONVERT_TO_ASSETS = "0x07a2d13a"
"""Selector of `convertToAssets(uint256 shares)`, underlying base units without fees, rounded down."""
_WORD_DIGITS = 64
_ADDRESS_DIGITS = 40


@dataclass(frozen=True)
class Worth:
    """What shares stand for: base units of a token (lower-case address)."""

    token: str
    assets: int


async def worth_of(
    node: EthereumNode, share_token: str, shares: int, block: int, *, holder: str, reuse: Window | None = None
) -> Worth | None:
    """What the holder's shares stand for at a block; None when the contract does not follow ERC-4626.

    `shares` are base units from 0 to 2**256-1. Errors are those of `EthereumNode.call`.
    """
    token = address_of((await node.call(share_token, ASSET, block, reuse=reuse)).rows.data)
    if token is None:
        return None
    question = f"{CONVERT_TO_ASSETS}{shares:0{_WORD_DIGITS}x}"
    told = await node.call(share_token, question, block, sender=holder, reuse=reuse)
    assets = quantity_of(told.rows.data)
    return None if assets is None else Worth(token, assets)


def quantity_of(answer: str | None) -> int | None:
    """A uint256 as a contract returns it; None for anything else (no such function, no contract at all)."""
    if answer is None or len(answer) != 2 + _WORD_DIGITS:
        return None
    return int(answer, 16)


def address_of(answer: str | None) -> str | None:
    """An address as a contract returns it, lower case; None for anything else and for the zero address."""
    number = quantity_of(answer)
    if not number or number >> (4 * _ADDRESS_DIGITS):
        return None
    return f"0x{number:0{_ADDRESS_DIGITS}x}"
