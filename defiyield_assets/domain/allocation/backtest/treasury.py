"""A treasury in exact base units: what it holds, the steps it executes, the yield it is paid.

Lives here: balances, positions and their frames in the shape of the ledger's tables. Not here: deciding
(strategies.py), the order of days (engine.py). Gas is paid in ETH, which is no part of the dollars: what it was worth
is subtracted from wealth on the day it is spent.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import EXACT, exact_sum
from defiyield_assets.domain.allocation.problem import NATIVE
from defiyield_assets.domain.policy import Wallet
from defiyield_assets.errors import SuspiciousDataError

ETH_RESERVE_WEI = 1_000 * 10**18
"""ETH that every plan finds in the wallet: gas is paid from outside and counted as cost, never a limit here."""
BALANCE_COLUMNS = ("date", "chain_id", "wallet", "token_address", "balance")
POSITION_COLUMNS = (
    "date",
    "chain_id",
    "wallet",
    "pool_id",
    "token_address",
    "shares",
    "underlying_amount",
    "decimals",
    "price_usd",
)
Prices = Mapping[str, Decimal]


@dataclass
class Treasury:
    """Base units by token in the wallet and by pool and token in positions; gas spent so far in USD."""

    wallet_facts: Wallet
    decimals: Mapping[str, int]
    wallet: dict[str, int]
    positions: dict[str, dict[str, int]] = field(default_factory=dict)
    gas_usd: Decimal = Decimal(0)

    def value(self, token: str, amount: int, prices: Prices) -> Decimal:
        """Exact USD value of base units; a token without a price is an error that names it."""
        if token not in prices:
            raise SuspiciousDataError(f"no price of {token}: a treasury is never valued with an assumed 1.00")
        return EXACT.scaleb(EXACT.multiply(Decimal(amount), prices[token]), -self.decimals[token])

    def position_usd(self, pool_id: str, prices: Prices) -> Decimal:
        """Value of a position."""
        held = self.positions.get(pool_id, {})
        return exact_sum(self.value(token, amount, prices) for token, amount in held.items())

    def idle_usd(self, prices: Prices) -> Decimal:
        """Value of what is in no pool."""
        return exact_sum(self.value(token, amount, prices) for token, amount in self.wallet.items() if amount)

    def dollars(self, prices: Prices) -> Decimal:
        """Value of wallet and positions."""
        return exact_sum([self.idle_usd(prices), *(self.position_usd(pool, prices) for pool in self.positions)])

    def wealth(self, prices: Prices) -> Decimal:
        """Dollars less all gas spent."""
        return EXACT.subtract(self.dollars(prices), self.gas_usd)

    def execute(self, steps: pd.DataFrame) -> Decimal:
        """Carry out the rows of `allocation_steps` in order, in integers; returns the value lost in conversions.

        Raises SuspiciousDataError when a step spends what is not there.
        """
        conversion = Decimal(0)
        for row in steps.sort_values(["seq", "leg"]).to_dict("records"):
            if row["step_type"] == "HOLD":
                continue
            if row["step_type"] in ("DEPOSIT", "CONVERT"):
                self._move(self.wallet, row["token_in"], -int(row["amount_in"]), row)
            if row["step_type"] in ("WITHDRAW", "CONVERT"):
                self._move(self.wallet, row["token_out"], int(row["amount_out"]), row)
            if row["step_type"] == "DEPOSIT":
                held = self.positions.setdefault(row["pool_id"], {})
                self._move(held, row["token_in"], int(row["amount_in"]), row)
            if row["step_type"] == "WITHDRAW":
                held = self.positions.get(row["pool_id"], {})
                self._move(held, row["token_out"], -int(row["amount_out"]), row)
            conversion = EXACT.add(conversion, row["conversion_usd"])
        self.positions = {pool: held for pool, held in self.positions.items() if any(held.values())}
        return conversion

    @staticmethod
    def _move(amounts: dict[str, int], token: str, amount: int, row: Mapping[Any, Any]) -> None:
        after = amounts.get(token, 0) + amount
        if after < 0:
            raise SuspiciousDataError(
                f"step {row['seq']} ({row['step_type']}) spends {-after} base units of {token} that are not there"
            )
        amounts[token] = after

    def pay(self, growths: Mapping[str, Decimal], prices: Prices) -> dict[str, Decimal]:
        """Credit a day's growth to every position, rounded down; returns the yield by pool in USD."""
        paid: dict[str, Decimal] = {}
        for pool_id, held in self.positions.items():
            earned = []
            for token, amount in held.items():
                grown = EXACT.multiply(Decimal(amount), growths[pool_id]).to_integral_value(rounding=ROUND_FLOOR)
                held[token] = max(0, amount + int(grown))
                earned.append(self.value(token, held[token] - amount, prices))
            paid[pool_id] = exact_sum(earned)
        return paid

    def balances_frame(self, day: date) -> pd.DataFrame:
        """`daily_balances` of the day as far as a plan reads them."""
        own = (day, self.wallet_facts.chain_id, self.wallet_facts.address)
        rows = [(*own, token, amount) for token, amount in sorted(self.wallet.items()) if amount]
        return _objects([*rows, (*own, NATIVE, ETH_RESERVE_WEI)], BALANCE_COLUMNS)

    def positions_frame(self, day: date, prices: Prices) -> pd.DataFrame:
        """`pool_positions` of the day as far as selection and a plan read them; a share is a base unit."""
        own = (day, self.wallet_facts.chain_id, self.wallet_facts.address)
        rows = [
            (*own, pool_id, token, amount, amount, self.decimals[token], prices.get(token))
            for pool_id, held in sorted(self.positions.items())
            for token, amount in sorted(held.items())
            if amount
        ]
        return _objects(rows, POSITION_COLUMNS)


def fresh_treasury(
    wallet: Wallet, decimals: Mapping[str, int], token: str, capital_usd: Decimal, prices: Prices
) -> Treasury:
    """A treasury with all its capital idle in one token; the amount is rounded down to its base units."""
    units = int(EXACT.scaleb(capital_usd, decimals[token]) / prices[token])
    treasury = Treasury(wallet, decimals, defaultdict(int))
    treasury.wallet[token] = units
    return treasury


def _objects(rows: Sequence[tuple[object, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Object columns, so that integers of any size stay exact."""
    table = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return pd.DataFrame(
        {name: pd.Series(list(column), dtype=object) for name, column in zip(columns, table, strict=True)}
    )
