"""Opening balances: what a wallet held at a stated block, where the vendors' history does not reach back.

Lives here: openings as transactions in booking order. Not here: their legs (booking.py), reading accounts.yaml
(config/loader.py), which blocks are asked for (finality.py).

Up to its block a wallet with an opening is an address like any other (`AddressBook.open_at`): what it did there is not
booked, and what it got from or gave to wallets that were ours by then is capital.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC
from heapq import merge

import pandas as pd

from defiyield_assets.domain.chains import name_or_none
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import NATIVE, NATIVE_DECIMALS, OPENING
from defiyield_assets.domain.ledger.transactions import Movement, Transaction
from defiyield_assets.domain.policy import OpeningBalance, Policy, TokenAmount, Wallet
from defiyield_assets.errors import ConfigurationError


def opening_hash(chain_id: int, wallet: str) -> str:
    """The name under which a wallet's opening is posted, in place of a transaction's hash."""
    return f"{OPENING}:{chain_id}:{wallet}"


def is_opening(transaction: Transaction) -> bool:
    """Whether this is an opening and no transaction of the chain."""
    return transaction.tx_hash.startswith(f"{OPENING}:")


def read_openings(policy: Policy, contracts: pd.DataFrame, days: DayRange | None = None) -> list[Transaction]:
    """Openings of the policy's wallets on the days (None: all), in booking order.

    One movement of kind `opening` per token, numbered in the order of the tokens, to the wallet; what shares stand for
    comes from the share token. ConfigurationError for shares that no listed pool mints or that stand for nothing.
    """
    columns = (contracts[name] for name in ("chain_id", "share_token", "share_decimals"))
    decimals = {(int(chain_id), token.lower()): int(told) for chain_id, token, told in zip(*columns, strict=True)}
    found = []
    for wallet in policy.wallets:
        if wallet.opening is None:
            continue
        at = wallet.opening.time.astimezone(UTC)
        if days is not None and at.date() not in days:
            continue
        shares = {token: told for (chain_id, token), told in decimals.items() if chain_id == wallet.chain_id}
        movements = tuple(_movements(wallet, wallet.opening.balances, shares, policy))
        name = opening_hash(wallet.chain_id, wallet.address)
        found.append(Transaction(wallet.chain_id, name, wallet.opening.block, at, at.date(), False, movements, gas=()))
    return sorted(found, key=_booking_order)


def join_openings(transactions: Iterable[Transaction], openings: Iterable[Transaction]) -> Iterator[Transaction]:
    """Transactions in booking order, with each opening behind the other transactions of its block."""
    return merge(transactions, openings, key=lambda one: (*_booking_order(one), is_opening(one)))


def _booking_order(transaction: Transaction) -> tuple[object, int, int]:
    return transaction.day, transaction.chain_id, transaction.block_number


def _movements(
    wallet: Wallet, balances: Iterable[OpeningBalance], shares: dict[str, int], policy: Policy
) -> Iterator[Movement]:
    ordinal = 0
    for balance in sorted(balances, key=lambda one: one.token):
        if bool(balance.underlying) != (balance.token in shares):
            raise ConfigurationError(_not_a_share(wallet, balance))
        known = replace(balance, decimals=shares.get(balance.token, balance.decimals))
        yield _movement(wallet, ordinal, known, "", policy)
        ordinal += 1
        for item in sorted(balance.underlying, key=lambda one: one.token):
            yield _movement(wallet, ordinal, item, balance.token, policy)
            ordinal += 1


def _movement(wallet: Wallet, ordinal: int, item: TokenAmount, sender: str, policy: Policy) -> Movement:
    token = policy.token_by_address().get((name_or_none(wallet.chain_id) or "", item.token))
    listed = NATIVE_DECIMALS if item.token == NATIVE else token.decimals if token is not None else 0
    decimals = listed if item.decimals is None else item.decimals
    return Movement(OPENING, ordinal, item.token, sender, wallet.address, item.amount, decimals)


def _not_a_share(wallet: Wallet, balance: OpeningBalance) -> str:
    where = f"accounts.yaml: opening of wallet {wallet.name} on chain {wallet.chain_id}, token {balance.token}"
    if balance.underlying:
        return (
            f"{where}: underlying is given, but no listed pool mints this token; "
            "name its pool under pool_contracts in policy.yaml or leave underlying out"
        )
    return f"{where} is the share token of a listed pool: say under underlying what these shares stood for"
