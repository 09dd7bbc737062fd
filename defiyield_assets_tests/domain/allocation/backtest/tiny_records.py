"""Recorded tables of a few pools over a few days, built from matrices.

Lives here: `TinyRecords`. Not here: anything that decides or checks.
"""

import json
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from defiyield_assets.domain.allocation.backtest.engine import Start
from defiyield_assets.domain.allocation.backtest.records import KnownDay, RealisedYields
from defiyield_assets.domain.allocation.backtest.strategies import Setting
from defiyield_assets.domain.policy import Parameters, Policy, Token, Wallet

FIRST = date(2025, 3, 1)
WALLET = Wallet("warm", 1, "0x" + "aa" * 20, investable=True)
USDC, USDT = ("0x" + "01" * 20, "0x" + "02" * 20)
TOKENS = (
    Token("USDC", "Ethereum", USDC, 6, "Circle"),
    Token("USDT", "Ethereum", USDT, 18, "Tether"),
)
FREE = Parameters(
    max_pool_share=1.0,
    max_pool_tvl_share=1.0,
    max_protocol_share=1.0,
    max_token_share=1.0,
    min_pools=1,
    min_transaction_usd=1.0,
    min_position_share=0.0,
    reward_haircut=0.0,
    horizon_days=7,
    break_even_days=7,
)
"""Parameters under which one pool may take everything."""


@dataclass(frozen=True)
class TinyRecords:
    """`apy` (base): pool by day, day 0 being the evening before FIRST; `tokens` by pool; forecast: today's APY."""

    apy: np.ndarray
    tokens: tuple[str, ...]
    size: float = 1e12
    reward: float = 0.0
    gas_gwei: float = 0.0
    parameters: Parameters = FREE

    @property
    def pool_ids(self) -> tuple[str, ...]:
        return tuple(f"pool{index}" for index in range(len(self.tokens)))

    @property
    def policy(self) -> Policy:
        return Policy(self.parameters, TOKENS, ("aave-v3",), wallets=(WALLET,))

    @property
    def setting(self) -> Setting:
        return Setting(self.policy, "policy")

    @property
    def evening(self) -> date:
        return FIRST - timedelta(days=1)

    @property
    def yields(self) -> RealisedYields:
        shape = self.apy.shape
        known = np.full(shape, True)
        reward = np.full(shape, self.reward)
        return RealisedYields(self.pool_ids, self.evening, self.apy, reward, np.full(shape, self.size), known)

    def start(self, capital: str = "1000", n_days: int | None = None) -> Start:
        days = n_days or self.apy.shape[1] - 1
        return Start(FIRST, FIRST + timedelta(days=days - 1), Decimal(capital), USDC, WALLET)

    def execution_gas(self, day: date) -> tuple[int, Decimal]:
        return round(self.gas_gwei * 1e9), Decimal(2_000)

    def known(self, day: date) -> KnownDay:
        apy = self.apy[:, (day - self.evening).days] + self.reward
        pools = pd.DataFrame({"pool_id": self.pool_ids, "snapshot_date": day, "chain": "Ethereum", "apy": apy})
        pools = pools.assign(project="aave-v3", symbol="X", total_supply_usd=np.nan, total_borrow_usd=np.nan)
        listed = pools[["pool_id", "chain", "symbol"]].assign(
            date=day,
            is_passed=True,
            reason_codes="",
            warning_codes="",
            reasons="",
            protocol="aave-v3",
            role="lend",
            underlying_addresses_json=[json.dumps([token]) for token in self.tokens],
            size_usd=self.size,
            is_size_lower_bound=True,
            exit_days=0,
        )
        own = pools[["pool_id"]].assign(date=day, is_hindsight=False)
        forecast = pools[["pool_id"]].assign(as_of=day, horizon_days=7, is_hindsight=False)
        parts = (("apy", apy), ("apy_base", apy - self.reward), ("apy_reward", np.full(len(apy), self.reward)))
        rows = [forecast.assign(target=name, mean=mean, p10=mean, p50=mean, p90=mean) for name, mean in parts]
        bars = pd.DataFrame({"instrument_id": [token.instrument_id for token in TOKENS], "date": day, "close": 1.0})
        gas = {"kind": "gas_price", "mean": max(self.gas_gwei, 1e-6), "p90": max(self.gas_gwei, 1e-6)}
        fees = {"date": day, "kind": "gas_price", "source": "x", "eth_price_usd": 2_000.0}
        return KnownDay(
            day=day,
            pools=pools,
            prefiltered=listed,
            quality=own.assign(is_passed=True, reason_codes="", reasons=""),
            metrics=own.assign(age_days=100),
            groups=own.assign(pool_group=1),
            icebox=pd.DataFrame(),
            forecasts=pd.concat(rows, ignore_index=True),
            bars=bars.assign(quality="full"),
            gas_forecasts=pd.DataFrame([{"as_of": day, "horizon_days": 1, **gas}]),
            gas_daily=pd.DataFrame([fees]),
        )

    def with_future(self, day: date, apy: np.ndarray) -> "TinyRecords":
        """The same records with other APYs after a day."""
        column = (day - self.evening).days + 1
        mixed = self.apy.copy()
        mixed[:, column:] = apy[:, column:]
        return replace(self, apy=mixed)


def random_records(seed: int, n_pools: int = 4, n_days: int = 12, **facts: object) -> TinyRecords:
    """Random APYs between 1 and 40 %, pools of two tokens."""
    numbers = np.random.default_rng(seed)
    apy = np.exp(numbers.uniform(np.log(0.01), np.log(0.4), size=(n_pools, n_days + 1)))
    return TinyRecords(apy, tuple((USDC, USDT)[index % 2] for index in range(n_pools)), **facts)  # type: ignore[arg-type]
