"""Instances for the allocation tests: the day's tables, built by hand or from a seed.

Lives here: frames in the shape of store/schema. Not here: anything that decides or checks.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem
from defiyield_assets.domain.allocation.plan import AllocationPlan
from defiyield_assets.domain.allocation.problem import build_problem
from defiyield_assets.domain.allocation.replay import ReplayResult, replay_plan
from defiyield_assets.domain.allocation.utilisation import UtilisationCurve
from defiyield_assets.domain.policy import Parameters, Policy, PoolOverride, Token, Wallet
from defiyield_assets.store import schema

DAY = date(2025, 6, 2)
WALLET = Wallet("warm", 1, "0x" + "aa" * 20, investable=True)
ETH = 10**18


def address(name: str) -> str:
    """A readable fake address."""
    return "0x" + name.lower().encode().hex().ljust(40, "0")[:40]


@dataclass
class Coin:
    """A token of the policy and its market."""

    name: str
    decimals: int = 6
    price: float | None = 1.0
    balance: int = 0
    issuer: str = ""
    peg: str = "usd"
    access: str = "open"
    is_barred: bool = False
    is_approved: bool = True
    quality: str = "full"
    slippage: float = 0.0

    @property
    def address(self) -> str:
        return address(self.name)


@dataclass
class Pool:
    """A row of eligible_pools and our position in it (base units per token)."""

    name: str
    tokens: Sequence[str] = ("usdc",)
    apy: float | None = 0.05
    size: float | None = 100_000_000.0
    protocol: str = ""
    role: str | None = "lend"
    held: Sequence[int] = ()
    supply: float | None = None
    borrow: float | None = None
    group: int | None = 1
    exit_days: int = 0
    is_exit_only: bool = False
    is_must_exit: bool = False
    last_apy: float | None = None
    reward: float = 0.0
    p10: float | None = None
    chain: str = "Ethereum"
    reserve_shares: tuple[float, ...] = ()
    reasons: str = ""


@dataclass
class Market:
    """All tables that a plan of DAY reads."""

    coins: list[Coin]
    pools: list[Pool]
    parameters: Parameters = field(
        default_factory=lambda: Parameters(min_pools=1, max_token_share=1.0, max_pool_share=1.0)
    )
    eth_wei: int | None = 2 * ETH
    eth_price: float | None = 2500.0
    gas_gwei: float | None = 1.0
    gas_p90: float = 2.0
    gas_kind: str = "gas_price"
    balance_day: date = DAY

    def coin(self, name: str) -> Coin:
        return next(coin for coin in self.coins if coin.name == name)

    @property
    def policy(self) -> Policy:
        tokens = tuple(
            Token(
                coin.name.upper(),
                "Ethereum",
                coin.address,
                coin.decimals,
                coin.issuer or coin.name,
                peg=coin.peg,
                access=coin.access,
                slippage_per_million_usd=coin.slippage,
            )
            for coin in self.coins
            if coin.is_approved
        )
        return Policy(
            self.parameters,
            tokens,
            tuple({pool.protocol or pool.name for pool in self.pools}),
            wallets=(WALLET,),
            pool_overrides=tuple(
                PoolOverride(pool.name, reserve_shares=pool.reserve_shares)
                for pool in self.pools
                if pool.reserve_shares
            ),
        )

    def tables(self) -> dict[str, Any]:
        """Arguments that build_problem and replay_plan share."""
        return {
            "day": DAY,
            "eligible": _frame(schema.eligible_pools, [self._eligible(pool) for pool in self.pools]),
            "balances": _frame(schema.daily_balances, self._balances()),
            "positions": _frame(schema.pool_positions, self._positions()),
            "bars": _frame(schema.daily_bars, self._bars()),
            "gas_forecasts": _frame(schema.gas_forecasts, self._gas()),
            "gas_daily": _frame(schema.gas_fees_daily, self._gas_days()),
            "policy": self.policy,
            "barred": {f"ethereum:{coin.address}" for coin in self.coins if coin.is_barred},
            "wallet": WALLET,
        }

    def forecasts(self) -> pd.DataFrame:
        rows = []
        for pool in self.pools:
            if pool.apy is None:
                continue
            rates = {"apy": pool.apy, "apy_base": pool.apy * (1 - pool.reward), "apy_reward": pool.apy * pool.reward}
            for target, mean in rates.items():
                low = pool.p10 if target == "apy" and pool.p10 is not None else mean * 0.5
                rows.append(
                    {"pool_id": pool.name, "as_of": DAY, "horizon_days": self.parameters.horizon_days, "target": target}
                    | {"mean": mean, "p10": low, "p50": mean, "p90": mean * 1.5}
                )
        return _frame(schema.pool_forecasts, rows)

    def problem(self, **changes: Any) -> AllocationProblem:
        tables = self.tables() | {"forecasts": self.forecasts()} | changes
        return build_problem(**tables)

    def replay(self, plan: AllocationPlan, **changes: Any) -> ReplayResult:
        frames = {"runs": plan.runs, "allocations": plan.allocations, "steps": plan.steps}
        return replay_plan(**(self.tables() | frames | changes))

    def _eligible(self, pool: Pool) -> dict[str, Any]:
        is_held = any(pool.held)
        is_passed = not (pool.is_exit_only or pool.is_must_exit) and pool.apy is not None
        return {
            "date": DAY,
            "pool_id": pool.name,
            "is_passed": is_passed,
            "reason_codes": "",
            "warning_codes": "",
            "reasons": pool.reasons,
            "is_held": is_held,
            "is_exit_only": is_held and not is_passed and not pool.is_must_exit,
            "is_must_exit": pool.is_must_exit,
            "chain": pool.chain,
            "protocol": pool.protocol or pool.name,
            "symbol": "+".join(pool.tokens),
            "role": pool.role,
            "underlying_addresses_json": json.dumps([address(name) for name in pool.tokens]),
            "size_usd": pool.size,
            "total_supply_usd": pool.supply,
            "total_borrow_usd": pool.borrow,
            "is_size_lower_bound": pool.supply is None,
            "pool_group": pool.group,
            "forecast_apy": pool.apy,
            "last_apy": pool.last_apy if pool.last_apy is not None else pool.apy,
            "exit_days": pool.exit_days,
            "age_days": 100,
        }

    def _balances(self) -> list[dict[str, Any]]:
        native = [] if self.eth_wei is None else [("native", self.eth_wei, 18)]
        rows = native + [(coin.address, coin.balance, coin.decimals) for coin in self.coins if coin.balance]
        return [
            {"date": self.balance_day, "chain_id": 1, "wallet": WALLET.address, "token_address": token}
            | {"balance": balance, "decimals": decimals, "symbol": None, "price_usd": None}
            | {"value_usd": Decimal(0), "is_trusted": True}
            for token, balance, decimals in rows
        ]

    def _positions(self) -> list[dict[str, Any]]:
        rows = []
        for pool in self.pools:
            for name, amount in zip(pool.tokens, pool.held, strict=False):
                rows.append(
                    {"date": DAY, "chain_id": 1, "wallet": WALLET.address, "pool_id": pool.name}
                    | {"token_address": address(name), "share_token": address("s" + pool.name), "shares": amount}
                    | {"exchange_rate": Decimal(1), "rate_source": "mint_ratio", "rate_age_days": 0}
                    | {"underlying_amount": amount, "decimals": self.coin(name).decimals, "price_usd": None}
                    | {"value_usd": Decimal(0)}
                )
        return rows

    def _bars(self) -> list[dict[str, Any]]:
        return [
            {"instrument_id": f"ethereum:{coin.address}", "date": DAY, "close": coin.price, "adj_factor": 1.0}
            | {"source": "test", "quality": coin.quality}
            for coin in self.coins
            if coin.price is not None
        ]

    def _gas(self) -> list[dict[str, Any]]:
        if self.gas_gwei is None:
            return []
        return [
            {"as_of": DAY, "kind": self.gas_kind, "horizon_days": 1, "mean": self.gas_gwei, "p10": self.gas_gwei}
            | {"p50": self.gas_gwei, "p90": self.gas_p90}
        ]

    def _gas_days(self) -> list[dict[str, Any]]:
        row = {"date": DAY, "kind": "gas_price", "source": "test", "eth_price_usd": self.eth_price, "n_hours": 24}
        return [] if self.eth_price is None else [row]


def _frame(table: Any, rows: list[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with exactly the table's columns; exact columns stay objects."""
    names = [column.name for column in table.columns]
    cells = np.empty((len(rows), len(names)), dtype=object)
    for number, row in enumerate(rows):
        cells[number] = [row.get(name) for name in names]
    return pd.DataFrame(cells, columns=names)


def units(amount: float | str, decimals: int = 6) -> int:
    """Base units of a token amount."""
    return int(Decimal(str(amount)).scaleb(decimals))


def random_market(
    seed: int, *, n_pools: int | None = None, n_tokens: int | None = None, aum: float | None = None
) -> Market:
    """A seeded market: prices 0.5 … 1.5, decimals 6 … 18, 1 … 4 tokens a pool, any AUM, held and forced positions."""
    rng = random.Random(seed)
    n_tokens = n_tokens or rng.randint(1, 6)
    n_pools = n_pools or rng.randint(1, 8)
    aum = aum if aum is not None else 10 ** rng.uniform(1.5, 10)
    coins = [
        Coin(
            f"t{index}",
            decimals=rng.choice([6, 6, 8, 18, 18, 2]) if rng.random() < 0.9 else rng.randint(6, 18),
            price=round(rng.uniform(0.5, 1.5), rng.choice([2, 4, 8, 15])),
            issuer=f"i{rng.randint(0, 3)}",
            is_barred=rng.random() < 0.1,
        )
        for index in range(n_tokens)
    ]
    cuts = [rng.random() ** 3 for _ in range(n_tokens + n_pools)]
    worth = [aum * cut / sum(cuts) for cut in cuts]
    for coin, value in zip(coins, worth, strict=False):
        if rng.random() < 0.7:
            coin.balance = _amount(value, coin)
    pools = [_random_pool(rng, index, coins, worth[n_tokens + index], aum) for index in range(n_pools)]
    parameters = Parameters(
        max_pool_share=rng.choice([0.25, 0.4, 1.0]),
        max_pool_tvl_share=rng.choice([0.05, 0.2]),
        cap_headroom=0.01 * (seed % 2),
        max_protocol_share=rng.choice([0.5, 1.0]),
        max_token_share=rng.choice([0.6, 1.0]),
        max_chain_share=rng.choice([0.9, 1.0]),
        group_caps=rng.random() < 0.3,
        idle_buffer_share=rng.choice([0.0, 0.0, 0.1]),
        min_pools=rng.choice([1, 1, 2, 3, 5]),
        min_position_share=rng.choice([0.0, 0.01, 0.05]),
        min_transaction_usd=rng.choice([0.0, 50.0]),
        objective=rng.choice(["expected", "expected", "robust", "profit"]),
    )
    return Market(
        coins,
        pools,
        parameters,
        eth_wei=rng.choice([2 * ETH, 2 * ETH, ETH // 400, 0]),
        gas_gwei=rng.choice([0.3, 1.0, 5.123456789]),
        gas_p90=rng.choice([5.2, 9.0]),
        gas_kind=rng.choice(["gas_price", "base_fee"]),
    )


def _amount(value: float, coin: Coin) -> int:
    assert coin.price is not None
    return int(value / coin.price * 10**coin.decimals)


def _random_pool(rng: random.Random, index: int, coins: list[Coin], worth: float, aum: float) -> Pool:
    tokens = rng.sample(coins, min(len(coins), rng.choice([1, 1, 1, 2, 3, 4])))
    size = aum * 10 ** rng.uniform(-0.5, 3)
    pool = Pool(
        f"p{index}",
        tuple(coin.name for coin in tokens),
        apy=rng.choice([0.0, rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.3), rng.uniform(0.0, 3.0)]),
        size=size,
        protocol=f"x{rng.randint(0, 2)}",
        role=rng.choice(["lend", "vault", "staking"]) if len(tokens) == 1 else "liquidity",
        group=rng.choice([1, 2, 3, 4, None]),
        exit_days=rng.choice([0, 0, 0, 3]),
        reward=rng.choice([0.0, 0.0, 0.5]),
    )
    if rng.random() < 0.3:
        pool.supply, pool.borrow = size, size * rng.uniform(0.3, 1.0)
    if rng.random() < 0.5:
        skew = [rng.uniform(0.8, 1.2) for _ in tokens]
        pool.held = tuple(_amount(worth * part / sum(skew), coin) for part, coin in zip(skew, tokens, strict=True))
        fate = rng.random()
        pool.is_must_exit = fate < 0.1
        if 0.1 <= fate < 0.3:
            pool.is_exit_only = True
        elif fate > 0.9:
            pool.apy, pool.last_apy = None, rng.choice([None, 0.04])
    if any(coin.is_barred for coin in tokens) and not pool.is_must_exit:
        pool.is_exit_only = True
    return pool


def with_slippage_and_reserves(market: Market, seed: int) -> Market:
    """The same market, some of its tokens with slippage and some of its wider pools with unequal reserves."""
    rng = random.Random(f"slippage {seed}")
    coins = [replace(coin, slippage=rng.choice([0.0, 0.0, 0.001, 0.05])) for coin in market.coins]
    pools = []
    for pool in market.pools:
        cuts = [round(rng.uniform(0.1, 0.3), 3) for _ in pool.tokens[1:]]
        shares = (round(1.0 - sum(cuts), 3), *cuts) if cuts and rng.random() < 0.4 else ()
        pools.append(replace(pool, reserve_shares=shares))
    return replace(market, coins=coins, pools=pools)


def random_curves(seed: int, market: Market) -> dict[str, UtilisationCurve]:
    """Curves of utilisation for half of the pools whose supply and borrow are known."""
    rng = random.Random(f"curves {seed}")
    return {
        pool.name: UtilisationCurve(rng.uniform(0.5, 0.95), 0.0, rng.uniform(0.02, 0.1), rng.uniform(0.3, 3.0))
        for pool in market.pools
        if pool.supply is not None and rng.random() < 0.5
    }


def with_parameters(market: Market, **changes: Any) -> Market:
    """The same market under changed parameters."""
    return replace(market, parameters=replace(market.parameters, **changes))
