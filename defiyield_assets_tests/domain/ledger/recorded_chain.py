"""Real transactions for the ledger's tests: recorded receipts and one recorded account, as `account_transactions`.

Lives here: reading the recorded files, and what the wallets must have held before. Not here: what the tests expect
(test_recorded_transactions.py). Nobody here looks at the names of the sources to classify anything.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd

from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.ledger.accounts import NATIVE, AddressBook
from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.domain.ledger.transactions import read_transactions
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets.domain.ledger.wrapping import as_it_happened
from defiyield_assets.domain.policy import Parameters, Policy, Token, Wallet
from defiyield_assets.sources.account_rows import account_frame, account_row
from defiyield_assets.sources.etherscan import parse_internal, parse_token_transfers, parse_transactions
from defiyield_assets.sources.receipts import proxied, read_receipt, receipt_rows

ACCOUNT = "0xb8553d9ee35dd23bb96fbd679e651b929821969b"
BANK = "0x" + "ba" * 20
DAY = date(2025, 1, 2)
"""Day of all recorded receipts, which do not tell their time; what was held before came on the day before."""
NO_CONTRACTS = pd.DataFrame(
    columns=["pool_id", "share_token", "chain_id", "contract", "share_decimals", "is_rebasing", "source"]
)


@dataclass(frozen=True)
class Recorded:
    """One recorded transaction with its sender as our wallet. `names` are its sources', for checking only."""

    names: tuple[str, ...]
    chain_id: int
    wallet: str
    frame: pd.DataFrame


def approved_tokens() -> tuple[Token, ...]:
    """The tokens that the product ships as approved."""
    return load_policy(DAY).policy.tokens


def policy_of(wallets: set[tuple[int, str]]) -> Policy:
    """Approved tokens and the wallets (chain id, address)."""
    named = tuple(Wallet(f"wallet{at}", chain, address) for at, (chain, address) in enumerate(sorted(wallets)))
    return Policy(Parameters(), approved_tokens(), (), wallets=named)


def prices_of(policy: Policy, days: set[date]) -> Prices:
    """A dollar for every approved token, 2,000 for ETH."""
    bars = pd.DataFrame(
        [(token.instrument_id, day, 1.0) for token in policy.tokens for day in days],
        columns=["instrument_id", "date", "close"],
    )
    return Prices.of(policy, bars, dict.fromkeys(days, Decimal(2_000)))


@cache
def recorded_transactions(folder: Path) -> list[Recorded]:
    """All recorded pairs of transaction and receipt, each transaction once, in the order of their names."""
    found: dict[tuple[int, str], dict[str, object]] = {}
    names: dict[tuple[int, str], set[str]] = {}
    path = folder / "chain" / "etherscan_defi_tx_and_receipts.json.gz"
    for entry in json.loads(gzip.decompress(path.read_bytes())):
        asked = {name: values[0] for name, values in parse_qs(urlsplit(entry["url"]).query).items()}
        at = (int(asked["chainid"]), asked["txhash"])
        found.setdefault(at, {})[asked["action"]] = entry["response"]
        names.setdefault(at, set()).add(entry["source"].rsplit("decoders/", 1)[1].removesuffix(".yaml"))
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    recorded = []
    for at, answers in found.items():
        told = proxied(answers["eth_getTransactionByHash"])
        receipt = read_receipt(told, proxied(answers["eth_getTransactionReceipt"]))
        rows = receipt_rows(receipt, at[0], [receipt.sender], noon)
        recorded.append(Recorded(tuple(sorted(names[at])), at[0], receipt.sender, account_frame(rows)))
    return sorted(recorded, key=lambda one: one.names)


def recorded_account(folder: Path, chain_id: int) -> pd.DataFrame:
    """`account_transactions` of the recorded account on Ethereum (1) or Optimism (10): the union of all its answers."""
    path = folder / "chain" / "etherscan_account_0xb8553d9e_txlist_tokentx_internal.json"
    readers = {
        "txlist": lambda answer: parse_transactions(answer, chain_id, ACCOUNT),
        "tokentx": lambda answer: parse_token_transfers(answer, chain_id),
        "txlistinternal": lambda answer: parse_internal(answer, chain_id),
    }
    views: dict[str, list[dict[str, object]]] = defaultdict(list)
    for entry in json.loads(path.read_text()):
        asked = {name: values[0] for name, values in parse_qs(urlsplit(entry["url"]).query).items()}
        if (1 if asked.get("chainid") == "1" else 10) == chain_id:
            span = f"{asked.get('startblock')}-{asked['endblock']}"
            views[span] += readers[asked["action"]](entry["response"]).rows
    return merge_views([account_frame(rows) for rows in views.values()])


def held_before(frame: pd.DataFrame, wallets: set[tuple[int, str]], known: Collection[str] = ()) -> pd.DataFrame:
    """The frame after a day on which every wallet got all that it gives away in it, from a bank outside.

    What history does not reach back to: without it a withdrawal would give away shares that nobody ever saw. `known`:
    tokens whose origin is in the frame.
    """
    book = AddressBook(frozenset(wallets), {}, {})
    needed: dict[tuple[int, str, str], int] = defaultdict(int)
    decimals: dict[tuple[int, str, str], int] = {}
    for transaction in read_transactions(frame, book):
        for move in (*as_it_happened(transaction, book).movements, *transaction.gas):
            if book.owns(transaction.chain_id, move.sender) and move.token not in known:
                at = (transaction.chain_id, move.sender, move.token)
                needed[at] += move.value
                decimals[at] = move.decimals
    first = frame["block_time"].min() - timedelta(days=1)
    rows = [
        account_row(
            chain_id=chain_id,
            tx_hash=f"0x{number:064x}",
            kind="native" if token == NATIVE else "token",
            block_number=1,
            block_time=first.to_pydatetime(),
            from_address=BANK,
            to_address=wallet,
            value=amount,
            source="test",
            token_address=token,
            decimals=decimals[chain_id, wallet, token],
        )
        for number, ((chain_id, wallet, token), amount) in enumerate(sorted(needed.items()))
        if amount
    ]
    return pd.concat([account_frame(rows), frame], ignore_index=True) if rows else frame
