"""The ledger as a file that `bean-check` accepts: every posting to the unit, and what the chain says as assertions.

Lives here: frames in, lines of text out. Not here: reading the tables or writing the file (cli/ledger.py), beancount
itself (cli/beancount_plugin.py says what it needs for numbers that are too long for it).

Syntax and options: beancount.github.io/docs/beancount_language_syntax.html and precision_tolerances.html. Accounts keep
our names under beancount's five roots, a pool's account has one child per wallet, a token is the commodity T<ADDRESS>
(-<chain id> behind it on other chains than Ethereum). Amounts are whole tokens with all their decimals.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import (
    ASSETS_PREFIX,
    NATIVE,
    POOL_PREFIX,
    SHARES_PREFIX,
    UNEXPLAINED_ACCOUNT,
    WALLET_PREFIX,
    YIELD_PREFIX,
    AddressBook,
)
from defiyield_assets.domain.ledger.valuation import EXACT, Prices

PLUGIN = "defiyield_assets.cli.beancount_plugin"
EXACT_KEY = "exact"
PLAIN_DIGITS = 28
"""Digits to which beancount computes: Python's default for decimals. Longer numbers need the plugin."""
NAME_LENGTH, TEXT_LENGTH = 80, 200
"""Longest part of an account, and longest text, that somebody else wrote."""
MAINNET = 1
_TOO_LONG: int = 10**PLAIN_DIGITS
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_UNFIT = re.compile(r"[^A-Za-z0-9-]")
_LEGS = (
    "date",
    "chain_id",
    "block_number",
    "tx_hash",
    "kind",
    "ordinal",
    "leg",
    "account",
    "wallet",
    "token_address",
    "amount",
    "classification",
    "is_pending",
    "corrects",
)
_ACCOUNTS = ("chain_id", "account", "wallet", "token_address", "balance")
_BALANCES = ("date", "chain_id", "wallet", "token_address", "balance")


def quoted(text: str) -> str:
    """A string literal: what tokens and vendors call themselves is hostile, so it is shortened and cannot end early."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:TEXT_LENGTH])
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _fit(name: str) -> str:
    """A name as part of an account: letters, digits and dashes; when that changes it, a digest keeps it unique."""
    cleaned = _UNFIT.sub("-", name)[:NAME_LENGTH]
    if cleaned == name and name:
        return name
    return f"{cleaned}-{hashlib.sha256(name.encode(errors='backslashreplace')).hexdigest()[:12]}".lstrip("-")


def _capital(name: str) -> str:
    """The name as a part of an account may begin: with a capital letter or a digit."""
    return name[:1].upper() + name[1:]


def _text(cell: object) -> str | None:
    """A cell of a text column: null is None, however pandas spells it."""
    return cell if isinstance(cell, str) else None


def commodity(chain_id: int, token: str) -> str:
    """The commodity of a token: T0XA0B8… on Ethereum, T0XA0B8…-10 on chain 10, TNATIVE for ETH."""
    name = token if token == NATIVE or _ADDRESS.fullmatch(token) else _fit(token)
    return f"T{name.upper()}" + ("" if chain_id == MAINNET else f"-{chain_id}")


def account_name(account: str, wallet: str | None) -> str:
    """An account of the ledger under beancount's roots: assets:pool:<id> of a wallet is Assets:Pool:P-<id>:<wallet>."""
    root, kind, *rest = account.split(":", 2)
    parts = [root.capitalize(), kind.capitalize()]
    if rest:
        is_token = account.startswith(YIELD_PREFIX) and (rest[0] == NATIVE or _ADDRESS.fullmatch(rest[0]) is not None)
        is_pool = account.startswith((POOL_PREFIX, SHARES_PREFIX, YIELD_PREFIX)) and not is_token
        leaf = _fit(rest[0])
        parts.append(f"P-{leaf}" if is_pool else _capital(leaf))
    if account.startswith(POOL_PREFIX) and wallet:
        parts.append(_capital(_fit(wallet)))
    return ":".join(parts)


@dataclass
class _Tokens:
    """Commodities of the file: their decimals, and the digits that adding up all their numbers may take."""

    prices: Prices
    decimals: dict[tuple[int, str], int] = field(default_factory=dict)
    turnover: dict[tuple[int, str], int] = field(default_factory=dict)
    largest: dict[tuple[int, str], int] = field(default_factory=dict)

    def know(self, frame: pd.DataFrame) -> None:
        """Learn the decimals of a frame's tokens; each has one number of them, whatever single rows claim."""
        for chain_id, token, claimed in zip(frame["chain_id"], frame["token_address"], frame["decimals"], strict=True):
            if (chain_id, token) not in self.decimals:
                self.decimals[int(chain_id), token] = self.prices.decimals(int(chain_id), token, int(claimed))

    def meet(self, frame: pd.DataFrame, amount: str) -> None:
        """Count the amounts of a frame in."""
        self.know(frame)
        for chain_id, token, units in zip(frame["chain_id"], frame["token_address"], frame[amount], strict=True):
            self.turnover[int(chain_id), token] = self.turnover.get((int(chain_id), token), 0) + abs(units)

    def compare(self, item: "_Assertion") -> None:
        """Count an asserted balance in, which is only compared."""
        at = (item.chain_id, item.token)
        self.largest[at] = max(self.largest.get(at, 0), abs(item.balance))

    def need_plugin(self) -> bool:
        """Whether beancount's own precision would round."""
        return any(is_long(turnover + self.largest.get(at, 0)) for at, turnover in self.turnover.items())

    def number(self, chain_id: int, token: str, amount: int) -> str:
        """Base units in whole tokens, every digit of them."""
        return f"{EXACT.scaleb(Decimal(amount), -self.decimals[chain_id, token]):f}"


def is_long(amount: int) -> bool:
    """Whether beancount would round the number."""
    return abs(amount) >= _TOO_LONG


@dataclass(frozen=True)
class _Assertion:
    """What an account holds at the end of a day, and who says so."""

    day: date
    account: str
    chain_id: int
    token: str
    balance: int
    says: str


def beancount_lines(
    days: DayRange,
    *,
    postings: pd.DataFrame,
    carried: pd.DataFrame,
    closing: pd.DataFrame,
    balances: pd.DataFrame,
    chain_balances: pd.DataFrame,
    prices: Prices,
    claimed_symbols: Mapping[tuple[int, str], str],
    book: AddressBook,
) -> Iterator[str]:
    """Lines (without line ends) of the file about `days`.

    `postings`, `balances` (`daily_balances`) and `chain_balances` are those of the days; `carried` and `closing` the
    newest rows of `trial_balance` up to the day before them and up to the last one. `claimed_symbols` are what
    untrusted tokens call themselves.

    Every transaction is written with all its legs; what was before the days is brought forward in one transaction.
    After each day it is asserted what wallets hold: of trusted tokens and shares of pools as the chain says, of others
    as the ledger says; after the last day also every other asset account. Tolerance is zero: one base unit off is an
    error. A number of more than 28 digits, which beancount would round, makes the file name our plugin.
    """
    tokens = _Tokens(prices)
    tokens.meet(carried, "balance")
    tokens.meet(postings, "amount")
    tokens.know(_known(chain_balances, prices, book))
    forward = _brought_forward(carried)
    asserted = _once([*_assertions(balances, chain_balances, prices, book), *_closing(closing, days.end)])
    for item in asserted:
        tokens.compare(item)
    accounts = set(map(account_name, postings["account"], map(_text, postings["wallet"])))
    accounts |= {account for account, _, _ in forward} | {item.account for item in asserted}
    first = days.start - timedelta(days=1) if forward else days.start
    yield from _head(tokens)
    yield from _commodities(first, tokens, claimed_symbols)
    yield from (f"{first} open {account}" for account in sorted(accounts))
    yield ""
    if forward:
        yield f'{first} * "Balances brought forward"'
        for (account, chain_id, token), balance in sorted(forward.items()):
            yield from _posting(account, chain_id, token, balance, tokens)
        yield ""
    by_day = dict(iter(postings.groupby("date"))) if len(postings) else {}
    for day in days:
        yield from _prices(day, tokens)
        yield from _transactions(by_day[day], tokens) if day in by_day else ()
        yield from _balances(day, [item for item in asserted if item.day == day], tokens)


def _known(chain_balances: pd.DataFrame, prices: Prices, book: AddressBook) -> pd.DataFrame:
    """What the chain says of tokens on which its word is evidence."""
    pairs = zip(chain_balances["chain_id"], chain_balances["token_address"], strict=True)
    return chain_balances.iloc[[at for at, pair in enumerate(pairs) if _is_known(int(pair[0]), pair[1], prices, book)]]


def _is_known(chain_id: int, token: str, prices: Prices, book: AddressBook) -> bool:
    """Whether the chain's word on a token is evidence: trusted, or a share of a pool."""
    return prices.is_trusted(chain_id, token) or book.pool_of_share(chain_id, token) is not None


def _once(assertions: Iterable[_Assertion]) -> list[_Assertion]:
    """One assertion per day, account and token, the first of them; in order."""
    found: dict[tuple[date, str, str], _Assertion] = {}
    for item in assertions:
        found.setdefault((item.day, item.account, commodity(item.chain_id, item.token)), item)
    return [found[at] for at in sorted(found)]


# --- what is in the file ---------------------------------------------------------------------------------------------
def _brought_forward(carried: pd.DataFrame) -> dict[tuple[str, int, str], int]:
    """Balances by (account, chain, token) before the first day; they sum to zero per token."""
    found: dict[tuple[str, int, str], int] = {}
    for chain_id, account, wallet, token, balance in zip(*(carried[name] for name in _ACCOUNTS), strict=True):
        at = (account_name(account, _text(wallet)), int(chain_id), token)
        found[at] = found.get(at, 0) + balance
    return {at: balance for at, balance in found.items() if balance}


def _assertions(
    balances: pd.DataFrame, chain_balances: pd.DataFrame, prices: Prices, book: AddressBook
) -> list[_Assertion]:
    """What wallets hold at the end of each day; the chain's word where it was asked and the token is known.

    What untrusted tokens say of themselves is no evidence: of them the file asserts what was booked.
    """
    found = []
    asked = {
        (day, int(chain_id)) for day, chain_id in zip(chain_balances["date"], chain_balances["chain_id"], strict=True)
    }
    told, booked = _by_wallet(chain_balances), _by_wallet(balances)
    for at in sorted({*told, *booked}):
        day, chain_id, wallet, token = at
        pool_id = book.pool_of_share(chain_id, token)
        is_known = _is_known(chain_id, token, prices, book)
        if not is_known and at not in booked:
            continue
        account = account_name(WALLET_PREFIX + wallet if pool_id is None else POOL_PREFIX + pool_id, wallet)
        is_told = is_known and (day, chain_id) in asked
        balance = told.get(at, 0) if is_told else booked.get(at, 0)
        found.append(_Assertion(day, account, chain_id, token, balance, "chain" if is_told else "ledger"))
    return found


def _closing(closing: pd.DataFrame, day: date) -> list[_Assertion]:
    """Every asset account at the end of the last day: cost basis of pools, too."""
    return [
        _Assertion(day, account_name(account, _text(wallet)), int(chain_id), token, balance, "ledger")
        for chain_id, account, wallet, token, balance in zip(*(closing[name] for name in _ACCOUNTS), strict=True)
        if account.startswith(ASSETS_PREFIX)
    ]


def _by_wallet(frame: pd.DataFrame) -> dict[tuple[date, int, str, str], int]:
    """Balance by (day, chain, wallet, token)."""
    rows = zip(*(frame[name] for name in _BALANCES), strict=True)
    return {(day, int(chain_id), wallet, token): balance for day, chain_id, wallet, token, balance in rows}


# --- lines -----------------------------------------------------------------------------------------------------------
def _head(tokens: _Tokens) -> Iterator[str]:
    yield 'option "title" "defiyield ledger"'
    yield 'option "operating_currency" "USD"'
    yield 'option "tolerance_multiplier" "0"'
    if tokens.need_plugin():
        yield f"; Some numbers have more than {PLAIN_DIGITS} digits, which beancount alone would round."
        yield f'plugin "{PLUGIN}"'
    yield ""


def _commodities(first: date, tokens: _Tokens, claimed_symbols: Mapping[tuple[int, str], str]) -> Iterator[str]:
    yield f"{first} commodity USD"
    for chain_id, token in sorted(tokens.decimals):
        symbol = tokens.prices.symbol(chain_id, token)
        yield f"{first} commodity {commodity(chain_id, token)}"
        if symbol is not None:
            yield f"  symbol: {quoted(symbol)}"
        elif (chain_id, token) in claimed_symbols:
            yield f"  symbol-claimed: {quoted(claimed_symbols[chain_id, token])}"
        yield f"  address: {quoted(token)}"
        yield f"  chain: {chain_id}"
        yield f"  decimals: {tokens.decimals[chain_id, token]}"
    yield ""


def _prices(day: date, tokens: _Tokens) -> Iterator[str]:
    """Closes of trusted tokens, where they are known."""
    for chain_id, token in sorted(tokens.decimals):
        close = tokens.prices.known_close(chain_id, token, day)
        if close is not None:
            yield f"{day} price {commodity(chain_id, token)} {close:f} USD"


def _transactions(rows: pd.DataFrame, tokens: _Tokens) -> Iterator[str]:
    legs = sorted(zip(*(rows[name] for name in _LEGS), strict=True), key=lambda row: row[:7])
    for (day, chain_id, block, tx_hash), group in groupby(legs, key=lambda row: row[:4]):
        own = list(group)
        kinds = list(dict.fromkeys(row[11] for row in own))
        is_open = any(row[12] or row[7] == UNEXPLAINED_ACCOUNT for row in own)
        yield f"{day} {'!' if is_open else '*'} {quoted(', '.join(kinds))}"
        yield f"  tx: {quoted(tx_hash)}"
        yield f"  block: {block}"
        corrected = next((row[13] for row in own if isinstance(row[13], str)), None)
        if corrected is not None:
            yield f"  corrects: {quoted(corrected)}"
        if any(row[12] for row in own):
            yield "  pending: TRUE"
        for row in own:
            yield from _posting(account_name(row[7], _text(row[8])), int(chain_id), row[9], row[10], tokens)
        yield ""


def _posting(account: str, chain_id: int, token: str, amount: int, tokens: _Tokens) -> Iterator[str]:
    number = tokens.number(chain_id, token, amount)
    yield f"  {account}  {number} {commodity(chain_id, token)}"
    if is_long(amount):
        yield f'    {EXACT_KEY}: "{number}"'


def _balances(day: date, asserted: Iterable[_Assertion], tokens: _Tokens) -> Iterator[str]:
    """Assertions about the end of a day; beancount checks them at the start of the next."""
    after = day + timedelta(days=1)
    for item in asserted:
        number = tokens.number(item.chain_id, item.token, item.balance)
        yield f"{after} balance {item.account}  {number} {commodity(item.chain_id, item.token)}  ; {item.says}"
    yield ""
