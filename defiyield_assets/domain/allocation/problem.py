"""The allocation problem of one day, gathered from the day's tables.

Lives here: `build_problem`, which refuses missing facts by name, and what the objective modes mean for the parameters.
Not here: the dataclasses (facts.py), bounds and caps (limits.py), the model (model.py).
"""

import json
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from typing import Any

import pandas as pd

from defiyield_assets.domain.allocation.facts import AllocationProblem, PoolOption, TokenHolding
from defiyield_assets.domain.allocation.utilisation import UtilisationCurve
from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.chains import chain_name
from defiyield_assets.domain.policy import DOLLAR_ROLES, METHODS, OBJECTIVES, Parameters, Policy, Token, Wallet
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError

NATIVE = "native"
DOLLAR_PEGS = ("usd", "accruing")
"""Pegs that count as capital and may be bought."""
ROBUST_QUANTILE = 0.10
"""The only lower quantile that forecasts are stored with (column p10)."""


def effective_parameters(parameters: Parameters) -> Parameters:
    """The parameters that the objective mode implies: profit mode lifts the pool cap and the number of pools.

    Raises `ConfigurationError` for a mode, method or quantile that is not implemented: none is silently ignored.
    """
    if parameters.objective not in OBJECTIVES:
        raise ConfigurationError(f"objective {parameters.objective!r} is not one of {', '.join(OBJECTIVES)}")
    if parameters.method not in METHODS:
        raise ConfigurationError(f"method {parameters.method!r} is not one of {', '.join(METHODS)}")
    if parameters.objective == "robust" and parameters.robust_quantile != ROBUST_QUANTILE:
        raise ConfigurationError(f"robust_quantile {parameters.robust_quantile}: forecasts only hold {ROBUST_QUANTILE}")
    if parameters.objective == "profit":
        return replace(parameters, max_pool_share=1.0, min_pools=1)
    return parameters


@dataclass(frozen=True)
class _Setting:
    """Where and under which policy a problem is built."""

    chain: str
    wallet: Wallet
    policy: Policy
    parameters: Parameters
    barred: AbstractSet[str]

    @cached_property
    def approved(self) -> dict[tuple[str, str], Token]:
        return self.policy.token_by_address()

    def is_barred(self, address: str) -> bool:
        return f"{self.chain.lower()}:{address}" in self.barred

    def decimals(self, chain: str, address: str, otherwise: int) -> int:
        token = self.approved.get((chain, address))
        return token.decimals if token else otherwise


def build_problem(
    *,
    day: date,
    eligible: pd.DataFrame,
    forecasts: pd.DataFrame,
    balances: pd.DataFrame,
    positions: pd.DataFrame,
    bars: pd.DataFrame,
    gas_forecasts: pd.DataFrame,
    gas_daily: pd.DataFrame,
    policy: Policy,
    barred: AbstractSet[str],
    wallet: Wallet,
    policy_hash: str | None = None,
    curves: Mapping[str, UtilisationCurve] | None = None,
) -> AllocationProblem:
    """Gather the facts of `day` for one investable wallet.

    Frames have the columns of their tables (store/schema) and hold the slice of `day`; `barred` holds lower-case
    `chain:address` ids; `curves`, by pool id, are those that could be fitted (utilisation.py). Raises
    `SuspiciousDataError` naming a missing price, a balance or position that is not of the day, missing gas or ETH
    price, and a held pool that selection does not know: nothing is ever assumed.
    """
    parameters = effective_parameters(policy.parameters)
    chain, address = chain_name(wallet.chain_id), wallet.address.lower()
    here = _Setting(chain, wallet, policy, parameters, barred)
    held = _held_amounts(_of_wallet(positions, wallet, day, "position"))
    balance, eth = _wallet_balances(_of_wallet(balances, wallet, day, "balance"), policy, chain)
    if held and not balance and eth is None:
        raise SuspiciousDataError(f"no balances of wallet {address} on {day}, but positions: the ledger is incomplete")
    rows = _pool_rows(eligible, day, chain, held)
    apys = _forecast_rates(forecasts, day, parameters)
    decimals = {row["token_address"]: int(row["decimals"]) for row in _records(positions)}
    pools = [
        _pool_option(row, here, amounts=held.get(str(row["pool_id"]), {}), rates=apys, decimals=decimals)
        for row in rows
    ]
    used = {token for pool in pools for token in pool.tokens if pool.is_held or pool.can_grow} | set(balance)
    prices = _prices(bars, positions, day, chain, used)
    tokens = [
        _holding(token, here, balance=balance.get(token, 0), price=prices[token], decimals=decimals.get(token, 0))
        for token in sorted(used)
    ]
    kept = [
        replace(pool, curve=(curves or {}).get(pool.pool_id))
        if pool.is_held or pool.can_grow
        else replace(pool, tokens=(), amounts=(), reserve_shares=())
        for pool in pools
    ]
    mean_wei, p90_wei = _gas_prices(gas_forecasts, day, parameters)
    return AllocationProblem(
        day=day,
        chain=chain,
        wallet=address,
        parameters=parameters,
        tokens=tuple(tokens),
        pools=tuple(sorted(kept, key=lambda pool: pool.pool_id)),
        gas_price_wei=mean_wei,
        gas_price_p90_wei=p90_wei,
        eth_price_usd=_eth_price(gas_daily, day),
        eth_balance_wei=eth or 0,
        policy_hash=policy_hash or content_hash(policy),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries with None for every kind of null."""
    names, cells = [str(name) for name in frame.columns], frame.to_numpy(dtype=object)
    return [
        {name: None if empty else value for name, value, empty in zip(names, values, nulls, strict=True)}
        for values, nulls in zip(cells, pd.isna(cells), strict=True)
    ]


def _of_wallet(frame: pd.DataFrame, wallet: Wallet, day: date, what: str) -> list[dict[str, Any]]:
    """Rows of one wallet; every one must be of the day."""
    own = [
        row
        for row in _records(frame)
        if row["wallet"].lower() == wallet.address.lower() and row["chain_id"] == wallet.chain_id
    ]
    for row in own:
        if row["date"] != day:
            raise SuspiciousDataError(f"{what} of {row['token_address']} is of {row['date']}, the plan needs {day}")
    return own


def _held_amounts(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Base units per pool and token, empty positions left out."""
    held: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["underlying_amount"] > 0:
            tokens = held.setdefault(str(row["pool_id"]), {})
            tokens[row["token_address"]] = tokens.get(row["token_address"], 0) + int(row["underlying_amount"])
    return held


def _wallet_balances(
    rows: Iterable[Mapping[str, Any]], policy: Policy, chain: str
) -> tuple[dict[str, int], int | None]:
    """Balances of approved dollar tokens, and the ETH balance in wei (None when the ledger has no native row)."""
    dollars = {token.address for token in policy.tokens if token.chain == chain and token.peg in DOLLAR_PEGS}
    balance: dict[str, int] = {}
    eth: int | None = None
    for row in rows:
        if row["token_address"] == NATIVE:
            eth = int(row["balance"])
        elif row["token_address"] in dollars and row["balance"] > 0:
            balance[row["token_address"]] = int(row["balance"])
    return balance, eth


def _pool_rows(eligible: pd.DataFrame, day: date, chain: str, held: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows that are passed or held; a held pool that selection has not seen is an error."""
    rows = _records(eligible)
    for row in rows:
        if row["date"] != day:
            raise SuspiciousDataError(f"eligible pool {row['pool_id']} is of {row['date']}, the plan needs {day}")
    unknown = sorted(set(held) - {row["pool_id"] for row in rows if row["chain"] == chain})
    if unknown:
        raise SuspiciousDataError(
            f"held pools without a row in eligible_pools of {day} on {chain}: {', '.join(unknown)}"
        )
    return [row for row in rows if row["is_passed"] or row["pool_id"] in held]


def _forecast_rates(forecasts: pd.DataFrame, day: date, parameters: Parameters) -> dict[str, dict[str, float]]:
    """Per pool over the policy's horizon: mean of apy_base and apy_reward, and `apy_p10`."""
    rates: dict[str, dict[str, float]] = {}
    for row in _records(forecasts):
        if row["as_of"] != day or row["horizon_days"] != parameters.horizon_days:
            continue
        pool = rates.setdefault(row["pool_id"], {})
        for target, column, name in (
            ("apy", "p10", "apy_p10"),
            ("apy_base", "mean", "apy_base"),
            ("apy_reward", "mean", "apy_reward"),
        ):
            if row["target"] == target:
                if row[column] is None:
                    raise SuspiciousDataError(f"{column} of the forecast of {target} of {row['pool_id']} is missing")
                pool[name] = float(row[column])
    return rates


def _pool_option(
    row: Mapping[str, Any],
    here: _Setting,
    *,
    amounts: Mapping[str, int],
    rates: Mapping[str, Mapping[str, float]],
    decimals: Mapping[str, int],
) -> PoolOption:
    """One pool: total APY from selection (or its p10), split into base and reward as the component forecasts are."""
    pool_id = str(row["pool_id"])
    underlying = list(dict.fromkeys(json.loads(row["underlying_addresses_json"])))
    tokens = tuple(underlying + sorted(set(amounts) - set(underlying)))
    known = rates.get(pool_id, {})
    forecast = row["forecast_apy"]
    if forecast is not None and here.parameters.objective == "robust":
        if "apy_p10" not in known:
            raise SuspiciousDataError(
                f"no p10 forecast of apy over {here.parameters.horizon_days} days for pool {pool_id}"
            )
        forecast = known["apy_p10"]
    apy = forecast if forecast is not None else row["last_apy"]
    base, reward = known.get("apy_base"), known.get("apy_reward", 0.0)
    share = reward / (base + reward) if base is not None and base + reward > 0 else 0.0
    is_must_exit = bool(row["is_must_exit"]) and bool(amounts)
    blocked = _blocked(row, tokens, here)
    supply, borrow = row["total_supply_usd"], row["total_borrow_usd"]
    return PoolOption(
        pool_id=pool_id,
        chain=row["chain"],
        protocol=row["protocol"],
        role=row["role"] or "unknown",
        listed=tuple((token, here.decimals(row["chain"], token, decimals.get(token, 0))) for token in tokens),
        tokens=tokens,
        amounts=tuple(amounts.get(token, 0) for token in tokens),
        apy=float(apy) if apy is not None else 0.0,
        reward_share=share,
        size_usd=_size(row),
        withdrawable_usd=max(0.0, float(supply) - float(borrow)) if supply is not None and borrow is not None else None,
        pool_group=int(row["pool_group"]) if row["pool_group"] is not None else 4,
        exit_days=int(row["exit_days"]),
        can_grow=not blocked,
        is_must_exit=is_must_exit,
        is_frozen=bool(amounts) and apy is None and not is_must_exit,
        blocked=blocked,
        reserve_shares=_reserve_shares(pool_id, tokens, here),
        supply_usd=None if supply is None else float(supply),
        borrow_usd=None if borrow is None else float(borrow),
        exit_reason=_exit_reason(row) if is_must_exit else "",
    )


def _reserve_shares(pool_id: str, tokens: tuple[str, ...], here: _Setting) -> tuple[float, ...]:
    """What the policy tells of the pool's reserves, one share per token; nothing when it does not."""
    shares = here.policy.reserve_shares_of(pool_id)
    if shares and len(shares) != len(tokens):
        raise ConfigurationError(
            f"pool_overrides of {pool_id}: reserve_shares names {len(shares)} shares, the pool has {len(tokens)} "
            "tokens; give one share per underlying address, in their order"
        )
    return shares


def _exit_reason(row: Mapping[str, Any]) -> str:
    """What the final filter says against a pool that must be left; empty where it gives no words."""
    words = row["reasons"]
    return "" if words is None else str(words).strip()


def _size(row: Mapping[str, Any]) -> float | None:
    """Size that dilutes and caps: supply where known, otherwise the observed size."""
    size = row["total_supply_usd"] if row["total_supply_usd"] is not None else row["size_usd"]
    return float(size) if size is not None and size > 0 else None


def _blocked(row: Mapping[str, Any], tokens: tuple[str, ...], here: _Setting) -> str:
    """Why nothing may be added to a pool; empty when it may grow."""
    if row["chain"] != here.chain:
        return f"on {row['chain']}, the investable wallet is on {here.chain}"
    if row["is_must_exit"]:
        return "must be left"
    if row["is_exit_only"] or not row["is_passed"]:
        return "no longer eligible: may be kept or left, not increased"
    if row["forecast_apy"] is None:
        return "no forecast"
    if _size(row) is None:
        return "size unknown"
    if row["role"] not in DOLLAR_ROLES:
        return f"role {row['role']!r} is no dollar pool"
    for token in tokens:
        known = here.approved.get((here.chain, token))
        if known is None or known.peg not in DOLLAR_PEGS:
            return f"token {token} is no approved dollar token"
        if here.is_barred(token):
            return f"token {known.symbol} is barred"
    return "" if tokens else "underlying tokens unknown"


def _prices(
    bars: pd.DataFrame, positions: pd.DataFrame, day: date, chain: str, tokens: AbstractSet[str]
) -> dict[str, tuple[Decimal, bool]]:
    """Close of the day and whether it is assumed, per token; a held token without a bar is priced by the ledger."""
    prefix = f"{chain.lower()}:"
    wanted = {prefix + token: token for token in tokens}
    found: dict[str, tuple[Decimal, bool]] = {
        row["token_address"]: (Decimal(row["price_usd"]), False)
        for row in _records(positions)
        if row["date"] == day and row["price_usd"] is not None and row["token_address"] in tokens
    }
    for row in _records(bars[bars["instrument_id"].isin(wanted)]):
        if row["date"] == day and row["close"] is not None:
            found[wanted[row["instrument_id"]]] = (Decimal(repr(float(row["close"]))), row["quality"] == "assumed")
    missing = sorted(prefix + token for token in tokens if token not in found or found[token][0] <= 0)
    if missing:
        raise SuspiciousDataError(
            f"no price on {day} for {', '.join(missing)}: a plan is never made with an assumed 1.00"
        )
    return found


def _holding(address: str, here: _Setting, *, balance: int, price: tuple[Decimal, bool], decimals: int) -> TokenHolding:
    """A token of the plan; what is held but no longer approved may be sold or left, never bought."""
    token = here.approved.get((here.chain, address))
    is_open = token is not None and (
        token.access == "open" or bool({token.address, token.symbol} & set(here.wallet.permitted_tokens))
    )
    is_dollar = token is not None and token.peg in DOLLAR_PEGS
    return TokenHolding(
        address=address,
        symbol=token.symbol if token else address,
        decimals=here.decimals(here.chain, address, decimals),
        price=price[0],
        balance=balance,
        issuer=token.issuer if token else address,
        is_buyable=is_open and is_dollar and not here.is_barred(address),
        is_price_assumed=price[1],
        slippage=Decimal(repr(token.slippage_per_million_usd)).scaleb(-6) if token else Decimal(0),
    )


def _gas_prices(gas_forecasts: pd.DataFrame, day: date, parameters: Parameters) -> tuple[int, int]:
    """Expected and p90 effective gas price of tomorrow in wei, rounded up; without it base fee plus priority fee."""
    rows = {row["kind"]: row for row in _records(gas_forecasts) if row["as_of"] == day and row["horizon_days"] == 1}
    row = rows.get("gas_price") or rows.get("base_fee")
    if row is None or not row["mean"] or row["mean"] <= 0:
        raise SuspiciousDataError(f"no gas forecast of {day} for one day ahead: the cost of a plan cannot be known")
    extra = Decimal(0) if row["kind"] == "gas_price" else Decimal(repr(parameters.priority_fee_gwei))
    mean, p90 = (
        int(((Decimal(repr(float(row[name]))) + extra) * 10**9).to_integral_value(ROUND_CEILING))
        for name in ("mean", "p90")
    )
    return mean, max(mean, p90)


def _eth_price(gas_daily: pd.DataFrame, day: date) -> Decimal:
    """ETH price of the day from the gas table, gas price rows first."""
    rows = [row for row in _records(gas_daily) if row["date"] == day and row["eth_price_usd"]]
    if not rows:
        raise SuspiciousDataError(f"no ETH price in gas_fees_daily of {day}: gas cannot be valued")
    first = min(rows, key=lambda row: (row["kind"] != "gas_price", row["source"]))
    return Decimal(repr(float(first["eth_price_usd"])))
