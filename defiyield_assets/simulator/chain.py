"""The simulated chain: executes the plans of a closed loop and knows every balance and position, to the unit.

Lives here: execution, replacement, reset, balances and positions as of an instant. Not here: the file
(chain_store.py), the replay of steps (chain_plan.py) or the vendors' wire format (chain_answers.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pandas as pd

from defiyield_assets.domain.days import utc_day
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.simulator.chain_plan import ChainState, PlanRunner
from defiyield_assets.simulator.chain_records import (
    IN_WALLET,
    ChainConflict,
    ChainWorld,
    ExecutionReceipt,
    PlanRejected,
    PositionKey,
    Transaction,
)
from defiyield_assets.simulator.chain_store import (
    ChainStore,
    bump_version,
    delete_executions,
    insert_execution,
    insert_transactions,
    load_executions,
    load_transactions,
    read_version,
)

__all__ = ["ChainConflict", "ExecutionReceipt", "PlanRejected", "SimulatedChain", "execution_start"]

EXECUTION_TIME = time(1, 30, tzinfo=UTC)
"""The plan of D is sent on D+1 from this time on, after the cutoff of D."""

ApyOn = Callable[[str, date], float | None]
"""(pool_id, day) → total APY of the day as a fraction, the last known one when the day has none; None: never known."""


def execution_start(day: date) -> datetime:
    """When the first transaction of the plan of partition `day` is sent: D+1 01:30 UTC."""
    return datetime.combine(day + timedelta(days=1), EXECUTION_TIME)


@dataclass
class _Memory:
    """The chain as last read, with positions at the end of days already computed."""

    version: int
    transactions: list[Transaction]
    ends: dict[date, dict[PositionKey, int]]


class SimulatedChain:
    """One chain in one file. Deterministic: the same genesis and the same plans give the same bytes of answers."""

    def __init__(
        self,
        path: Path,
        *,
        genesis: Sequence[Transaction],
        world: ChainWorld,
        apy_on: ApyOn,
        token_apy_on: ApyOn = lambda _token, _day: None,
    ) -> None:
        """Open or found the chain. `apy_on` tells what pools yield, `token_apy_on` what balances of a rebasing token do
        (its address in place of a pool). Another genesis in the file: ConfigurationError.
        """
        self.world = world
        self._apy_on = apy_on
        self._token_apy_on = token_apy_on
        self._store = ChainStore(path, genesis)
        self._memory: _Memory | None = None

    def execute_plan(self, day: date, run_id: str, steps: pd.DataFrame, *, gas_price_wei: int) -> ExecutionReceipt:
        """Execute the steps (columns of `allocation_steps`) of the plan of partition `day` on day + 1.

        All or nothing. The same run_id again changes nothing and gives the same receipt. Another plan for the day
        replaces the first one unless a later day was executed: ChainConflict. A step that cannot be paid for or that
        the chain does not understand: PlanRejected, and the chain stays as it was. `gas_price_wei` holds for all.
        """
        with self._store.write() as db:
            executions = load_executions(db)
            for receipt in executions:
                if receipt.run_id == run_id:
                    if receipt.day != day:
                        raise ChainConflict(min(day, receipt.day), f"plan {run_id} was executed for {receipt.day}")
                    return receipt
            if executions and executions[-1].day > day:
                raise ChainConflict(day, f"plans up to {executions[-1].day} have been executed since {day}")
            delete_executions(db, day, day)
            transactions_before = load_transactions(db)
            # Version -1 is never the file's: whatever becomes of this plan, the next reader looks again.
            self._memory = _Memory(-1, transactions_before, self._still_true(transactions_before))
            start = execution_start(day)
            state = self._state_before(self._memory, start)
            transactions = PlanRunner(self.world, state, start, gas_price_wei).run(steps)
            receipt = ExecutionReceipt(run_id, day, len(transactions), "executed" if transactions else "nothing_to_do")
            insert_execution(db, receipt)
            insert_transactions(db, day, transactions)
            bump_version(db)
        return receipt

    def executions(self) -> list[ExecutionReceipt]:
        """Every executed plan, oldest day first."""
        with self._store.read() as db:
            return load_executions(db)

    def reset(self, from_day: date) -> int:
        """Forget the plans of `from_day` and all later partitions; returns how many. The genesis stays."""
        with self._store.write() as db:
            count = delete_executions(db, from_day)
            if count:
                bump_version(db)
        return count

    def transactions(self, until: datetime) -> list[Transaction]:
        """Every transaction in a block not after `until`, in block order."""
        return [transaction for transaction in self._current().transactions if transaction.time <= until]

    def balances(self, address: str, at: datetime) -> dict[str, int]:
        """Base units per token of an address at an instant, `native` in wei; zero balances are left out."""
        state = self._state_before(self._current(), at + timedelta(microseconds=1))
        holder = address.lower()
        return {token: value for (owner, token), value in sorted(state.balances.items()) if owner == holder and value}

    def positions(self, day: date) -> dict[PositionKey, int]:
        """Underlying base units per (wallet, pool, token) at the end of a UTC day, that day's yield included."""
        grown = self._grown_at_end(self._current(), day)
        return {key: amount for key, amount in grown.items() if key[1] != IN_WALLET}

    def _current(self) -> _Memory:
        """The chain as the file has it now; read again only when its version has grown."""
        with self._store.read() as db:
            version = read_version(db)
            if self._memory is None or self._memory.version != version:
                transactions = load_transactions(db)
                self._memory = _Memory(version, transactions, self._still_true(transactions))
            return self._memory

    def _still_true(self, transactions: list[Transaction]) -> dict[date, dict[PositionKey, int]]:
        """Ends of days before the first transaction in which the newly read chain differs from the known one."""
        if self._memory is None:
            return {}
        known = self._memory.transactions
        same = next(
            (i for i, pair in enumerate(zip(known, transactions, strict=False)) if pair[0] != pair[1]),
            min(len(known), len(transactions)),
        )
        changed = [utc_day(chain[same].time) for chain in (known, transactions) if same < len(chain)]
        first_changed = min(changed, default=date.max)
        return {day: amounts for day, amounts in self._memory.ends.items() if day < first_changed}

    def _grown_at_end(self, memory: _Memory, day: date) -> dict[PositionKey, int]:
        """What grows, at the end of a UTC day with that day's growth: underlying in pools and rebasing tokens."""
        rebasing = self.world.rebasing_tokens
        changes: dict[date, list[Transaction]] = {}
        for transaction in memory.transactions:
            if transaction.position_changes or any(moved.token in rebasing for moved in transaction.transfers):
                changes.setdefault(utc_day(transaction.time), []).append(transaction)
        first = min(changes, default=None)
        if first is None or day < first:
            return {}
        known = max((end for end in memory.ends if end <= day), default=first - timedelta(days=1))
        amounts = dict(memory.ends.get(known, {}))
        for offset in range(1, (day - known).days + 1):
            today = known + timedelta(days=offset)
            state = ChainState(positions=amounts, rebasing=rebasing)
            for transaction in changes.get(today, ()):
                state.change_positions(transaction)
            amounts = {key: self.grown(key, today, amount) for key, amount in amounts.items() if amount > 0}
            memory.ends[today] = dict(amounts)
        return amounts

    def grown(self, key: PositionKey, day: date, amount: int) -> int:
        """Base units after the growth of a UTC day, from what is there at its end."""
        _, pool_id, token = key
        apy = self._token_apy_on(token, day) if pool_id == IN_WALLET else self._apy_on(pool_id, day)
        return amount if apy is None else accrue(amount, apy)

    def _state_before(self, memory: _Memory, start: datetime) -> ChainState:
        """Balances and positions just before `start`: positions of the end of the day before, then today's blocks."""
        today = utc_day(start)
        grown = self._grown_at_end(memory, today - timedelta(days=1))
        state = ChainState(positions=grown, rebasing=self.world.rebasing_tokens)
        for transaction in memory.transactions:
            if transaction.time >= start:
                break
            state.move(transaction)
            if utc_day(transaction.time) == today:
                state.change_positions(transaction)
        state.show_rebases(self.world)
        return state
