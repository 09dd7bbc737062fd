"""The day's facts as the replay reads them: exact fractions and integers, straight from the tables.

Lives here: reading for replay.py, written without any of the optimiser's code. Not here: the optimiser's own reading
(problem.py); the two may not share more than the specification.
"""

import json
import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pandas as pd

from defiyield_assets.domain.chains import chain_name
from defiyield_assets.domain.policy import Parameters, Policy, Token, Wallet

NATIVE = "native"


@dataclass(frozen=True)
class PoolFacts:
    """One row of eligible_pools, as far as a plan has to respect it."""

    pool_id: str
    chain: str
    protocol: str
    role: str
    tokens: tuple[str, ...]
    size: Fraction | None
    liquid: Fraction | None
    group: int
    exit_days: int
    may_grow: bool
    must_exit: bool
    has_apy: bool
    parts: tuple[Fraction, ...]

    def parts_by_token(self) -> dict[str, Fraction]:
        """What part of a deposit's value each token is."""
        return dict(zip(self.tokens, self.parts, strict=True))


@dataclass
class Facts:
    """What the wallet, the pools and the chain are worth before the plan. Amounts in base units, values in USD."""

    day: date
    chain: str
    wallet: str
    parameters: Parameters
    approved: dict[str, Token]
    permitted: frozenset[str]
    barred: AbstractSet[str]
    prices: dict[str, Fraction]
    decimals: dict[str, int]
    balances: dict[str, int]
    positions: dict[str, dict[str, int]]
    pools: dict[str, PoolFacts]
    eth_wei: int
    eth_price: Fraction
    gas_wei: int
    gas_p90_wei: int
    worth_moving: Fraction
    problems: list[str] = field(default_factory=list)

    def value(self, token: str, amount: int) -> Fraction:
        """USD value of base units at the close."""
        return self.prices[token] * amount / int(10 ** self.decimals[token])

    def slippage(self, token: str, before: Fraction, value: Fraction) -> Fraction:
        """What converting `value` USD of a token loses beyond the rate when `before` USD were converted already."""
        known = self.approved.get(token)
        k = exact(known.slippage_per_million_usd) / 10**6 if known else Fraction(0)
        return k * value * (2 * before + value)

    def total(self, amounts: dict[str, int]) -> Fraction:
        """USD value of several amounts."""
        return sum((self.value(token, amount) for token, amount in amounts.items()), Fraction(0))

    @property
    def aum(self) -> Fraction:
        """Dollar tokens of the wallet and all positions, ETH not counted."""
        return self.total(self.balances) + sum((self.total(held) for held in self.positions.values()), Fraction(0))

    def issuer(self, token: str) -> str:
        """Issuer of a token; a token that is not approved stands for itself."""
        return self.approved[token].issuer if token in self.approved else token

    def may_use(self, token: str) -> bool:
        """Approved, of dollars and not barred."""
        known = self.approved.get(token)
        return (
            known is not None
            and known.peg in ("usd", "accruing")
            and f"{self.chain.lower()}:{token}" not in self.barred
        )

    def may_buy(self, token: str) -> bool:
        """Usable and open to us."""
        if not self.may_use(token):
            return False
        known = self.approved[token]
        return known.access == "open" or known.symbol in self.permitted or token in self.permitted


def exact(number: Any) -> Fraction:
    """A stored number as the fraction that its shortest decimal spelling means."""
    if isinstance(number, Decimal | int):
        return Fraction(number)
    return Fraction(Decimal(repr(float(number))))


def is_null(value: Any) -> bool:
    """None, NaN or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def read_facts(
    *,
    day: date,
    eligible: pd.DataFrame,
    balances: pd.DataFrame,
    positions: pd.DataFrame,
    bars: pd.DataFrame,
    gas_forecasts: pd.DataFrame,
    gas_daily: pd.DataFrame,
    policy: Policy,
    barred: AbstractSet[str],
    wallet: Wallet,
) -> Facts:
    """Read the tables of the day; what is missing ends up in `problems`, in words."""
    chain, parameters = chain_name(wallet.chain_id), policy.parameters
    if parameters.objective == "profit":
        parameters = replace(parameters, max_pool_share=1.0, min_pools=1)
    worth_moving = exact(parameters.min_transaction_usd)
    if parameters.method == "lp":
        parameters = replace(parameters, min_pools=0, min_position_share=0.0, min_transaction_usd=0.0)
    gas, p90 = _gas_prices(gas_forecasts, day, parameters)
    facts = Facts(
        day=day,
        chain=chain,
        wallet=wallet.address.lower(),
        parameters=parameters,
        approved={token.address: token for token in policy.tokens if token.chain == chain},
        permitted=frozenset(wallet.permitted_tokens),
        barred=barred,
        prices={},
        decimals={},
        balances={},
        positions={},
        pools={},
        eth_wei=0,
        eth_price=_eth_price(gas_daily, day),
        gas_wei=gas,
        gas_p90_wei=p90,
        worth_moving=worth_moving,
    )
    facts.decimals = {token.address: token.decimals for token in facts.approved.values()}
    _read_prices(facts, bars, positions)
    for row in _own_rows(facts, balances, wallet):
        token = row["token_address"]
        if token == NATIVE:
            facts.eth_wei = int(row["balance"])
        elif row["balance"] and token in facts.approved and facts.approved[token].peg in ("usd", "accruing"):
            facts.balances[token] = int(row["balance"])
    for row in _own_rows(facts, positions, wallet):
        if row["underlying_amount"]:
            facts.decimals.setdefault(row["token_address"], int(row["decimals"]))
            held = facts.positions.setdefault(row["pool_id"], {})
            held[row["token_address"]] = held.get(row["token_address"], 0) + int(row["underlying_amount"])
    _read_pools(facts, eligible, policy)
    if facts.eth_price <= 0 or facts.gas_wei <= 0:
        facts.problems.append(f"no gas price or ETH price of {day}")
    for token in {*facts.balances, *(token for held in facts.positions.values() for token in held)}:
        if token not in facts.prices:
            facts.problems.append(f"no price of {token} on {day}")
            facts.prices[token] = Fraction(0)
    return facts


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    names = [str(name) for name in frame.columns]
    return [
        {name: None if is_null(value) else value for name, value in zip(names, values, strict=True)}
        for values in frame.to_numpy(dtype=object)
    ]


def _own_rows(facts: Facts, frame: pd.DataFrame, wallet: Wallet) -> list[dict[str, Any]]:
    own = [row for row in _rows(frame) if row["wallet"].lower() == facts.wallet and row["chain_id"] == wallet.chain_id]
    facts.problems += [f"{row['token_address']}: a row of {row['date']}" for row in own if row["date"] != facts.day]
    return own


def _read_prices(facts: Facts, bars: pd.DataFrame, positions: pd.DataFrame) -> None:
    for row in _rows(positions):
        if row["date"] == facts.day and row["price_usd"] is not None:
            facts.prices[row["token_address"]] = exact(row["price_usd"])
    prefix = f"{facts.chain.lower()}:"
    for row in _rows(bars):
        if row["date"] == facts.day and row["instrument_id"].startswith(prefix) and row["close"] is not None:
            facts.prices[row["instrument_id"].removeprefix(prefix)] = exact(row["close"])


def _parts(policy: Policy, pool_id: str, n_tokens: int) -> tuple[Fraction, ...]:
    """The policy's word on the pool's reserves, else equal parts."""
    told = policy.reserve_shares_of(pool_id)
    return tuple(exact(part) for part in told) if told else (Fraction(1, max(1, n_tokens)),) * n_tokens


def _read_pools(facts: Facts, eligible: pd.DataFrame, policy: Policy) -> None:
    for row in _rows(eligible):
        supply, borrow = row["total_supply_usd"], row["total_borrow_usd"]
        size = row["size_usd"] if supply is None else supply
        tokens = tuple(dict.fromkeys(json.loads(row["underlying_addresses_json"])))
        is_open = (
            row["is_passed"] and not row["is_exit_only"] and not row["is_must_exit"] and row["chain"] == facts.chain
        )
        facts.pools[row["pool_id"]] = PoolFacts(
            pool_id=row["pool_id"],
            chain=row["chain"],
            protocol=row["protocol"],
            role=row["role"] or "unknown",
            tokens=tokens,
            size=exact(size) if size else None,
            liquid=max(Fraction(0), exact(supply) - exact(borrow)) if None not in (supply, borrow) else None,
            group=4 if row["pool_group"] is None else int(row["pool_group"]),
            exit_days=int(row["exit_days"]),
            may_grow=bool(is_open and row["forecast_apy"] is not None and size),
            must_exit=bool(row["is_must_exit"]),
            has_apy=row["forecast_apy"] is not None or row["last_apy"] is not None,
            parts=_parts(policy, row["pool_id"], len(tokens)),
        )
    facts.problems += [
        f"held pool {pool} is not in eligible_pools" for pool in facts.positions if pool not in facts.pools
    ]


def _gas_prices(gas_forecasts: pd.DataFrame, day: date, parameters: Parameters) -> tuple[int, int]:
    """Mean and p90 in wei for the next day: the effective price, or base fee plus priority fee. Zero when unknown."""
    tomorrow = [row for row in _rows(gas_forecasts) if row["as_of"] == day and row["horizon_days"] == 1]
    for kind, extra in (("gas_price", Fraction(0)), ("base_fee", exact(parameters.priority_fee_gwei))):
        for row in tomorrow:
            if row["kind"] == kind:
                mean, p90 = (math.ceil((exact(row[name]) + extra) * 10**9) for name in ("mean", "p90"))
                return mean, max(mean, p90)
    return 0, 0


def _eth_price(gas_daily: pd.DataFrame, day: date) -> Fraction:
    rows = [row for row in _rows(gas_daily) if row["date"] == day and row["eth_price_usd"]]
    rows.sort(key=lambda row: (row["kind"] != "gas_price", row["source"]))
    return exact(rows[0]["eth_price_usd"]) if rows else Fraction(0)
