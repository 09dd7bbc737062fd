"""From a plan's steps to transactions: what each step needs, in order, and whether the wallet can pay for it.

Lives here: the replay of `allocation_steps` (columns of that table) in integers, independent of the optimiser and
of the ledger. Not here: how a transaction looks (chain_transactions.py) or where it is kept (chain_store.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from defiyield_assets.domain.policy import Token
from defiyield_assets.simulator import chain_transactions as tx
from defiyield_assets.simulator.blocks import SLOT_SECONDS
from defiyield_assets.simulator.chain_records import (
    IN_WALLET,
    NATIVE,
    ChainPool,
    ChainWorld,
    PlanRejected,
    PositionKey,
    Transaction,
)


@dataclass(frozen=True)
class StepLeg:
    """One row of the plan's steps with its nulls as None."""

    seq: int
    leg: int
    step_type: str
    wallet: str
    pool_id: str | None
    token_in: str | None
    amount_in: int | None
    token_out: str | None
    amount_out: int | None
    is_full_exit: bool

    @property
    def where(self) -> str:
        """The step's name in a message."""
        return f"step {self.seq} ({self.step_type})"


@dataclass
class ChainState:
    """Balances (address, token) and positions at one instant; `native` is wei. Positions are what grows: underlying in
    pools, and balances of `rebasing` tokens in whatever address they lie.
    """

    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    positions: dict[PositionKey, int] = field(default_factory=dict)
    rebasing: frozenset[str] = frozenset()

    def apply(self, transaction: Transaction) -> None:
        """Everything that the transaction does; addresses outside may go below zero."""
        self.move(transaction)
        self.change_positions(transaction)

    def move(self, transaction: Transaction) -> None:
        """Gas, ETH and tokens of the transaction."""
        self.add(transaction.sender, NATIVE, -transaction.fee_wei)
        if not transaction.is_success:
            return
        self.add(transaction.sender, NATIVE, -transaction.value)
        self.add(transaction.receiver, NATIVE, transaction.value)
        for internal in transaction.internals:
            self.add(internal.sender, NATIVE, -internal.value)
            self.add(internal.receiver, NATIVE, internal.value)
        for transfer in transaction.transfers:
            self.add(transfer.sender, transfer.token, -transfer.value)
            self.add(transfer.receiver, transfer.token, transfer.value)

    def change_positions(self, transaction: Transaction) -> None:
        """What the transaction puts into and takes out of pools, and moves of rebasing tokens."""
        for change in transaction.position_changes:
            self._grow((change.wallet, change.pool_id, change.token), change.delta)
        for transfer in transaction.transfers if transaction.is_success else ():
            if transfer.token in self.rebasing:
                self._grow((transfer.sender, IN_WALLET, transfer.token), -transfer.value)
                self._grow((transfer.receiver, IN_WALLET, transfer.token), transfer.value)

    def _grow(self, key: PositionKey, delta: int) -> None:
        self.positions[key] = self.positions.get(key, 0) + delta

    def show_rebases(self, world: ChainWorld) -> None:
        """Balances of rebasing tokens and shares become what has grown; transfers alone do not tell them."""
        for owner, token in self.balances:
            pool = world.rebasing_shares.get(token)
            if pool is not None:
                self.balances[owner, token] = self.positions.get((owner, pool.pool_id, pool.tokens[0]), 0)
            elif token in self.rebasing:
                self.balances[owner, token] = self.positions.get((owner, IN_WALLET, token), 0)

    def add(self, address: str, token: str, value: int) -> None:
        """Change one balance."""
        self.balances[address, token] = self.balances.get((address, token), 0) + value

    def balance(self, address: str, token: str) -> int:
        """One balance in base units."""
        return self.balances.get((address, token), 0)

    def position(self, wallet: str, pool_id: str) -> dict[str, int]:
        """Underlying base units per token of one position; empty tokens are left out."""
        return {
            token: amount
            for (holder, pool, token), amount in sorted(self.positions.items())
            if (holder, pool) == (wallet, pool_id) and amount > 0
        }


def _none(value: Any) -> Any:
    return None if value is None or pd.isna(value) else value


def read_steps(steps: pd.DataFrame) -> list[StepLeg]:
    """The rows of `allocation_steps` in executable order (seq, leg)."""
    legs = [
        StepLeg(
            seq=int(row["seq"]),
            leg=int(row["leg"]),
            step_type=str(row["step_type"]),
            wallet=str(row["wallet"]).lower(),
            pool_id=_none(row["pool_id"]),
            token_in=_none(row["token_in"]),
            amount_in=_none(row["amount_in"]),
            token_out=_none(row["token_out"]),
            amount_out=_none(row["amount_out"]),
            is_full_exit=bool(row["is_full_exit"]),
        )
        for row in steps.astype(object).to_dict("records")
    ]
    return sorted(legs, key=lambda leg: (leg.seq, leg.leg))


class PlanRunner:
    """Turns steps into transactions while it moves a state forward; PlanRejected at the first impossible step."""

    def __init__(self, world: ChainWorld, state: ChainState, start: datetime, gas_price_wei: int) -> None:
        self._world = world
        self._state = state
        self._time = start
        self._gas_price_wei = gas_price_wei
        self._sent: list[Transaction] = []

    def run(self, steps: pd.DataFrame) -> tuple[Transaction, ...]:
        """All transactions of the plan, one block each. HOLD needs none."""
        by_seq: dict[int, list[StepLeg]] = {}
        for leg in read_steps(steps):
            by_seq.setdefault(leg.seq, []).append(leg)
        actions = {"WITHDRAW": self._withdraw, "CONVERT": self._convert, "DEPOSIT": self._deposit}
        for legs in by_seq.values():
            first = legs[0]
            if first.step_type == "HOLD":
                continue
            if first.step_type not in actions:
                raise PlanRejected(f"{first.where}: unknown step type")
            if {(leg.step_type, leg.wallet, leg.pool_id) for leg in legs} != {
                (first.step_type, first.wallet, first.pool_id)
            }:
                raise PlanRejected(f"{first.where}: its legs differ in type, wallet or pool")
            if first.wallet not in self._world.wallets:
                raise PlanRejected(f"{first.where}: {first.wallet} is not one of our wallets")
            actions[first.step_type](legs)
        return self._with_reverts()

    def _with_reverts(self) -> tuple[Transaction, ...]:
        """What was sent, and before some of it the same call reverted: gas twice. Only where ETH is left for that."""
        sent: list[Transaction] = []
        ether = {one.sender: self._state.balance(one.sender, NATIVE) for one in self._sent}
        delay = timedelta(0)
        for one in self._sent:
            if self._reverts(one) and ether[one.sender] >= one.fee_wei:
                ether[one.sender] -= one.fee_wei
                sent.append(tx.reverted(replace(one, time=one.time + delay)))
                delay += timedelta(seconds=SLOT_SECONDS)
            sent.append(replace(one, time=one.time + delay))
        return tuple(sent)

    def _reverts(self, transaction: Transaction) -> bool:
        one_in = self._world.reverts_one_in
        return bool(one_in) and transaction.function != tx.APPROVE and int(transaction.hash, 16) % one_in == 0

    def _send(self, transaction: Transaction, where: str) -> None:
        ether = self._state.balance(transaction.sender, NATIVE)
        if ether < transaction.fee_wei:
            raise PlanRejected(
                f"{where}: gas costs {transaction.fee_wei} wei, the wallet has {ether}, "
                f"short of {transaction.fee_wei - ether} wei"
            )
        self._state.apply(transaction)
        self._sent.append(transaction)
        self._time += timedelta(seconds=SLOT_SECONDS)

    def _token(self, address: str | None, where: str) -> Token:
        token = self._world.tokens.get((address or "").lower())
        if token is None:
            raise PlanRejected(f"{where}: the chain knows no token {address}")
        return token

    def _pool(self, leg: StepLeg) -> ChainPool:
        pool = self._world.pools.get(leg.pool_id or "")
        if pool is None:
            raise PlanRejected(f"{leg.where}: the chain knows no pool {leg.pool_id}")
        return pool

    def _amounts(self, legs: list[StepLeg], pool: ChainPool, *, incoming: bool) -> dict[str, int]:
        """Token → amount of a deposit or withdrawal, checked against the tokens that the pool takes."""
        amounts: dict[str, int] = {}
        for leg in legs:
            token = self._token(leg.token_out if incoming else leg.token_in, leg.where)
            if token.address not in pool.tokens:
                raise PlanRejected(f"{leg.where}: pool {pool.pool_id} does not take {token.symbol} ({token.address})")
            if token.address in amounts:
                raise PlanRejected(f"{leg.where}: {token.symbol} is named twice")
            amounts[token.address] = _positive(leg.amount_out if incoming else leg.amount_in, leg.where)
        return amounts

    def _must_hold(self, wallet: str, token: Token, value: int, where: str) -> None:
        held = self._state.balance(wallet, token.address)
        if held < value:
            raise PlanRejected(f"{where}: needs {value} base units of {token.symbol}, the wallet has {held}")

    def _approve(self, wallet: str, token: Token, where: str) -> None:
        units = self._world.gas_units.approve
        self._send(tx.approve(self._time, wallet, token, units, self._gas_price_wei), where)

    def _exchange(
        self, build: Callable[..., Transaction], leg: StepLeg, pool: ChainPool, amounts: dict[str, int], shares: int
    ) -> Transaction:
        """A deposit or withdrawal at the present block."""
        return build(
            self._time,
            leg.wallet,
            pool,
            amounts=amounts,
            shares=shares,
            world=self._world,
            gas_price_wei=self._gas_price_wei,
        )

    def _withdraw(self, legs: list[StepLeg]) -> None:
        first, pool = legs[0], self._pool(legs[0])
        held = self._state.position(first.wallet, pool.pool_id)
        shares_held = self._state.balance(first.wallet, pool.share_token)
        planned = self._amounts(legs, pool, incoming=True)
        for token, value in planned.items():
            if value > held.get(token, 0):
                raise PlanRejected(
                    f"{first.where}: takes {value} base units of {self._world.tokens[token].symbol} out of pool "
                    f"{pool.pool_id}, which holds {held.get(token, 0)} for us"
                )
        amounts = held if first.is_full_exit else planned
        shares = tx.burnt_shares(pool, amounts, self._world, held=shares_held, position=held)
        self._send(self._exchange(tx.withdraw, first, pool, amounts, shares), first.where)

    def _convert(self, legs: list[StepLeg]) -> None:
        leg = legs[0]
        if len(legs) != 1:
            raise PlanRejected(f"{leg.where}: a conversion has one leg")
        sold, bought = self._token(leg.token_in, leg.where), self._token(leg.token_out, leg.where)
        if sold.address == bought.address:
            raise PlanRejected(f"{leg.where}: converts {sold.symbol} into itself")
        value_in, value_out = _positive(leg.amount_in, leg.where), _positive(leg.amount_out, leg.where)
        self._must_hold(leg.wallet, sold, value_in, leg.where)
        self._approve(leg.wallet, sold, leg.where)
        units = self._world.gas_units.swap
        swap = tx.swap(
            self._time,
            leg.wallet,
            (sold, value_in),
            (bought, value_out),
            gas_used=units,
            gas_price_wei=self._gas_price_wei,
        )
        self._send(swap, leg.where)

    def _deposit(self, legs: list[StepLeg]) -> None:
        first, pool = legs[0], self._pool(legs[0])
        amounts = self._amounts(legs, pool, incoming=False)
        for token, value in amounts.items():
            self._must_hold(first.wallet, self._world.tokens[token], value, first.where)
        for token in amounts:
            self._approve(first.wallet, self._world.tokens[token], first.where)
        position = self._state.position(first.wallet, pool.pool_id)
        held = self._state.balance(first.wallet, pool.share_token)
        shares = tx.minted_shares(pool, amounts, self._world, held=held, position=position)
        self._send(self._exchange(tx.deposit, first, pool, amounts, shares), first.where)


def _positive(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise PlanRejected(f"{where}: an amount is a positive integer of base units, not {value!r}")
    return value
