"""The bookkeeper: turns transactions, one after the other, into balanced legs.

Lives here: legs of every kind of transaction. Not here: reading or recognising transactions (transactions.py,
classify.py), the balances that later legs depend on (trial_balance.py), dollars and frames (postings.py).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pandas as pd

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
    OPENING,
    OPENING_ACCOUNT,
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
    ZERO_ADDRESS,
    AddressBook,
)
from defiyield_assets.domain.ledger.classify import (
    EXCHANGES,
    WRAPPINGS,
    Holding,
    Shape,
    attribute,
    classify_gas,
    classify_plain,
    read_shape,
)
from defiyield_assets.domain.ledger.opening import is_opening
from defiyield_assets.domain.ledger.transactions import Movement, Transaction
from defiyield_assets.domain.ledger.trial_balance import TrialBalance
from defiyield_assets.domain.ledger.wrapping import as_it_happened

LARGEST = 2**256 - 1
"""No account may get further from 0 than this, whatever a hostile token claims."""


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
    counterparty: str | None = None


class Bookkeeper:
    """Books transactions in booking order. Its whole memory is the trial balance that it posts into: shares and basis
    of pools, quantities of untrusted tokens, who got capital from us, whom we paid something unexplained.
    """

    def __init__(
        self, book: AddressBook, is_trusted: Callable[[int, str], bool], balances: TrialBalance | None = None
    ) -> None:
        self.balances = TrialBalance() if balances is None else balances
        self._whole_book = self._book = book
        self._is_trusted = is_trusted
        self._at_their_word: dict[tuple[int, str], bool] = {}
        self._legs: list[Leg] = []
        self._chain_id = 0
        self._tx_pool: str | None = None

    @classmethod
    def resume(
        cls, book: AddressBook, is_trusted: Callable[[int, str], bool], trial_balance: pd.DataFrame
    ) -> "Bookkeeper":
        """The bookkeeper as it was when it had booked up to the trial balance: the newest row of each account."""
        return cls(book, is_trusted, TrialBalance.of(trial_balance))

    def book(self, transaction: Transaction) -> list[Leg]:
        """Legs of the next transaction, posted into the trial balance; they sum to zero per token."""
        self._legs, self._chain_id = [], transaction.chain_id
        self._book = self._whole_book.open_at(transaction.chain_id, transaction.block_number)
        if is_opening(transaction):
            for move in transaction.movements:
                self._open(move)
            self.balances.end_transaction()
            return self._legs
        transaction = as_it_happened(transaction, self._book)
        shape = read_shape(transaction, self._believable(transaction), self._book)
        pools = {holding.pool_id for holding in (*shape.minted, *shape.burnt)}
        self._tx_pool = pools.pop() if len(pools) == 1 else None
        for move in shape.own:
            self._move_between_wallets(move)
        if shape.shares:
            self._book_pools(shape)
        elif shape.ins or shape.outs:
            self._book_plain(shape)
        self._book_gas(transaction)
        self.balances.end_transaction()
        return self._legs

    def _takes_at_its_word(self, token: str) -> bool:
        """Whether a token is approved or the share of a known pool: only others may claim what cannot be."""
        at = (self._chain_id, token)
        known = self._at_their_word.get(at)
        if known is None:
            known = self._is_trusted(*at) or self._book.pool_of_share(*at) is not None
            self._at_their_word[at] = known
        return known

    def _believable(self, transaction: Transaction) -> Iterable[Movement]:
        """Movements without those that cannot be: an untrusted token may claim that we sent what we never had.

        Fake tokens emit such events to plant look-alike addresses in histories, and tokens that nobody listed grow
        without a transfer. So what left is at most the quantity held, and no account may leave what 256 bits can hold,
        whoever sent the transaction. Trusted tokens and shares are always taken at their word.
        """
        if all(self._takes_at_its_word(move.token) for move in transaction.movements):
            return transaction.movements
        believed = []
        moved: dict[tuple[str, str], int] = {}
        claimed: dict[str, int] = {}
        for move in sorted(transaction.movements, key=lambda move: self._owns(move.sender)):
            if self._takes_at_its_word(move.token):
                believed.append(move)
                continue
            room = LARGEST - self.balances.held(self._chain_id, move.token) - claimed.get(move.token, 0)
            value, giver, taker = min(move.value, room), (move.sender, move.token), (move.receiver, move.token)
            if self._owns(move.sender):
                value = min(value, max(0, self._in_wallet(*giver) + moved.get(giver, 0)))
                moved[giver] = moved.get(giver, 0) - value
            if self._owns(move.receiver):
                moved[taker] = moved.get(taker, 0) + value
            claimed[move.token] = claimed.get(move.token, 0) + value
            if value:
                believed.append(move._replace(value=value))
        return sorted(believed, key=lambda move: (move.kind, move.ordinal))

    def _owns(self, address: str) -> bool:
        """Whether the address is one of our wallets on the transaction's chain."""
        return self._book.owns(self._chain_id, address)

    def _in_wallet(self, wallet: str, token: str) -> int:
        return self.balances.amount((self._chain_id, WALLET_PREFIX + wallet, wallet, "", token))

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
        counterparty: str | None = None,
        other: tuple[str, int] | None = None,
    ) -> None:
        """Post a leg of the movement's token, or of the `other` one (token, decimals)."""
        if not amount:
            return
        token, decimals = (move.token, move.decimals) if other is None else other
        self._legs.append(
            Leg(
                move.kind,
                move.ordinal,
                account,
                token,
                amount,
                decimals,
                wallet,
                pool_id,
                classification,
                counterparty,
            )
        )
        key = (self._chain_id, account, wallet or "", counterparty or "", token)
        self.balances.post(key, amount, decimals, pool_id)

    def _wallet_leg(self, move: Movement, classification: str, pool_id: str | None) -> None:
        """The side of a movement that is in our wallet: minus what left it, plus what came."""
        if self._owns(move.sender):
            wallet, amount = move.sender, -move.value
        else:
            wallet, amount = move.receiver, move.value
        self._leg(move, WALLET_PREFIX + wallet, amount, classification, wallet=wallet, pool_id=pool_id)

    def _counter(self, move: Movement, account: str, classification: str, pool_id: str | None = None) -> None:
        """A movement against one account that belongs to no wallet; on equity it is told who was on the other side."""
        self._wallet_leg(move, classification, pool_id)
        is_out = self._owns(move.sender)
        is_named = account == UNEXPLAINED_ACCOUNT or account.startswith(EXTERNAL_PREFIX)
        self._leg(
            move,
            account,
            move.value if is_out else -move.value,
            classification,
            pool_id=pool_id,
            counterparty=self._outside(move) if is_named else None,
        )

    def _pool_leg(
        self,
        move: Movement,
        holding: Holding,
        amount: int,
        classification: str,
        *,
        other: tuple[str, int] | None = None,
    ) -> None:
        """Underlying of a pool: the holding's basis is the balance of this account."""
        account = POOL_PREFIX + holding.pool_id
        self._leg(move, account, amount, classification, wallet=holding.wallet, pool_id=holding.pool_id, other=other)

    def _basis(self, holding: Holding) -> dict[str, int]:
        """What a holding cost by token; a token that is used up is there with 0."""
        held = self.balances.in_pool(*holding)
        return {token: balance.amount for token, balance in held.items() if not self._is_share(token)}

    def _shares(self, holding: Holding) -> int:
        held = self.balances.in_pool(*holding)
        return sum(balance.amount for token, balance in held.items() if self._is_share(token))

    def _is_share(self, token: str) -> bool:
        return self._book.pool_of_share(self._chain_id, token) is not None

    def _spelled(self, holding: Holding, token: str) -> tuple[str, int]:
        """A basis token with its decimals."""
        return token, self.balances.in_pool(*holding)[token].decimals

    def _book_gas(self, transaction: Transaction) -> None:
        classification = classify_gas(transaction, [leg.classification for leg in self._legs])
        for gas in transaction.gas:
            if self._owns(gas.sender):
                self._counter(gas, GAS, classification, self._tx_pool)

    def _open(self, move: Movement) -> None:
        """One balance of an opening: in the wallet, or in the pool that minted it or whose share it stands behind."""
        share = move.token if self._is_share(move.token) else move.sender
        pool_id = self._book.pool_of_share(self._chain_id, share)
        account = WALLET_PREFIX + move.receiver if pool_id is None else POOL_PREFIX + pool_id
        self._leg(move, account, move.value, OPENING, wallet=move.receiver, pool_id=pool_id)
        self._leg(move, OPENING_ACCOUNT, -move.value, OPENING, pool_id=pool_id)

    # --- own wallets -----------------------------------------------------------------------------------------------
    def _move_between_wallets(self, move: Movement) -> None:
        """Wallet to wallet: both legs, money moved is not money lost. Shares take their part of the basis along."""
        pool_id = self._book.pool_of_share(self._chain_id, move.token)
        if pool_id is not None and move.sender != move.receiver:
            giver, taker = (
                Holding(self._chain_id, move.sender, pool_id),
                Holding(self._chain_id, move.receiver, pool_id),
            )
            for token, amount in self._released(giver, move.value).items():
                basis = self._spelled(giver, token)
                self._pool_leg(move, giver, -amount, WALLET_TRANSFER, other=basis)
                self._pool_leg(move, taker, amount, WALLET_TRANSFER, other=basis)
        prefix = WALLET_PREFIX if pool_id is None else POOL_PREFIX
        for wallet, amount in ((move.sender, -move.value), (move.receiver, move.value)):
            account = prefix + (wallet if pool_id is None else pool_id)
            self._leg(move, account, amount, WALLET_TRANSFER, wallet=wallet, pool_id=pool_id)

    # --- pools -----------------------------------------------------------------------------------------------------
    def _released(self, holding: Holding, burnt: int) -> dict[str, int]:
        """Cost basis that goes with burnt shares: proportional, rounded down; all of it with the last share."""
        held, basis = self._shares(holding), self._basis(holding)
        if burnt >= held:
            return {token: amount for token, amount in basis.items() if amount}
        return {token: amount * burnt // held for token, amount in basis.items() if amount * burnt >= held}

    def _book_pools(self, shape: Shape) -> None:
        deposits: dict[Holding, list[Movement]] = {}
        withdrawals: dict[Holding, list[Movement]] = {}
        self._sort_outs(shape, deposits, withdrawals)
        self._sort_ins(shape, deposits, withdrawals)
        explained = {**dict.fromkeys(deposits, DEPOSIT), **dict.fromkeys(withdrawals, WITHDRAWAL)}
        if shape.is_migration:
            explained = {**dict.fromkeys((*shape.minted, *shape.burnt), MIGRATION)}
            self._migrate(shape)
        for holding, moves in deposits.items():
            self._deposit(holding, moves)
        for holding, moves in withdrawals.items():
            self._withdraw(holding, moves, shape)
        for holding, burnt in shape.burnt.items():
            if holding not in explained:
                self._release_unexplained(shape, holding, burnt)
        self._book_shares(shape, explained)

    def _sort_outs(
        self,
        shape: Shape,
        deposits: dict[Holding, list[Movement]],
        withdrawals: dict[Holding, list[Movement]],
    ) -> None:
        """Which holding each token that left belongs to: paid in, returned to the pool, a fee, or unexplained.

        ETH beside tokens is no investment. Beside a token that nobody listed only what the pool itself got is its own.
        """
        returned, is_doubtful = {move.token for move in shape.ins}, self._is_doubtful(shape)
        for move in shape.outs:
            if move.token == NATIVE and shape.is_native_fee() and not is_doubtful:
                self._counter(move, CONVERSION_COST, DEPOSIT if shape.minted else WITHDRAWAL, self._tx_pool)
                continue
            target, holding = deposits, attribute(move.receiver, shape.minted, self._book)
            if not shape.minted and move.token in returned:
                target, holding = withdrawals, attribute(move.receiver, shape.burnt, self._book)
            is_direct = holding is not None and self._book.is_of_pool(self._chain_id, move.receiver, holding.pool_id)
            is_beside = move.token == NATIVE and (shape.burnt or any(other.token != NATIVE for other in shape.outs))
            if holding is None or (not is_direct and (is_doubtful or is_beside)):
                self._unexplained(move)
            else:
                target.setdefault(holding, []).append(move)

    def _sort_ins(
        self,
        shape: Shape,
        deposits: dict[Holding, list[Movement]],
        withdrawals: dict[Holding, list[Movement]],
    ) -> None:
        """Which holding each token that came belongs to: paid out, change of a deposit, a reward, or unexplained."""
        given, is_doubtful = {move.token for move in shape.outs}, self._is_doubtful(shape)
        for move in shape.ins:
            grown = next((holding for holding in shape.minted if self._is_underlying(move, holding)), None)
            if move.token == NATIVE and shape.is_native_fee() and not is_doubtful:
                self._counter(move, CONVERSION_COST, DEPOSIT if shape.minted else WITHDRAWAL, self._tx_pool)
            elif shape.burnt and not shape.is_migration:
                holding = attribute(move.sender, shape.burnt, self._book)
                if holding is None:
                    self._unexplained(move)
                else:
                    withdrawals.setdefault(holding, []).append(move)
            elif move.token in given:
                holding = attribute(move.sender, deposits, self._book)
                if holding is None or all(other.token != move.token for other in deposits[holding]):
                    self._unexplained(move)  # change of something that was not paid in here
                else:
                    deposits[holding].append(move)
            elif grown is not None:
                withdrawals.setdefault(grown, []).append(move)
            elif any(move.token in self.balances.in_pool(*holding) for holding in (*shape.burnt, *shape.minted)):
                self._unexplained(move)
            elif self._is_reward(move):
                self._counter(move, REWARDS, REWARD, self._tx_pool)
            else:
                self._unexplained(move)

    def _is_doubtful(self, shape: Shape) -> bool:
        """Whether a token that nobody listed was minted for us too: a share or a debt that some of the money is for."""
        return any(not self._is_trusted(self._chain_id, token) for token in shape.created())

    def _is_underlying(self, move: Movement, holding: Holding) -> bool:
        """Whether a pool paid out what had been paid in: beside new shares, as those of a rebasing token grow."""
        is_of_pool = self._book.is_of_pool(self._chain_id, move.sender, holding.pool_id)
        return is_of_pool and move.token in self._basis(holding)

    def _is_reward(self, move: Movement) -> bool:
        """Whether a token is a reward: worthless, or money of which its sender, a pool, is known to have taken another.

        A pool of which nobody knows what it took may pay back a deposit that history does not reach.
        """
        at = (self._chain_id, move.sender)
        pools = {*self._book.pools_at(*at), self._book.pool_of_share(*at)} - {None}
        taken = {token for pool_id in pools for token in self.balances.taken_by_pool(self._chain_id, str(pool_id))}
        return move.token not in taken and (bool(taken) or not self._is_trusted(self._chain_id, move.token))

    def _deposit(self, holding: Holding, moves: Iterable[Movement]) -> None:
        """Underlying out; change that comes back lowers the basis, and what exceeds the basis is unexplained."""
        for move in moves:
            self._wallet_leg(move, DEPOSIT, holding.pool_id)
            if self._owns(move.sender):
                self._pool_leg(move, holding, move.value, DEPOSIT)
            else:
                change = min(move.value, self._basis(holding)[move.token])
                self._pool_leg(move, holding, -change, DEPOSIT)
                excess, pool_id = change - move.value, holding.pool_id
                self._leg(move, UNEXPLAINED_ACCOUNT, excess, DEPOSIT, pool_id=pool_id, counterparty=move.sender)

    def _withdraw(self, holding: Holding, moves: Iterable[Movement], shape: Shape) -> None:
        """Underlying back: its part of the basis leaves the pool, what is beyond it is yield (a loss: negative yield).

        A basis token that something else came for was converted by the pool: then it, what came in its place and all
        excess go through equity:conversions, unless what came is worth nothing to us: then nobody knows what it is for.
        Without any basis (history does not reach back) nothing is called yield.
        """
        known, burnt = self._basis(holding), shape.burnt.get(holding, 0)
        by_token: dict[str, list[Movement]] = {}
        for move in moves:
            by_token.setdefault(move.token, []).append(move)
        received = {token: self._received(same) for token, same in by_token.items()}
        released = self._released_for(holding, burnt, received)
        converted = {token: amount for token, amount in released.items() if token not in by_token}
        is_known = any(known.values()) and not (self._is_doubtful(shape) and burnt)
        conversions = CONVERSIONS if self._is_conversion(converted, received) else UNEXPLAINED_ACCOUNT
        is_short = any(received.get(token, 0) < amount for token, amount in released.items())
        for token, same in by_token.items():
            account = UNEXPLAINED_ACCOUNT
            if is_known and converted:
                account = conversions
            elif is_known and token in known:
                account = YIELD_PREFIX + holding.pool_id
            elif is_known and (is_short or all(self._is_reward(move) for move in same)):
                account = REWARDS
            excess = received[token] - released.get(token, 0)
            for number, move in enumerate(same):
                # A token that takes no basis along leaves no leg in the pool: it would pass for one that was paid in.
                paid = self._received([move]) - (0 if number else excess) if released.get(token) else 0
                self._wallet_leg(move, WITHDRAWAL, holding.pool_id)
                self._pool_leg(move, holding, -paid, WITHDRAWAL)
            self._leg(
                same[0],
                account,
                -excess,
                WITHDRAWAL,
                wallet=holding.wallet if account.startswith(YIELD_PREFIX) else None,
                pool_id=holding.pool_id,
                counterparty=self._outside(same[0]) if account == UNEXPLAINED_ACCOUNT else None,
            )
        carrier = next(iter(by_token.values()))[0]
        for token, amount in converted.items():
            self._release(carrier, holding, token, amount, conversions)

    def _is_conversion(self, converted: Iterable[str], received: Iterable[str]) -> bool:
        """Whether basis tokens may be said to have become what came: money only when all that came is money."""
        is_money = any(self._is_trusted(self._chain_id, token) for token in converted)
        return not is_money or all(self._is_trusted(self._chain_id, token) for token in received)

    def _released_for(self, holding: Holding, burnt: int, received: Mapping[str, int]) -> dict[str, int]:
        """Basis that a withdrawal takes. A partial one may pay only some of the pool's tokens: then the others stay.

        Which part of the shares stood for them is unknown, so cost is recovered first: what came is basis up to all of
        its token's basis.
        """
        released, known = self._released(holding, burnt), self._basis(holding)
        if not burnt:
            return {token: min(max(amount, 0), known.get(token, 0)) for token, amount in received.items()}
        is_partial = burnt < self._shares(holding)
        if is_partial and set(received) < set(released):
            return {token: min(max(amount, 0), known[token]) for token, amount in received.items()}
        return released

    def _received(self, moves: Iterable[Movement]) -> int:
        """What came into our wallets minus what left them."""
        return sum(-move.value if self._owns(move.sender) else move.value for move in moves)

    def _release(self, carrier: Movement, holding: Holding, token: str, amount: int, account: str) -> None:
        """Basis leaves the pool for an account that belongs to no wallet."""
        is_unexplained, basis = account == UNEXPLAINED_ACCOUNT, self._spelled(holding, token)
        classification = UNEXPLAINED if is_unexplained else WITHDRAWAL
        self._pool_leg(carrier, holding, -amount, classification, other=basis)
        outside = self._outside(carrier) if is_unexplained else None
        self._leg(carrier, account, amount, classification, pool_id=holding.pool_id, counterparty=outside, other=basis)

    def _migrate(self, shape: Shape) -> None:
        """Basis goes from the pool whose shares were burnt to the pool whose shares were minted."""
        (source, burnt), (target, _) = next(iter(shape.burnt.items())), next(iter(shape.minted.items()))
        carrier = shape.shares[0]
        for token, amount in self._released(source, burnt).items():
            basis = self._spelled(source, token)
            self._pool_leg(carrier, source, -amount, MIGRATION, other=basis)
            self._pool_leg(carrier, target, amount, MIGRATION, other=basis)

    def _release_unexplained(self, shape: Shape, holding: Holding, burnt: int) -> None:
        """Shares left and nothing came: their basis is not lost in silence."""
        carrier = next(move for move in shape.shares if move.sender == holding.wallet)
        for token, amount in self._released(holding, burnt).items():
            self._release(carrier, holding, token, amount, UNEXPLAINED_ACCOUNT)

    def _book_shares(self, shape: Shape, explained: Mapping[Holding, str]) -> None:
        for move in shape.shares:
            pool_id = self._book.share_pools[self._chain_id, move.token]
            is_out = self._owns(move.sender)
            holding = Holding(self._chain_id, move.sender if is_out else move.receiver, pool_id)
            amount = -move.value if is_out else move.value
            is_net_zero = holding not in shape.minted and holding not in shape.burnt
            classification = explained.get(holding, DEPOSIT if is_net_zero else UNEXPLAINED)
            counter = UNEXPLAINED_ACCOUNT if classification == UNEXPLAINED else SHARES_PREFIX + pool_id
            self._leg(move, POOL_PREFIX + pool_id, amount, classification, wallet=holding.wallet, pool_id=pool_id)
            outside = self._outside(move) if counter == UNEXPLAINED_ACCOUNT else None
            self._leg(move, counter, -amount, classification, pool_id=pool_id, counterparty=outside)

    # --- everything without shares -----------------------------------------------------------------------------------
    def _unexplained(self, move: Movement, classification: str = UNEXPLAINED) -> None:
        self._counter(move, UNEXPLAINED_ACCOUNT, classification)

    def _external(self, move: Movement, classification: str) -> None:
        self._counter(move, EXTERNAL_PREFIX + self._outside(move), classification)

    def _outside(self, move: Movement) -> str:
        """The address on the other side of a movement."""
        return move.receiver if self._owns(move.sender) else move.sender

    def _got(self, account: str, address: str) -> bool:
        """Whether the address got something from us that was booked into the account; what is burnt nobody gets."""
        return address != ZERO_ADDRESS and self.balances.was_debited(self._chain_id, account, address)

    def _book_plain(self, shape: Shape) -> None:
        """One verdict on all of it, or each movement on its own.

        Conversions take what is worth the same on both sides: swaps, what costs no dollars, what only passed through.
        """
        verdict, net = classify_plain(shape, self._chain_id, self._book, self._is_trusted), shape.net()
        trust = {self._is_trusted(self._chain_id, token) for token, value in net.items() if value}
        is_even = verdict == SWAP or (verdict in WRAPPINGS and trust == {True}) or trust == {False}
        for move in (*shape.outs, *shape.ins):
            if verdict in EXCHANGES and is_even:
                is_fee = move.token == NATIVE and shape.is_native_fee()
                self._counter(move, CONVERSION_COST if is_fee else CONVERSIONS, verdict)
            elif verdict is not None:
                self._unexplained(move, verdict)
            elif not net[move.token]:
                self._counter(move, CONVERSIONS, SWAP)
            elif move in shape.outs:
                self._pay_out(move)
            else:
                self._take_in(move, shape)

    def _pay_out(self, move: Movement) -> None:
        """A payment; to a pool's contract it would be a deposit, but no shares came for it."""
        if self._book.pools_at(self._chain_id, move.receiver):
            self._unexplained(move)
        else:
            self._external(move, EXTERNAL_OUT)

    def _take_in(self, move: Movement, shape: Shape) -> None:
        """Capital, a reward, spam, or what cannot be told.

        A pool's contract pays rewards, unless in a token that was paid into it, or in money when nobody knows what was.
        In a transaction that we sent, a token that comes for nothing is a claim, unless its sender got capital from us
        before (then that comes back). Money is never taken for a claim: a loan or a stake that comes back looks alike.
        """
        trusted = self._is_trusted(self._chain_id, move.token)
        pools = self._book.pools_at(self._chain_id, move.sender)
        if pools:
            if self._is_reward(move):
                self._counter(move, REWARDS, REWARD, pools[0] if len(pools) == 1 else None)
            else:
                self._unexplained(move)
            return
        lent, lost = self._got(EXTERNAL_PREFIX + move.sender, move.sender), self._got(UNEXPLAINED_ACCOUNT, move.sender)
        is_claim = shape.is_sent and min(shape.net().values()) >= 0 and not lent
        if lost or (is_claim and trusted):
            self._unexplained(move)
        elif is_claim:
            self._counter(move, REWARDS, REWARD)
        else:
            self._external(move, EXTERNAL_IN if trusted else UNTRUSTED_TOKEN)
