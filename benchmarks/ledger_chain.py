"""A treasury's life on a chain, as Etherscan tells it: any number of transfers on disk, served in pages.

Lives here: what happens on the chain, the vendor's wire format, an in-process transport that pages it. Not here: what
is measured (ledger.py). Everything follows from the seed; the balances at the end are counted here, not by the product.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import IO

import httpx

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.days import end_of, market_stamp, start_of
from defiyield_assets.domain.ledger.accounts import NATIVE, ZERO_ADDRESS
from defiyield_assets.domain.policy import PoolContract, Token, Wallet

CHAIN_ID = 1
WALLETS = tuple(stable_address("wallet", f"benchmark {number}") for number in range(4))
POOLS, BUSINESSES, SPAMMERS = 39, 500, 3_000
ACTIONS = ("txlist", "txlistinternal", "tokentx")
SLOT_SECONDS = 12
FIRST_BLOCK = 15_000_000
EMPTY = b'{"status":"0","message":"No transactions found","result":[]}'
ROUTER, EXCHANGE, KEEPER = (stable_address("contract", name) for name in ("router", "exchange", "keeper"))
_PLAIN_CALLS = frozenset({"", "transfer()", "approve()"})
_PLAIN_GAS, _CONTRACT_GAS = (21_000, 65_000), (90_000, 400_000)
"""Units of gas of transfers and approvals, and of everything that contracts do for us."""
Move = tuple[str, str, str, int]
"""Token, sender, receiver, base units."""


@dataclass
class Told:
    """The rows of one action about one wallet: bytes on disk, and where in them and in which block each row is."""

    path: Path
    blocks: "array[int]" = field(default_factory=lambda: array("Q"))
    starts: "array[int]" = field(default_factory=lambda: array("Q", [0]))

    def page(self, blocks: tuple[int, int], number: int, size: int) -> bytes:
        """One answer: rows in blocks from the first to the last, oldest first."""
        first, last = bisect_left(self.blocks, blocks[0]), bisect_right(self.blocks, blocks[1])
        start, end = min(first + (number - 1) * size, last), min(first + number * size, last)
        if start == end:
            return EMPTY
        with self.path.open("rb") as rows:
            rows.seek(self.starts[start])
            found = rows.read(self.starts[end] - self.starts[start] - 1)
        return b'{"status":"1","message":"OK","result":[' + found + b"]}"


@dataclass
class Facts:
    """What was written to disk and what the chain says at the end of each of the last two days."""

    told: dict[tuple[str, str], Told]
    balances: dict[date, dict[tuple[str, str], int]]
    transfers: int
    transactions: int
    bytes: int


def pool_contracts() -> tuple[PoolContract, ...]:
    """The pools of this chain: a vault each, with its share token."""
    return tuple(
        PoolContract(
            f"pool-{number}", CHAIN_ID, stable_address("vault", str(number)), stable_address("share", str(number))
        )
        for number in range(POOLS)
    )


def wallets() -> tuple[Wallet, ...]:
    """The wallets of this treasury."""
    return tuple(
        Wallet(f"wallet{number}", CHAIN_ID, address, investable=number == 0) for number, address in enumerate(WALLETS)
    )


# --- what happens --------------------------------------------------------------------------------------------------
class _Chain:
    """Writes transactions in block order and counts who holds what."""

    def __init__(self, tokens: Sequence[Token], seed: int, files: Mapping[tuple[str, str], IO[bytes]]) -> None:
        self.random = Random(seed)
        self.tokens = tokens
        self.decimals = {token.address: token.decimals for token in tokens} | {NATIVE: 18}
        self.symbols = {token.address: token.symbol for token in tokens}
        self.files = files
        self.told = {at: Told(Path(file.name)) for at, file in files.items()}
        self.held: dict[tuple[str, str], int] = {}
        self.pools = pool_contracts()
        self.transfers = self.transactions = 0
        self.block, self.clock = FIRST_BLOCK, 0

    def send(
        self,
        sender: str,
        target: str,
        *moves: Move,
        function: str = "",
        internal: Sequence[Move] = (),
        fails: bool = False,
    ) -> None:
        """One transaction: ETH that the sender gives along and token transfers (`moves`), ETH that contracts move."""
        tx_hash = f"0x{self.random.getrandbits(256):064x}"
        gas = self.random.randrange(*_PLAIN_GAS if function in _PLAIN_CALLS else _CONTRACT_GAS)
        price = self.random.randrange(10**9, 30 * 10**9)
        head = f'{{"blockNumber":"{self.block}","timeStamp":"{self.clock}","hash":"{tx_hash}",'
        head += f'"nonce":"{self.transactions}","blockHash":"0x{self.block * 7**80:0>64x}",'
        tail = f'"transactionIndex":"{gas % 200}","gas":"{gas * 5 // 4}","gasPrice":"{price}","gasUsed":"{gas}",'
        tail += f'"cumulativeGasUsed":"{gas * 20}","input":"deprecated","methodId":"0xa9059cbb",'
        tail += f'"functionName":"{function}","confirmations":"{10**6}"}}'
        self.transactions += 1
        happened = () if fails else moves
        wei = sum(value for token, _, _, value in moves if token == NATIVE)
        called = f'"from":"{sender}","to":"{target}","value":"{wei}","contractAddress":"","isError":"{int(fails)}",'
        self._tell("txlist", (sender, target), f'{head}{called}"txreceipt_status":"{int(not fails)}",{tail}')
        for move in happened:
            if move[0] != NATIVE:
                self._tell("tokentx", move[1:3], head + self._token(move) + tail)
        for place, (_, giver, taker, value) in enumerate(internal):
            moved = f'"from":"{giver}","to":"{taker}","value":"{value}","contractAddress":"","input":"","type":"call",'
            rest = f'"gas":"10306","gasUsed":"0","traceId":"0_{place}","isError":"0","errCode":""}}'
            self._tell("txlistinternal", (giver, taker), head + moved + rest)
        if sender in WALLETS:
            self._hold(sender, NATIVE, -gas * price)
        for token, giver, taker, value in (*happened, *internal):
            self._hold(giver, token, -value)
            self._hold(taker, token, value)
            self.transfers += giver in WALLETS or taker in WALLETS

    def _token(self, move: Move) -> str:
        token, giver, taker, value = move
        symbol = self.symbols.get(token, "USDC")
        named = (
            f'"tokenName":"{symbol} Token","tokenSymbol":"{symbol}","tokenDecimal":"{self.decimals.get(token, 18)}",'
        )
        return f'"from":"{giver}","contractAddress":"{token}","to":"{taker}","value":"{value}",{named}'

    def _tell(self, action: str, addresses: Sequence[str], row: str) -> None:
        for wallet in set(addresses).intersection(WALLETS):
            told = self.told[wallet, action]
            told.blocks.append(self.block)
            told.starts.append(told.starts[-1] + self.files[wallet, action].write(row.encode() + b","))

    def _hold(self, address: str, token: str, change: int) -> None:
        if address in WALLETS:
            self.held[address, token] = self.held.get((address, token), 0) + change

    # --- the treasury's habits -----------------------------------------------------------------------------------
    def amount(self, wallet: str, token: str) -> int:
        """Some of what a wallet holds, in base units."""
        return int(self.held.get((wallet, token), 0) * self.random.uniform(0.001, 0.1))

    def business(self) -> str:
        """Somebody outside who pays us or is paid."""
        return _BUSINESS[self.random.randrange(BUSINESSES)]

    def capital_in(self, wallet: str, token: str) -> None:
        """Somebody pays us."""
        payer = self.business()
        self.send(payer, token, (token, payer, wallet, self.random.randrange(1, 10**5) * 10 ** self.decimals[token]))

    def capital_out(self, wallet: str, token: str) -> None:
        """We pay somebody."""
        self.send(wallet, token, (token, wallet, self.business(), self.amount(wallet, token)), function="transfer()")

    def between(self, wallet: str, token: str) -> None:
        """From one wallet of ours to another."""
        other = WALLETS[self.random.randrange(len(WALLETS))]
        self.send(wallet, token, (token, wallet, other, self.amount(wallet, token)), function="transfer()")

    def deposit(self, wallet: str, token: str) -> None:
        """Into a pool of this token, directly or through a router, for shares."""
        pool, amount = self._pool_of(token), self.amount(wallet, token)
        if self.random.random() < 0.3:
            minted = (pool.share_token, ROUTER, wallet, amount * 19 // 20)
            self.send(wallet, ROUTER, (token, wallet, ROUTER, amount), minted, function="deposit()")
        else:
            minted = (pool.share_token, ZERO_ADDRESS, wallet, amount * 19 // 20)
            self.send(wallet, pool.contract, (token, wallet, pool.contract, amount), minted, function="deposit()")

    def withdraw(self, wallet: str, token: str) -> None:
        """Shares burnt for what they are worth by now."""
        pool = self._pool_of(token)
        shares = self.amount(wallet, pool.share_token) * 5
        paid = (token, pool.contract, wallet, shares * 20 // 19 + shares // self.random.randrange(50, 500))
        burnt = (pool.share_token, wallet, ZERO_ADDRESS, shares)
        self.send(wallet, pool.contract, burnt, paid, function="redeem()")

    def swap(self, wallet: str, token: str) -> None:
        """One dollar for another, at a small loss."""
        other = self.tokens[self.random.randrange(len(self.tokens))].address
        if other == token:
            return
        given = self.amount(wallet, token)
        scale = self.decimals[other] - self.decimals[token]
        got = given * 999 // 1000 * 10 ** max(scale, 0) // 10 ** max(-scale, 0)
        self.send(wallet, EXCHANGE, (token, wallet, EXCHANGE, given), (other, EXCHANGE, wallet, got), function="swap()")

    def spam(self, wallet: str, _token: str) -> None:
        """A token that says it is USDC, sent to everybody."""
        fake = _FAKES[self.random.randrange(SPAMMERS)]
        self.send(KEEPER, fake, (fake, KEEPER, wallet, self.random.getrandbits(200) + 1))

    def claim(self, wallet: str, _token: str) -> None:
        """A reward in a token that we do not know."""
        reward = stable_address("reward", "token")
        self.send(wallet, KEEPER, (reward, KEEPER, wallet, self.random.getrandbits(70) + 1), function="claim()")

    def ether(self, wallet: str, _token: str) -> None:
        """ETH from outside, by itself or moved by a contract."""
        payer, wei = self.business(), self.random.randrange(10**17, 10**19)
        if self.random.random() < 0.5:
            self.send(payer, wallet, (NATIVE, payer, wallet, wei))
        else:
            self.send(payer, KEEPER, internal=((NATIVE, KEEPER, wallet, wei),))

    def fails(self, wallet: str, token: str) -> None:
        """A transaction that is reverted."""
        self.send(wallet, EXCHANGE, (token, wallet, EXCHANGE, 1), function="swap()", fails=True)

    def approve(self, wallet: str, token: str) -> None:
        """Gas only."""
        self.send(wallet, token, function="approve()")

    def _pool_of(self, token: str) -> PoolContract:
        place = next(number for number, found in enumerate(self.tokens) if found.address == token)
        return self.pools[place + len(self.tokens) * self.random.randrange(POOLS // len(self.tokens))]


_BUSINESS = tuple(stable_address("business", str(number)) for number in range(BUSINESSES))
_FAKES = tuple(stable_address("spam", str(number)) for number in range(SPAMMERS))
_HABITS: tuple[tuple[int, Callable[[_Chain, str, str], None]], ...] = (
    (22, _Chain.capital_in),
    (14, _Chain.capital_out),
    (14, _Chain.between),
    (12, _Chain.deposit),
    (8, _Chain.withdraw),
    (8, _Chain.swap),
    (10, _Chain.spam),
    (3, _Chain.claim),
    (4, _Chain.ether),
    (2, _Chain.fails),
    (3, _Chain.approve),
)


@dataclass(frozen=True)
class Span:
    """So many days that end with `last`."""

    last: date
    days: int

    @property
    def first(self) -> date:
        """The first day."""
        return self.last - timedelta(days=self.days - 1)


def write_chain(folder: Path, tokens: Sequence[Token], transfers: int, span: Span, *, seed: int) -> Facts:
    """Live that many transfers over the days of the span, evenly, and one more day at the same pace.

    Three transactions in a hundred share their block with the one before.
    """
    first, days = span.first, span.days
    with ExitStack() as stack:
        names = {(wallet, action): folder / f"{wallet}.{action}" for wallet in WALLETS for action in ACTIONS}
        files = {at: stack.enter_context(path.open("wb")) for at, path in names.items()}
        chain = _Chain(tokens, seed, files)
        habits = [habit for weight, habit in _HABITS for _ in range(weight)]
        balances: dict[date, dict[tuple[str, str], int]] = {}
        for number in range(days + 1):
            day = first + timedelta(days=number)
            until = transfers * (number + 1) // days
            done, n_before = chain.transfers, until - chain.transfers
            opens = int(start_of(day).timestamp())
            if number == 0:
                _fund(chain, opens)
            while chain.transfers < until:
                if chain.random.random() >= 0.03:
                    share = (chain.transfers - done) / max(n_before, 1)
                    slot = min(int(share * 86_000) // SLOT_SECONDS, 86_400 // SLOT_SECONDS - 1)
                    chain.clock = max(chain.clock, opens + slot * SLOT_SECONDS)
                    chain.block = FIRST_BLOCK + (chain.clock - int(start_of(first).timestamp())) // SLOT_SECONDS
                habit = habits[chain.random.randrange(len(habits))]
                token = tokens[chain.random.randrange(len(tokens))].address
                habit(chain, WALLETS[chain.random.randrange(len(WALLETS))], token)
            if number >= days - 1:
                balances[day] = {at: held for at, held in chain.held.items() if held}
    size = sum(path.stat().st_size for path in names.values())
    return Facts(chain.told, balances, chain.transfers, chain.transactions, size)


def _fund(chain: _Chain, opens: int) -> None:
    """ETH for gas and a first million of every token in every wallet."""
    chain.clock, chain.block = opens, FIRST_BLOCK
    for wallet in WALLETS:
        payer = chain.business()
        chain.send(payer, wallet, (NATIVE, payer, wallet, 10**24))
        for token in chain.tokens:
            chain.send(payer, token.address, (token.address, payer, wallet, 10 ** (6 + token.decimals)))


# --- how it is told ------------------------------------------------------------------------------------------------
def last_block(first: date, day: date) -> int:
    """The newest block of a day on a chain that begins with `first`."""
    return FIRST_BLOCK + (int((end_of(day) - start_of(first)).total_seconds()) - 1) // SLOT_SECONDS


class PagedChain(httpx.AsyncBaseTransport):
    """Etherscan about this chain, as it stands at the end of a day."""

    def __init__(self, facts: Facts, first: date, day: date) -> None:
        self._told, self._stamp = facts.told, market_stamp(day)
        self._head = last_block(first, day)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One page of one action, or the newest block."""
        params = request.url.params
        if params["action"] == "eth_blockNumber":
            return self._response(f'{{"jsonrpc":"2.0","id":1,"result":"{self._head:#x}"}}'.encode())
        blocks = int(params["startblock"]), min(int(params["endblock"]), self._head)
        told = self._told[params["address"], params["action"]]
        return self._response(told.page(blocks, int(params["page"]), int(params["offset"])))

    def _response(self, body: bytes) -> httpx.Response:
        stamp = self._stamp.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return httpx.Response(200, headers={"date": stamp, "content-type": "application/json"}, content=body)
