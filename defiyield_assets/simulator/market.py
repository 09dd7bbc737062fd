"""What the simulated and the recorded market have in common: a chain that executes plans, contracts, price checks.

Lives here: the base of both markets. Not here: their facts (recorded.py, generated.py) or the wire format (wire.py).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd

from defiyield_assets.domain.days import start_of
from defiyield_assets.domain.policy import GasUnits, PoolAlias, PoolContract, PoolOverride, Token, Wallet
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.chain import ApyOn, SimulatedChain
from defiyield_assets.simulator.chain_plan import read_steps
from defiyield_assets.simulator.chain_records import (
    CHAIN_ID,
    ChainPool,
    ChainWorld,
    ExecutionReceipt,
    PlanRejected,
    Transaction,
)
from defiyield_assets.simulator.pendle_records import PendleMarket
from defiyield_assets.simulator.vendor_answers import MarketFacts
from defiyield_assets.simulator.wire import MarketTransport

ETHEREUM = "Ethereum"
GWEI = 10**9
REBASE_APY = 0.0475
"""How much balances of rebasing tokens grow, as a fraction a year."""
REVERTS_ONE_IN = 9
"""Of so many steps one reverts the first time and is sent again."""
_FREE_LUNCH = 1e-3
"""How much more value than it takes a conversion may give back before the router refuses (rounding, not profit)."""


def investable_wallet(wallets: Sequence[Wallet]) -> Wallet:
    """The wallet of chain 1 that plans spend from."""
    found = [wallet for wallet in wallets if wallet.investable and wallet.chain_id == CHAIN_ID]
    if len(found) != 1:
        raise ConfigurationError(
            f"accounts.yaml: chain {CHAIN_ID} needs exactly one investable wallet, not {len(found)}"
        )
    return found[0]


def ethereum_tokens(tokens: Sequence[Token]) -> dict[str, Token]:
    """Approved Ethereum tokens by lower-case address."""
    return {token.address.lower(): token for token in tokens if token.chain == ETHEREUM}


def token_named(tokens: Sequence[Token], symbol: str) -> Token:
    """The approved Ethereum token of a symbol; ConfigurationError when the list lacks it."""
    for token in tokens:
        if token.chain == ETHEREUM and token.symbol == symbol:
            return token
    raise ConfigurationError(f"tokens.yaml: this market needs an approved Ethereum token {symbol}")


class Market(MarketFacts):
    """A market in a closed loop: answers like the vendors as of a partition and executes plans."""

    name: str
    first_day: date
    last_day: date
    absent_vendors: frozenset[str] = frozenset()
    """Vendors of which this market has nothing to tell; a run does not ask them, as if their key were missing."""

    def transport(self, day: date) -> httpx.AsyncBaseTransport:
        """Answers every vendor as of partition `day`, stamped D+1 00:30 UTC; a day outside: ConfigurationError."""
        if not self.first_day <= day <= self.last_day:
            raise ConfigurationError(
                f"the {self.name} market knows the days {self.first_day} to {self.last_day}, not {day}"
            )
        return MarketTransport(self, day)

    def execute_plan(self, day: date, run_id: str, steps: pd.DataFrame) -> ExecutionReceipt:
        """Execute the plan of partition `day` on day + 1 at that day's gas price; see SimulatedChain.execute_plan."""
        self._refuse_free_lunch(day, steps)
        own_ids = {alias.old_id: alias.new_id for alias in self.pool_aliases()}
        steps = steps.assign(pool_id=steps["pool_id"].replace(own_ids)) if own_ids else steps
        return self.chain.execute_plan(day, run_id, steps, gas_price_wei=self._gas_price_wei(day + timedelta(days=1)))

    def pool_contracts(self) -> tuple[PoolContract, ...]:
        """Which contract and share token each pool is that the chain knows."""
        return tuple(
            PoolContract(
                pool.pool_id,
                CHAIN_ID,
                pool.contract,
                pool.share_token,
                pool.share_decimals,
                is_rebasing=pool.is_rebasing,
                source=f"{self.name} market",
            )
            for pool in sorted(self._chain_pools(), key=lambda pool: pool.pool_id)
        )

    def pool_aliases(self) -> tuple[PoolAlias, ...]:
        """Pools that the vendor goes on with under another id, each with its day; the recorded market knows none."""
        return ()

    def pendle_markets(self, day: date) -> tuple[PendleMarket, ...]:  # noqa: ARG002 - the recorded market has none
        """What Pendle's market list holds on the day; the recorded market has none."""
        return ()

    @abstractmethod
    def pool_overrides(self) -> tuple[PoolOverride, ...]:
        """What this market's vendors do not tell about its pools: roles, underlyings, maturities."""

    @abstractmethod
    def _chain_pools(self) -> Sequence[ChainPool]:
        """Pools that take deposits on the chain."""

    @abstractmethod
    def _gas_price_wei(self, day: date) -> int:
        """What a transaction pays per gas in the hour of execution of a day."""

    def _chain(self, path: Path, world: ChainWorld, genesis: Sequence[Transaction], apy_on: ApyOn) -> SimulatedChain:
        """The chain in the file; approved rebasing tokens grow at `REBASE_APY`."""
        return SimulatedChain(
            path, genesis=genesis, world=world, apy_on=apy_on, token_apy_on=lambda _token, _day: REBASE_APY
        )

    def _world(self, wallets: Sequence[Wallet], tokens: Mapping[str, Token], gas_units: GasUnits) -> ChainWorld:
        """What the chain knows besides its transactions."""
        return ChainWorld(
            wallets=frozenset(wallet.address.lower() for wallet in wallets),
            tokens=tokens,
            pools={pool.pool_id: pool for pool in self._chain_pools()},
            gas_units=gas_units,
            reverts_one_in=REVERTS_ONE_IN,
        )

    def _refuse_free_lunch(self, day: date, steps: pd.DataFrame) -> None:
        """A conversion whose proceeds are worth more than what it sells (closes of the day) is a mistake."""
        for leg in read_steps(steps):
            if leg.step_type != "CONVERT":
                continue
            sold, bought = (
                self._value(day, leg.token_in, leg.amount_in),
                self._value(day, leg.token_out, leg.amount_out),
            )
            if sold is not None and bought is not None and bought > sold * (1 + _FREE_LUNCH):
                raise PlanRejected(f"{leg.where}: buys {bought:.2f} USD for {sold:.2f} USD, which no router sells")

    def _value(self, day: date, address: str | None, amount: int | None) -> float | None:
        series = self.close_series((address or "").lower(), day)
        if series is None or amount is None or not len(series.close):
            return None
        return float(amount / 10**series.decimals * series.close[-1])


def at_hour(day: date, hour: int, minute: int = 0) -> datetime:
    """An instant of a UTC day."""
    return start_of(day) + timedelta(hours=hour, minutes=minute)
