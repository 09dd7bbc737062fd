"""Chain facts for the ledger's tests: a tiny chain that writes `account_transactions`, and a policy around it.

Lives here: what the tests put in. Not here: what they expect (test_*.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.ledger.accounts import NATIVE, ZERO_ADDRESS
from defiyield_assets.domain.ledger.ordinals import assign_ordinals
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets.domain.policy import Parameters, Policy, Token, Wallet

COLD, WARM = "0x" + "c0" * 20, "0x" + "3a" * 20
BANK, STRANGER, ROUTER = "0x" + "ba" * 20, "0x" + "57" * 20, "0x" + "60" * 20
USDC, DAI, SUSD = "0x" + "a0" * 20, "0x" + "6b" * 20, "0x" + "50" * 20
FAKE_USDC, CRV = "0x" + "fa" * 20, "0x" + "d5" * 20
VAULT, VAULT_SHARE = "0x" + "11" * 20, "0x" + "12" * 20
OTHER, OTHER_SHARE = "0x" + "21" * 20, "0x" + "22" * 20
PAIR, PAIR_SHARE = "0x" + "31" * 20, "0x" + "32" * 20
START = date(2025, 6, 2)
GAS_WEI = 21_000 * 1_000_000_000
COLUMNS = [
    "chain_id",
    "tx_hash",
    "kind",
    "ordinal",
    "date",
    "block_number",
    "block_time",
    "from_address",
    "to_address",
    "token_address",
    "value",
    "decimals",
    "symbol_claimed",
    "is_success",
    "gas_used",
    "gas_price_wei",
    "function_name",
    "is_pending",
    "source",
]


def usd(amount: float) -> int:
    """Base units of a six-decimal dollar token."""
    return round(amount * 10**6)


def make_policy(wallets: Sequence[str] = (COLD, WARM)) -> Policy:
    """Three approved tokens (USDC 6, DAI 18, SUSD accruing 18) and the wallets; CRV and FAKE_USDC are unknown."""
    tokens = (
        Token("USDC", "Ethereum", USDC, 6, "Circle"),
        Token("DAI", "Ethereum", DAI, 18, "Maker"),
        Token("SUSD", "Ethereum", SUSD, 18, "Sky", peg="accruing"),
    )
    named = tuple(Wallet(f"wallet{at}", 1, address, investable=at == 0) for at, address in enumerate(wallets))
    return Policy(Parameters(), tokens, (), wallets=named)


def make_contracts() -> pd.DataFrame:
    """`pool_contracts`: vault, other (single token) and pair (two tokens)."""
    rows = [("vault", VAULT_SHARE, VAULT), ("other", OTHER_SHARE, OTHER), ("pair", PAIR_SHARE, PAIR)]
    return pd.DataFrame(
        [(pool_id, share, 1, contract, 18, False, "test") for pool_id, share, contract in rows],
        columns=["pool_id", "share_token", "chain_id", "contract", "share_decimals", "is_rebasing", "source"],
    )


def make_prices(policy: Policy, days: int = 60, **closes: Sequence[float]) -> Prices:
    """Prices from START on: 1 for every token unless `closes` names a symbol with closes by day; ETH 2,000."""
    rows = []
    for token in policy.tokens:
        series = closes.get(token.symbol, [1.0])
        rows += [
            (token.instrument_id, START + timedelta(days=at), series[min(at, len(series) - 1)]) for at in range(days)
        ]
    bars = pd.DataFrame(rows, columns=["instrument_id", "date", "close"])
    eth = closes.get("ETH", [2000.0])
    return Prices.of(
        policy, bars, {START + timedelta(days=at): Decimal(repr(eth[min(at, len(eth) - 1)])) for at in range(days)}
    )


@dataclass
class Chain:
    """Writes transactions one after the other, one block each."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    block: int = 100

    def send(
        self,
        *moves: tuple[str, str, str, int],
        sender: str | None = None,
        day: int = 0,
        success: bool = True,
        gas: int = GAS_WEI,
        block: int | None = None,
        internal: Sequence[tuple[str, str, int]] = (),
        claimed_decimals: int | None = None,
        chain_id: int = 1,
    ) -> str:
        """A transaction of (token, from, to, value) moves; `sender` pays gas. Returns its hash."""
        self.block += 1
        number = self.block if block is None else block
        tx_hash = f"0x{self.block:064x}"
        when = datetime(2025, 6, 2, 12, tzinfo=UTC) + timedelta(days=day)
        shared = {
            "chain_id": chain_id,
            "tx_hash": tx_hash,
            "date": when.date(),
            "block_number": number,
            "block_time": when,
            "symbol_claimed": None,
            "is_success": success,
            "gas_used": None,
            "gas_price_wei": None,
            "function_name": None,
            "is_pending": False,
            "source": "test",
        }
        decimals = {USDC: 6, NATIVE: 18, FAKE_USDC: 6}
        found = [("native" if token == NATIVE else "token", token, a, b, v) for token, a, b, v in moves]
        found += [("internal", NATIVE, a, b, v) for a, b, v in internal]
        for kind, token, giver, taker, value in found:
            claimed = decimals.get(token, 18) if claimed_decimals is None else claimed_decimals
            self.rows.append(
                {
                    **shared,
                    "kind": kind,
                    "token_address": token,
                    "from_address": giver,
                    "to_address": taker,
                    "value": value,
                    "decimals": claimed,
                }
            )
        if sender is not None:
            self.rows.append(
                {
                    **shared,
                    "kind": "gas",
                    "token_address": NATIVE,
                    "from_address": sender,
                    "to_address": "",
                    "value": gas,
                    "decimals": 18,
                    "gas_used": 21_000,
                    "gas_price_wei": gas // 21_000,
                }
            )
        return tx_hash

    def frame(self, order: Sequence[int] | None = None) -> pd.DataFrame:
        """The `account_transactions` written so far, optionally with its rows in another order."""
        frame = pd.DataFrame([self.rows[at] for at in (order or range(len(self.rows)))])
        if frame.empty:
            return pd.DataFrame(columns=COLUMNS)
        frame = frame.astype(dict.fromkeys(("value", "gas_used", "gas_price_wei"), object))
        frame["value"] = pd.Series([self.rows[at]["value"] for at in (order or range(len(self.rows)))], dtype=object)
        return assign_ordinals(frame)[COLUMNS]


def fund(chain: Chain) -> None:
    """1 ETH into each wallet, so that gas can be paid."""
    for wallet in (COLD, WARM):
        chain.send((NATIVE, BANK, wallet, 10**18))


def mint(share: str, wallet: str, amount: int) -> tuple[str, str, str, int]:
    """Shares minted to a wallet."""
    return (share, ZERO_ADDRESS, wallet, amount)


def burn(share: str, wallet: str, amount: int) -> tuple[str, str, str, int]:
    """Shares burnt from a wallet."""
    return (share, wallet, ZERO_ADDRESS, amount)


def golden_chain() -> Chain:
    """The golden case of ledger.md, in base units of USDC and 18-decimal shares."""
    chain = Chain()
    fund(chain)
    chain.send((USDC, BANK, COLD, usd(10_000)))
    chain.send((USDC, COLD, WARM, usd(9_000)), sender=COLD)
    chain.send(sender=WARM)
    chain.send((USDC, WARM, VAULT, usd(4_000)), mint(VAULT_SHARE, WARM, 3_800 * 10**18), sender=WARM)
    chain.send((USDC, WARM, ROUTER, usd(1_000)), (OTHER_SHARE, ROUTER, WARM, 950 * 10**18), sender=WARM)
    return chain


def totals(postings: pd.DataFrame, by: str = "account") -> dict[tuple[str, str], int]:
    """Non-zero sums of postings by (account, token), exact."""
    found: dict[tuple[str, str], int] = {}
    for account, token, amount in zip(postings[by], postings["token_address"], postings["amount"], strict=True):
        found[account, token] = found.get((account, token), 0) + amount
    return {at: amount for at, amount in found.items() if amount}
