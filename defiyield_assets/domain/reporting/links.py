"""Where a pool, a token, a wallet or a transaction is looked at on the web.

Lives here: addresses of public pages, and when there are none. Not here: the cell that carries one (layout.Link).

Everything in a simulated market is made up: its ids lead nowhere, so nothing is linked. A recorded market has real
pools and tokens, but made-up wallets and transactions. The explorer knows Ethereum only.
"""

import re
from typing import Any

LIVE = "live"
RECORDED = "recorded"
POOL_PAGE = "https://defillama.com/yields/pool/"
EXPLORER = "https://etherscan.io/"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ADDRESS = re.compile(r"0x[0-9a-f]{40}")
HASH = re.compile(r"0x[0-9a-f]{64}")


def pool_url(market: str, pool_id: Any) -> str:
    """DeFiLlama's page of a pool, "" where there is none."""
    return _page(POOL_PAGE, UUID, pool_id) if market in (LIVE, RECORDED) else ""


def token_url(market: str, address: Any) -> str:
    """The explorer's page of a token on Ethereum, "" where there is none."""
    return _page(f"{EXPLORER}token/", ADDRESS, address) if market in (LIVE, RECORDED) else ""


def wallet_url(market: str, address: Any) -> str:
    """The explorer's page of an account on Ethereum, "" where there is none."""
    return _page(f"{EXPLORER}address/", ADDRESS, address) if market == LIVE else ""


def transaction_url(market: str, tx_hash: Any) -> str:
    """The explorer's page of a transaction on Ethereum, "" where there is none."""
    return _page(f"{EXPLORER}tx/", HASH, tx_hash) if market == LIVE else ""


def _page(start: str, pattern: re.Pattern[str], name: Any) -> str:
    """Only what looks exactly like an id is put into an address: no vendor can lead elsewhere."""
    return f"{start}{name}" if isinstance(name, str) and pattern.fullmatch(name) else ""
