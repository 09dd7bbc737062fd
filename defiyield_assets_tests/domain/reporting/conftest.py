"""A believable day to report on. The tests of other rooms never see it."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.reporting.inputs import JudgedCheck, ReportInputs, TokenLabel
from defiyield_assets.store import schema

DAY = date(2025, 6, 2)
RUN = "2025-06-02-1f0c9a3b-77d2e4c0"
WARM = "0x" + "a1" * 20
USDC, USDT, DAI = ("0x" + digit * 40 for digit in "123")
POOL_CONTRACT = "0x" + "c7" * 20
POOL_A, POOL_B, POOL_C, POOL_D = (f"{digit * 8}-1111-4222-8333-{digit * 12}" for digit in "abcd")


def frame(table: str, *rows: dict[str, Any]) -> pd.DataFrame:
    """Rows with the columns of a table, objects untouched; columns that a row leaves out are null."""
    names = [column.name for column in schema.metadata.tables[table].columns]
    for row in rows:
        assert set(row) <= set(names), set(row) - set(names)
    return pd.DataFrame([[row.get(name) for name in names] for row in rows], columns=names, dtype=object)


def plan_run(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "date": DAY,
        "status": "optimal",
        "message": "3 deposits and 1 withdrawal; the binding limit is max_pool_share.",
        "policy_hash": "5b7e" * 16,
        "input_hash": "09ac" * 16,
        "objective": "expected",
        "method": "milp",
        "horizon_days": 30,
        "aum_usd": Decimal("1002345.678901"),
        "eth_balance_wei": 1_998_500_000_000_000_001,
        "gain_usd": Decimal("7412.339"),
        "hold_gain_usd": Decimal("4100.10"),
        "gas_usd": Decimal("9.42"),
        "conversion_usd": Decimal("100.125"),
        "projected_apy": 0.0912,
        "projected_apy_net": 0.0899,
        "hold_apy": 0.0501,
        "break_even_days": 1.04,
        "turnover": 0.5,
        "n_pools": 3,
        "n_steps": 4,
        "solver": "HiGHS 1.15.1",
        "solver_status": "Optimal",
        "solver_objective": 7412.34,
        "solver_bound": 7412.35,
        "solver_gap": 0.01,
        "solver_seconds": 0.412,
        "second_solver": "CBC 2.10.3",
        "second_objective": 7412.33,
        "second_bound": 7412.4,
        "verified_by": "objective",
        "assumed_prices_json": f'["ethereum:{DAI}"]',
        **changes,
    }


def holding(pool_id: str, token: str, amount: int, before: int, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "pool_id": pool_id,
        "token_address": token,
        "date": DAY,
        "amount": amount,
        "amount_before": before,
        "decimals": 6,
        "value_usd": Decimal(amount) / 10**6,
        "share_of_aum": amount / 1_002_345_678_901,
        "forecast_apy": 0.105,
        "diluted_apy": 0.101,
        "pool_group": 1,
        "is_price_assumed": False,
        "action": "enter",
        "why": "at max_pool_share; next best is DAI · spark at 8.10%",
        **changes,
    }


def step(seq: int, kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": RUN,
        "seq": seq,
        "leg": 0,
        "date": DAY,
        "step_type": kind,
        "wallet": WARM,
        "is_full_exit": False,
        "value_usd": Decimal("250000.5"),
        "gas_units": 270_000,
        "gas_usd": Decimal("2.355"),
        "conversion_usd": Decimal(0),
        **changes,
    }


def verdict(pool_id: str, symbol: str, protocol: str, codes: str = "", **changes: Any) -> dict[str, Any]:
    return {
        "date": DAY,
        "pool_id": pool_id,
        "is_passed": not codes,
        "reason_codes": codes,
        "warning_codes": "",
        "reasons": f"{codes} in words" if codes else "",
        "chain": "Ethereum",
        "protocol": protocol,
        "symbol": symbol,
        "role": "lend",
        "underlying_addresses_json": f'["{USDC}"]',
        "size_usd": 123_456_789.0,
        "is_size_lower_bound": True,
        "exit_days": 0,
        **changes,
    }


def score(target: str, horizon: int, error: float, naive: float, **changes: Any) -> dict[str, Any]:
    return {
        "date": DAY,
        "pool_id": POOL_A,
        "horizon_days": horizon,
        "target": target,
        "as_of": DAY,
        "model": "ses",
        "is_champion": True,
        "forecast": 0.1,
        "actual": 0.1 - error,
        "naive": 0.1,
        "absolute_error": error,
        "naive_absolute_error": naive,
        "error": error,
        "is_covered": True,
        "has_band": True,
        "pinball_loss": 0.001,
        **changes,
    }


def board(target: str, horizon: int, model: str, skill: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "date": DAY,
        "target": target,
        "horizon_days": horizon,
        "model": model,
        "n_forecasts": 1_234,
        "n_pools": 14,
        "mae": 0.0123,
        "mae_last_value": 0.0150,
        "skill": skill,
        "mase": 0.9,
        "bias": 0.0045,
        "coverage": 0.81,
        "pinball_loss": 0.003,
        "skill_30d": -0.02,
        "n_bands": 1_200,
        **changes,
    }


def band(pool_id: str, horizon: int, mean: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    """A forecast of the APY of a pool made on the day."""
    return {
        "pool_id": pool_id,
        "as_of": DAY,
        "horizon_days": horizon,
        "target": "apy",
        "mean": mean,
        "p10": low,
        "p50": mean,
        "p90": high,
        "model": "combination",
        "model_version": "1",
        "tier": "panel",
        "trained_from": date(2024, 6, 2),
        "trained_to": DAY,
        "n_obs": 366,
        "is_hindsight": False,
        **changes,
    }


def point(pool_id: str, day: date, apy: float | None) -> dict[str, Any]:
    """A day of a pool's history as it was known."""
    return {"pool_id": pool_id, "date": day, "apy": apy}


def gas_band(horizon: int, mean: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    found = {"mean": mean, "p10": low, "p50": mean, "p90": high, "n_obs": 60, "model": "reverting"}
    return {"as_of": DAY, "kind": "gas_price", "horizon_days": horizon, **found, **changes}


def gas_day(day: date, gwei: float, kind: str = "gas_price") -> dict[str, Any]:
    return {"date": day, "kind": kind, "source": "ethgastracker", "mean_gwei": gwei, "n_hours": 24}


def quality(pool_id: str, codes: str = "") -> dict[str, Any]:
    return {"date": DAY, "pool_id": pool_id, "is_passed": not codes, "reason_codes": codes}


def failure(asset: str, kind: str, reason: str, status: str = "degraded", **changes: Any) -> dict[str, Any]:
    """A row of asset_outcomes."""
    row = {"date": DAY, "asset": asset, "status": status, "error_class": kind, "reason": reason}
    return {**row, "is_recoverable": True, **changes}


def nav(day: date, value: str, **changes: Any) -> dict[str, Any]:
    money = {
        name: Decimal(0)
        for name in ("flows_usd", "income_usd", "expenses_usd", "price_change_usd", "unexplained_usd", "eth_usd")
    }
    return {
        "date": day,
        "nav_usd": Decimal(value),
        "wallets_usd": Decimal("10"),
        "pools_usd": Decimal(value) - 10,
        **money,
        "return_1d": 0.000214,
        "return_mtd": 0.0004,
        "return_ytd": 0.031,
        "realised_yield_1d": 0.00022,
        "realised_yield_mtd": 0.00045,
        "realised_yield_ytd": 0.0301,
        "idle_share": 0.01,
        **changes,
    }


def unexplained(amount: int = -500_000_000, value: str | None = "-500", **changes: Any) -> dict[str, Any]:
    return {
        "date": DAY,
        "chain_id": 1,
        "tx_hash": "0x" + "7e" * 32,
        "token_address": USDC,
        "booked_on": date(2025, 5, 30),
        "amount": amount,
        "decimals": 6,
        "symbol": "USDC",
        "counterparty": POOL_CONTRACT,
        "valued_usd": None if value is None else Decimal(value),
        "classification": "unlisted_deposit",
        "hint": "list the pool of share token 0x77 in pool_contracts",
        **changes,
    }


def believable_day(**changes: Any) -> ReportInputs:
    """Two pools entered, one left, one kept, some cash; one table or field replaced per keyword."""
    final = {"is_held": False, "is_exit_only": False, "is_must_exit": False, "pool_group": 2}
    parts: dict[str, Any] = {
        "day": DAY,
        "allocation_runs": frame("allocation_runs", plan_run()),
        "allocations": frame(
            "allocations",
            holding(POOL_A, USDC, 250_586_419_725, 0),
            holding(POOL_B, USDT, 400_000_000_000, 100_000_000_000, action="increase", pool_group=2),
            holding(
                POOL_C,
                DAI,
                10**23,
                10**23,
                decimals=18,
                value_usd=Decimal(100_000),
                share_of_aum=0.0998,
                action="hold",
                is_price_assumed=True,
            ),
            holding(
                "IDLE",
                USDC,
                251_759_259_176,
                502_345_678_901,
                action="idle",
                forecast_apy=None,
                diluted_apy=None,
                pool_group=None,
                why="max_group_share binds",
            ),
            holding(POOL_D, USDC, 0, 0, action="left_out", why="beaten by USDC · aave-v3 after gas"),
        ),
        "allocation_steps": frame(
            "allocation_steps",
            step(1, "WITHDRAW", pool_id=POOL_D, token_out=USDC, amount_out=5_000_000_001, is_full_exit=True),
            step(
                2,
                "CONVERT",
                token_in=USDC,
                amount_in=300_120_048_020,
                token_out=USDT,
                amount_out=300_000_000_000,
                conversion_usd=Decimal("100.125"),
            ),
            step(3, "DEPOSIT", pool_id=POOL_A, token_in=USDC, amount_in=250_586_419_725),
            step(4, "DEPOSIT", pool_id=POOL_B, token_in=USDT, amount_in=300_000_000_000),
            step(5, "HOLD", pool_id=POOL_C, token_in=DAI, amount_in=10**23, gas_units=0, gas_usd=Decimal(0)),
        ),
        "eligible_pools": frame(
            "eligible_pools",
            verdict(POOL_A, "USDC", "aave-v3", forecast_apy=0.105, last_apy=0.11, **final),
            verdict(POOL_B, "USDT", "compound-v3", forecast_apy=0.092, last_apy=0.09, **final),
            verdict(POOL_C, "DAI", "spark", forecast_apy=0.081, last_apy=0.08, **{**final, "is_held": True}),
            verdict(POOL_D, "USDC", "aave-v3", forecast_apy=0.071, last_apy=0.07, **final),
            verdict("e" * 36, "sUSDe", "ethena-usde", "POOL_TOO_YOUNG,APY_BELOW_MIN", last_apy=0.2, **final),
        ),
        "prefiltered_pools": frame(
            "prefiltered_pools",
            verdict(POOL_A, "USDC", "aave-v3"),
            verdict(POOL_B, "USDT", "compound-v3"),
            verdict("f" * 36, "PEPE-WETH", "uniswap-v3", "PROTOCOL_NOT_APPROVED,TOKEN_NOT_APPROVED"),
            verdict("9" * 36, "USDX", "aave-v3", "TOKEN_NOT_APPROVED", size_usd=None),
        ),
        "icebox": frame(
            "icebox",
            {
                "date": DAY,
                "chain": "Ethereum",
                "address": DAI,
                "symbol": "crvUSD",
                "since": date(2025, 6, 1),
                "reason_codes": "LOW",
                "reason": "low 0.9712 on 2025-06-01, 2 % below 1",
                "reference_price": 1.0,
                "last_low": 0.9712,
                "last_close": 0.9955,
                "good_lows": 0,
                "good_closes": 1,
                "is_manual": False,
            },
        ),
        "icebox_events": frame(
            "icebox_events",
            {
                "date": DAY,
                "chain": "Ethereum",
                "address": DAI,
                "kind": "enter",
                "symbol": "crvUSD",
                "reason_codes": "LOW",
                "reason": "low 0.9712",
            },
        ),
        "nav_daily": frame(
            "nav_daily",
            nav(date(2025, 6, 1), "1002100.10"),
            nav(DAY, "1002345.68", income_usd=Decimal("245.5849"), expenses_usd=Decimal("0.004")),
        ),
        "yield_attribution": frame(
            "yield_attribution",
            {
                "date": DAY,
                "pool_id": POOL_C,
                "advertised_apy": 0.082,
                "forecast_apy": 0.081,
                "realised_apy": 0.079,
                "opening_usd": Decimal("99980.12"),
                "flows_usd": Decimal(0),
                "income_usd": Decimal("19.88"),
                "price_change_usd": Decimal("-0.02"),
                "closing_usd": Decimal("99999.98"),
                "cost_usd": Decimal(0),
                "gap_rate": Decimal("-0.0015"),
                "gap_dilution": Decimal("-0.0005"),
                "gap_price": Decimal("-0.00001"),
                "gap_cost": Decimal("0.00001"),
            },
        ),
        "decided_runs": frame("allocation_runs", plan_run(date=date(2025, 6, 1), projected_apy=0.0801)),
        "outcomes": frame("asset_outcomes"),
        "forecast_scores": frame(
            "forecast_scores",
            score("apy", 1, 0.002, 0.004),
            score("apy", 1, 0.9, 0.004, model="prophet", is_champion=False),
            score("apy", 7, 0.03, 0.02),
            score("tvl_usd", 1, 1e6, 1e6),
            score("base_fee_gwei", 1, 0.2, 0.1, pool_id="GAS"),
        ),
        "forecast_scoreboard": frame(
            "forecast_scoreboard",
            board("apy", 7, "champion", 0.12),
            board("apy", 7, "last_value", 0.0),
            board("apy", 7, "combination", 0.14),
            board("apy", 7, "blend", 0.14),
            board("apy", 7, "pooled", None),
            board("apy", 7, "prophet", 0.5, n_forecasts=1_110),
            board("tvl_usd", 1, "champion", None, mae=2e6, bias=-3e5, mase=None, coverage=None, skill_30d=None),
            board("base_fee_gwei", 1, "champion", 0.2, mae=0.25, bias=0.01),
            board("base_fee_gwei", 7, "harmonic", 0.2),
        ),
        "pool_forecasts": frame(
            "pool_forecasts",
            band(POOL_A, 30, 0.105, 0.08, 0.14),
            band(POOL_A, 7, 0.11, 0.09, 0.13, model="pooled"),
            band(POOL_B, 30, 0.092, 0.07, 0.12, fallback_reason="SHORT_HISTORY", n_obs=9),
            band(POOL_C, 30, 0.081, 0.06, 0.1, is_hindsight=True),
            band(POOL_D, 30, 0.071, 0.05, 0.09),
        ),
        "pool_histories": pd.DataFrame(
            [
                *(point(POOL_A, date(2025, 5, day), 0.1 + day / 1000) for day in range(1, 32)),
                point(POOL_A, date(2025, 6, 1), None),
                point(POOL_A, DAY, 0.11),
                point(POOL_B, date(2025, 6, 1), 0.09),
            ]
        ),
        "gas_forecasts": frame(
            "gas_forecasts", gas_band(7, 3.0, 2.0, 5.0), gas_band(7, 1.0, 0.5, 2.0, kind="base_fee")
        ),
        "gas_fees_daily": frame(
            "gas_fees_daily",
            gas_day(date(2025, 6, 1), 2.5),
            gas_day(DAY, 4.5),
            gas_day(DAY, 3.9, "base_fee"),
        ),
        "pool_quality": frame("pool_quality", quality(POOL_A), quality(POOL_B), quality("9" * 36, "GAP,STUCK")),
        "prices": {USDC: Decimal(1), USDT: Decimal("0.5")},
        "newest_days": {"Gas": DAY, "Closes": date(2025, 5, 30), "Balances": None},
        "checks": (JudgedCheck("balances agree with the chain"), JudgedCheck("net asset value is explained")),
        "tokens": {USDC: TokenLabel("USDC", 6), USDT: TokenLabel("USDT", 6), DAI: TokenLabel("DAI", 18)},
        "wallets": {WARM: "warm"},
        "market": "recorded",
    }
    return ReportInputs(**{**parts, **changes})


@pytest.fixture
def day_with() -> Callable[..., ReportInputs]:
    """`day_with(allocation_runs=…)`: the believable day with some of its tables replaced."""
    return believable_day
