"""The bookkeeper: turns transactions, one after the other, into balanced legs, and keeps what later legs depend on.

Lives here: legs of every kind of transaction, shares held and the cost basis of each pool. Not here: reading or
recognising transactions (transactions.py, classify.py), dollars and frames (postings.py).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from defiyield_assets.domain.ledger.accounts import (
    CONVERSION_COST,
    CONVERSIONS,
    DEPOSIT,
    EXTERNAL_IN,
    EXTERNAL_OUT,
    EXTERNAL_PREFIX,
    GAS,
    MIGRATION,
    NATIVE,
    POOL_PREFIX,
    REWARD,
    REWARDS,
    SHARES_PREFIX,
    SWAP,
    UNEXPLAINED,
    UNEXPLAINED_ACCOUNT,
    UNTRUSTED_TOKEN,
    WALLET_PREFIX,
    WALLET_TRANSFER,
    WITHDRAWAL,
    YIELD_PREFIX,
    AddressBook,
)
from defiyield_assets.domain.ledger.classify import (
    Holding,
    Shape,
    attribute,
    classify_exchange,
    classify_gas,
    read_shape,
)
from defiyield_assets.domain.ledger.transactions import Movement, Transaction


class Leg(NamedTuple):
    """One leg of a posting: signed base units on an account. `kind` and `ordinal` name the movement behind it."""

    kind: str
    ordinal: int
    account: str
    token: str
    amount: int
    decimals: int
    wallet: str | None
    pool_id: str | None
    classification: str


class Bookkeeper:
    """Books transactions in booking order; remembers shares, basis, who got capital and untrusted quantities."""

    def __init__(self, book: AddressBook, is_trusted: Callable[[int, str], bool]) -> None:
        self._book = book
        self._is_trusted = is_trusted
        self._shares: dict[Holding, int] = {}
        self._basis: dict[Holding, dict[str, int]] = {}
        self._underlyings: dict[tuple[int, str], set[str]] = {}
        self._decimals: dict[tuple[int, str], int] = {}
        self._capital: dict[tuple[int, str], str] = {}
        self._untrusted: dict[tuple[int, str, str], int] = {}
        self._legs: list[Leg] = []
        self._tx_pool: str | None = None

    def book(self, transaction: Transaction) -> list[Leg]:
        """Legs of the next transaction; they sum to zero per token."""
        self._legs = []
        is_sent = any(self._book.owns(transaction.chain_id, gas.sender) for gas in transaction.gas)
        moved = self._believable(transaction, is_sent=is_sent)
        for move in moved:
            self._decimals.setdefault((transaction.chain_id, move.token), move.decimals)
        shape = read_shape(transaction, moved, self._book)
        pools = {holding.pool_id for holding in (*shape.minted, *shape.burnt)}
        self._tx_pool = pools.pop() if len(pools) == 1 else None
        for move in shape.own:
            self._move_between_wallets(transaction.chain_id, move)
        if shape.shares:
            self._book_pools(transaction.chain_id, shape)
        elif shape.ins or shape.outs:
            self._book_plain(transaction.chain_id, shape)
        self._book_gas(transaction)
        return self._legs

    def _believable(self, transaction: Transaction, *, is_sent: bool) -> list[Movement]:
        """Movements without those that cannot be: an untrusted token may claim that we sent what we never had.

        Fake tokens emit such events to plant look-alike addresses in histories. Only in transactions that we did not
        send, and only beyond the quantity held; trusted tokens and shares are always taken at their word.
        """
        chain_id, believed = transaction.chain_id, []
        incoming_first = sorted(transaction.movements, key=lambda move: self._book.owns(chain_id, move.sender))
        for move in incoming_first:
            if self._is_trusted(chain_id, move.token) or self._book.pool_of_share(chain_id, move.token) is not None:
                believed.append(move)
                continue
            value = move.value
            if self._book.owns(chain_id, move.sender):
                at = (chain_id, move.sender, move.token)
                held = self._untrusted.get(at, 0)
                value = value if is_sent else min(value, held)
                self._untrusted[at] = held - value
            if self._book.owns(chain_id, move.receiver):
                at = (chain_id, move.receiver, move.token)
                self._untrusted[at] = self._untrusted.get(at, 0) + value
            if value:
                believed.append(
                    Movement(move.kind, move.ordinal, move.token, move.sender, move.receiver, value, move.decimals)
                )
        return sorted(believed, key=lambda move: (move.kind, move.ordinal))

    # --- legs ----------------------------------------------------------------------------------------------------
    def _leg(
        self,
        move: Movement,
        account: str,
        amount: int,
        classification: str,
        *,
        wallet: str | None = None,
        pool_id: str | None = None,
        token: str | None = None,
        chain_id: int = 0,
    ) -> None:
        if amount:
            name = move.token if token is None else token
            decimals = move.decimals if token is None else self._decimals[chain_id, token]
            self._legs.append(
                Leg(move.kind, move.ordinal, account, name, amount, decimals, wallet, pool_id, classification)
            )

    def _wallet_leg(self, chain_id: int, move: Movement, classification: str, pool_id: str | None) -> None:
        """The side of a movement that is in our wallet: minus what left it, plus what came."""
        if self._book.owns(chain_id, move.sender):
            wallet, amount = move.sender, -move.value
        else:
            wallet, amount = move.receiver, move.value
        self._leg(move, WALLET_PREFIX + wallet, amount, classification, wallet=wallet, pool_id=pool_id)

    def _counter(
        self, chain_id: int, move: Movement, account: str, classification: str, pool_id: str | None = None
    ) -> None:
        """A movement against one account that belongs to no wallet."""
        self._wallet_leg(chain_id, move, classification, pool_id)
        sign = 1 if self._book.owns(chain_id, move.sender) else -1
        self._leg(move, account, sign * move.value, classification, pool_id=pool_id)

    def _pool_leg(self, move: Movement, holding: Holding, token: str, amount: int, classification: str) -> None:
        """Underlying of a pool; keeps the holding's basis equal to its account."""
        if not amount:
            return
        self._leg(
            move,
            POOL_PREFIX + holding.pool_id,
            amount,
            classification,
            wallet=holding.wallet,
            pool_id=holding.pool_id,
            token=token,
            chain_id=holding.chain_id,
        )
        basis = self._basis.setdefault(holding, {})
        basis[token] = basis.get(token, 0) + amount
        self._underlyings.setdefault((holding.chain_id, holding.pool_id), set()).add(token)

    def _book_gas(self, transaction: Transaction) -> None:
        classification = classify_gas(transaction, [leg.classification for leg in self._legs])
        for gas in transaction.gas:
            if self._book.owns(transaction.chain_id, gas.sender):
                self._counter(transaction.chain_id, gas, GAS, classification, self._tx_pool)

    # --- own wallets -----------------------------------------------------------------------------------------------
    def _move_between_wallets(self, chain_id: int, move: Movement) -> None:
        """Wallet to wallet: both legs, money moved is not money lost. Shares take their part of the basis along."""
        pool_id = self._book.pool_of_share(chain_id, move.token)
        prefix = WALLET_PREFIX if pool_id is None else POOL_PREFIX
        for wallet, amount in ((move.sender, -move.value), (move.receiver, move.value)):
            account = prefix + (wallet if pool_id is None else pool_id)
            self._leg(move, account, amount, WALLET_TRANSFER, wallet=wallet, pool_id=pool_id)
        if pool_id is not None and move.sender != move.receiver:
            giver, taker = Holding(chain_id, move.sender, pool_id), Holding(chain_id, move.receiver, pool_id)
            for token, amount in self._released(giver, move.value).items():
                self._pool_leg(move, giver, token, -amount, WALLET_TRANSFER)
                self._pool_leg(move, taker, token, amount, WALLET_TRANSFER)
            self._add_shares(giver, -move.value)
            self._add_shares(taker, move.value)

    # --- pools -----------------------------------------------------------------------------------------------------
    def _add_shares(self, holding: Holding, amount: int) -> None:
        self._shares[holding] = self._shares.get(holding, 0) + amount

    def _released(self, holding: Holding, burnt: int) -> dict[str, int]:
        """Cost basis that goes with burnt shares: proportional, rounded down; all of it with the last share."""
        held, basis = self._shares.get(holding, 0), self._basis.get(holding, {})
        if burnt >= held:
            return {token: amount for token, amount in basis.items() if amount}
        return {token: amount * burnt // held for token, amount in basis.items() if amount * burnt >= held}

    def _book_pools(self, chain_id: int, shape: Shape) -> None:
        deposits: dict[Holding, list[Movement]] = {}
        withdrawals: dict[Holding, list[Movement]] = {}
        self._sort_outs(chain_id, shape, deposits, withdrawals)
        self._sort_ins(chain_id, shape, deposits, withdrawals)
        explained = {**dict.fromkeys(deposits, DEPOSIT), **dict.fromkeys(withdrawals, WITHDRAWAL)}
        if shape.is_migration:
            explained = {**dict.fromkeys((*shape.minted, *shape.burnt), MIGRATION)}
            self._migrate(shape)
        for holding, moves in deposits.items():
            self._deposit(chain_id, holding, moves)
        for holding, moves in withdrawals.items():
            self._withdraw(chain_id, holding, moves, shape.burnt[holding])
        for holding, burnt in shape.burnt.items():
            if holding not in explained:
                self._release_unexplained(shape, holding, burnt)
        self._book_shares(chain_id, shape, explained)

    def _sort_outs(
        self,
        chain_id: int,
        shape: Shape,
        deposits: dict[Holding, list[Movement]],
        withdrawals: dict[Holding, list[Movement]],
    ) -> None:
        """Which holding each token that left belongs to: paid in, returned to the pool, a fee, or unexplained."""
        returned = {move.token for move in shape.ins}
        for move in shape.outs:
            if move.token == NATIVE and (shape.is_native_fee() if shape.minted else shape.burnt):
                self._counter(chain_id, move, CONVERSION_COST, DEPOSIT if shape.minted else WITHDRAWAL, self._tx_pool)
                continue
            target, holding = deposits, attribute(move.receiver, shape.minted, self._book)
            if not shape.minted and move.token in returned:
                target, holding = withdrawals, attribute(move.receiver, shape.burnt, self._book)
            if holding is None:
                self._unexplained(chain_id, move)
            else:
                target.setdefault(holding, []).append(move)

    def _sort_ins(
        self,
        chain_id: int,
        shape: Shape,
        deposits: dict[Holding, list[Movement]],
        withdrawals: dict[Holding, list[Movement]],
    ) -> None:
        """Which holding each token that came belongs to: paid out, change of a deposit, a reward, or unexplained."""
        given = {move.token for move in shape.outs}
        for move in shape.ins:
            if shape.burnt and not shape.is_migration:
                holding = attribute(move.sender, shape.burnt, self._book)
                if holding is None:
                    self._unexplained(chain_id, move)
                else:
                    withdrawals.setdefault(holding, []).append(move)
            elif move.token == NATIVE and shape.is_native_fee():
                self._counter(chain_id, move, CONVERSION_COST, DEPOSIT, self._tx_pool)
            elif move.token in given:
                holding = attribute(move.sender, deposits, self._book)
                if holding is None:
                    self._unexplained(chain_id, move)
                else:
                    deposits[holding].append(move)
            elif any(move.token in self._basis.get(holding, {}) for holding in (*shape.burnt, *shape.minted)):
                self._unexplained(chain_id, move)
            else:
                self._counter(chain_id, move, REWARDS, REWARD, self._tx_pool)

    def _deposit(self, chain_id: int, holding: Holding, moves: Iterable[Movement]) -> None:
        """Underlying out; change that comes back lowers the basis, and what exceeds the basis is a reward."""
        for move in moves:
            self._wallet_leg(chain_id, move, DEPOSIT, holding.pool_id)
            if self._book.owns(chain_id, move.sender):
                self._pool_leg(move, holding, move.token, move.value, DEPOSIT)
            else:
                change = min(move.value, self._basis[holding][move.token])
                self._pool_leg(move, holding, move.token, -change, DEPOSIT)
                self._leg(move, REWARDS, change - move.value, DEPOSIT, pool_id=holding.pool_id)

    def _withdraw(self, chain_id: int, holding: Holding, moves: Iterable[Movement], burnt: int) -> None:
        """Underlying back: its part of the basis leaves the pool, what is beyond it is yield (a loss: negative yield).

        A basis token that something else came for was converted by the pool: then it, what came in its place and all
        excess go through equity:conversions. Without any basis (history does not reach back) nothing is called yield.
        """
        known = self._basis.get(holding, {})
        by_token: dict[str, list[Movement]] = {}
        for move in moves:
            by_token.setdefault(move.token, []).append(move)
        received = {token: self._received(chain_id, same) for token, same in by_token.items()}
        released = self._released_for(holding, burnt, received)
        converted = {token: amount for token, amount in released.items() if token not in by_token}
        underlyings, has_basis = set(known), any(known.values())
        for token, same in by_token.items():
            account = UNEXPLAINED_ACCOUNT
            if has_basis:
                account = self._excess_account(holding, token in underlyings, is_converted=bool(converted))
            excess = received[token] - released.get(token, 0)
            for number, move in enumerate(same):
                paid = self._received(chain_id, [move]) - (0 if number else excess)
                self._wallet_leg(chain_id, move, WITHDRAWAL, holding.pool_id)
                self._pool_leg(move, holding, token, -paid, WITHDRAWAL)
            owner = holding.wallet if account.startswith(YIELD_PREFIX) else None
            self._leg(same[0], account, -excess, WITHDRAWAL, wallet=owner, pool_id=holding.pool_id)
        carrier = next(iter(by_token.values()))[0]
        for token, amount in converted.items():
            self._release(carrier, holding, token, amount, CONVERSIONS)

    def _released_for(self, holding: Holding, burnt: int, received: Mapping[str, int]) -> dict[str, int]:
        """Basis that a withdrawal takes. A partial one may pay only some of the pool's tokens: then the others stay.

        Which part of the shares stood for them is unknown, so cost is recovered first: what came is basis up to all of
        its token's basis.
        """
        released, known = self._released(holding, burnt), self._basis.get(holding, {})
        is_partial = burnt < self._shares.get(holding, 0)
        if is_partial and set(received) < set(released):
            return {token: min(max(amount, 0), known[token]) for token, amount in received.items()}
        return released

    def _received(self, chain_id: int, moves: Iterable[Movement]) -> int:
        """What came into our wallets minus what left them."""
        return sum(-move.value if self._book.owns(chain_id, move.sender) else move.value for move in moves)

    @staticmethod
    def _excess_account(holding: Holding, is_underlying: bool, *, is_converted: bool) -> str:
        """Where the part of a withdrawal goes that is not cost basis."""
        if is_converted:
            return CONVERSIONS
        return YIELD_PREFIX + holding.pool_id if is_underlying else REWARDS

    def _release(self, carrier: Movement, holding: Holding, token: str, amount: int, account: str) -> None:
        """Basis leaves the pool for an account that belongs to no wallet."""
        classification = UNEXPLAINED if account == UNEXPLAINED_ACCOUNT else WITHDRAWAL
        self._pool_leg(carrier, holding, token, -amount, classification)
        self._leg(
            carrier, account, amount, classification, pool_id=holding.pool_id, token=token, chain_id=holding.chain_id
        )

    def _migrate(self, shape: Shape) -> None:
        """Basis goes from the pool whose shares were burnt to the pool whose shares were minted."""
        (source, burnt), (target, _) = next(iter(shape.burnt.items())), next(iter(shape.minted.items()))
        carrier = shape.shares[0]
        for token, amount in self._released(source, burnt).items():
            self._pool_leg(carrier, source, token, -amount, MIGRATION)
            self._pool_leg(carrier, target, token, amount, MIGRATION)

    def _release_unexplained(self, shape: Shape, holding: Holding, burnt: int) -> None:
        """Shares left and nothing came: their basis is not lost in silence."""
        carrier = next(move for move in shape.shares if move.sender == holding.wallet)
        for token, amount in self._released(holding, burnt).items():
            self._release(carrier, holding, token, amount, UNEXPLAINED_ACCOUNT)

    def _book_shares(self, chain_id: int, shape: Shape, explained: Mapping[Holding, str]) -> None:
        for move in shape.shares:
            pool_id = self._book.share_pools[chain_id, move.token]
            is_out = self._book.owns(chain_id, move.sender)
            holding = Holding(chain_id, move.sender if is_out else move.receiver, pool_id)
            amount = -move.value if is_out else move.value
            is_net_zero = holding not in shape.minted and holding not in shape.burnt
            classification = explained.get(holding, DEPOSIT if is_net_zero else UNEXPLAINED)
            counter = UNEXPLAINED_ACCOUNT if classification == UNEXPLAINED else SHARES_PREFIX + pool_id
            self._leg(move, POOL_PREFIX + pool_id, amount, classification, wallet=holding.wallet, pool_id=pool_id)
            self._leg(move, counter, -amount, classification, pool_id=pool_id)
            self._add_shares(holding, amount)

    # --- everything without shares -----------------------------------------------------------------------------------
    def _unexplained(self, chain_id: int, move: Movement) -> None:
        self._counter(chain_id, move, UNEXPLAINED_ACCOUNT, UNEXPLAINED)
        if self._book.owns(chain_id, move.sender):
            self._capital[chain_id, move.receiver] = UNEXPLAINED

    def _external(self, chain_id: int, move: Movement, classification: str) -> None:
        is_out = self._book.owns(chain_id, move.sender)
        self._counter(chain_id, move, EXTERNAL_PREFIX + (move.receiver if is_out else move.sender), classification)
        if is_out:
            self._capital.setdefault((chain_id, move.receiver), EXTERNAL_IN)

    def _book_plain(self, chain_id: int, shape: Shape) -> None:
        exchange = classify_exchange(shape, chain_id, self._is_trusted)
        for move in (*shape.outs, *shape.ins):
            if exchange == SWAP:
                is_fee = move.token == NATIVE and shape.is_native_fee()
                self._counter(chain_id, move, CONVERSION_COST if is_fee else CONVERSIONS, SWAP)
            elif exchange == UNEXPLAINED:
                self._unexplained(chain_id, move)
            elif move in shape.outs:
                self._pay_out(chain_id, move)
            else:
                self._take_in(chain_id, move, shape)

    def _pay_out(self, chain_id: int, move: Movement) -> None:
        """A payment; to a pool's contract it would be a deposit, but no shares came for it."""
        if self._book.pools_at(chain_id, move.receiver):
            self._unexplained(chain_id, move)
        else:
            self._external(chain_id, move, EXTERNAL_OUT)

    def _take_in(self, chain_id: int, move: Movement, shape: Shape) -> None:
        """Capital, a reward, spam, or what cannot be told.

        A pool's contract pays rewards, unless in a token that was paid into it. In a transaction that we sent, a token
        that comes for nothing is a claim, unless its sender got capital from us before (then that comes back).
        """
        pools = self._book.pools_at(chain_id, move.sender)
        if pools:
            if any(move.token in self._underlyings.get((chain_id, pool_id), ()) for pool_id in pools):
                self._unexplained(chain_id, move)
            else:
                self._counter(chain_id, move, REWARDS, REWARD, pools[0] if len(pools) == 1 else None)
            return
        before = self._capital.get((chain_id, move.sender))
        is_ours = shape.is_sent and not shape.outs
        if before == UNEXPLAINED or (is_ours and before is None and move.token == NATIVE):
            self._unexplained(chain_id, move)
        elif is_ours and before is None:
            self._counter(chain_id, move, REWARDS, REWARD)
        else:
            trusted = self._is_trusted(chain_id, move.token)
            self._external(chain_id, move, EXTERNAL_IN if trusted else UNTRUSTED_TOKEN)
