"""Share tokens by ERC-4626: what is asked of the node, byte by byte, and what counts as an answer."""

import json
from typing import Any

import httpx
import pytest

from defiyield_assets.sources.erc4626 import Worth, address_of, quantity_of, worth_of
from defiyield_assets.sources.ethereum_node import EthereumNode
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World

SHARE, TOKEN, HOLDER = "0x" + "5a" * 20, "0x" + "a0" * 20, "0x" + "3a" * 20
REVERTED = {"error": {"code": 3, "message": "execution reverted"}}
WORD = "0x" + "0" * 24 + "a0" * 20


def ask(shares: int, *answers: Any) -> tuple[Worth | None, list[Any]]:
    """What comes of these answers to the calls in turn, and the parameters of the calls."""
    queue = [answer if isinstance(answer, dict) else {"result": answer} for answer in answers]
    vendors = Vendors(lambda _: httpx.Response(200, json=queue.pop(0)))
    here = World(vendors, MemoryArchive())
    told = here.run(lambda gateway: worth_of(EthereumNode(gateway), SHARE, shares, 99, holder=HOLDER))
    return told, [json.loads(request.content)["params"] for request in vendors.requests]


def test_a_vault_tells_its_token_and_what_the_shares_are_worth() -> None:
    """The selectors are those of EIP-4626: keccak-256 of `asset()` and of `convertToAssets(uint256)`."""
    told, asked = ask(3_800 * 10**18, WORD, f"0x{4_007 * 10**6:064x}")
    assert told == Worth(TOKEN, 4_007 * 10**6)
    assert asked == [
        [{"to": SHARE, "data": "0x38d52e0f"}, "0x63"],
        [{"to": SHARE, "data": "0x07a2d13a" + f"{3_800 * 10**18:064x}", "from": HOLDER}, "0x63"],
    ]


def test_integers_of_256_bits_survive() -> None:
    most = 2**256 - 1
    told, asked = ask(most, WORD, hex(most))
    assert told == Worth(TOKEN, most)
    assert asked[1][0]["data"] == "0x07a2d13a" + "f" * 64


@pytest.mark.parametrize(
    "answers", [(REVERTED,), ("0x",), (WORD + "00",), ("0x" + "0" * 64,), (WORD, REVERTED), (WORD, "0x")]
)
def test_a_contract_that_does_not_follow_the_standard_is_none(answers: tuple[Any, ...]) -> None:
    told, asked = ask(1, *answers)
    assert told is None
    assert len(asked) == len(answers), "a token that has no underlying is not asked about it"


def test_words_are_read_whole() -> None:
    assert quantity_of(f"0x{17:064x}") == 17
    assert quantity_of("0x11") is None
    assert quantity_of(None) is None
    assert address_of("0x" + "0" * 24 + "AB" * 20) == "0x" + "ab" * 20
    assert address_of("0x" + "0" * 23 + "1" + "ab" * 20) is None
