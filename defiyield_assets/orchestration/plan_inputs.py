"""The tables of one day that a plan is made from, and replayed on.

Lives here: reading them, once, for the optimiser and for the replay; curves of utilisation, for the optimiser alone.
Not here: either of the two (domain/allocation).
"""

import json
from datetime import date
from typing import Any

from defiyield_assets.domain.allocation.utilisation import FIT_DAYS, UtilisationCurve, fit_curves
from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.gas.sources import prevailing_fees
from defiyield_assets.domain.policy import Policy, Wallet
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError
from defiyield_assets.store import reads, schema
from defiyield_assets.store.warehouse import ReadableWarehouse


def investable_wallet(policy: Policy) -> Wallet:
    """The one wallet that plans spend from."""
    for wallet in policy.wallets:
        if wallet.investable:
            return wallet
    raise ConfigurationError(
        "accounts.yaml names no investable wallet: set `investable: true` on the one that plans spend from"
    )


def plan_inputs(warehouse: ReadableWarehouse, day: date) -> dict[str, Any]:
    """The tables of the day that a plan is made from and replayed on."""
    engine, only, policy = warehouse.engine, DayRange.of(day), warehouse.policy(day)
    lists = reads.read_days(engine, schema.allocation_snapshot, only)
    if lists.empty:
        raise SuspiciousDataError(f"allocation_snapshot of {day} is missing: materialise it first")
    barred = {item["token"] for item in json.loads(lists.iloc[0]["barred_tokens_json"]) if item["token"]}
    positions = reads.read_days(engine, schema.pool_positions, only)
    return {
        "day": day,
        "eligible": reads.read_days(engine, schema.eligible_pools, only),
        "balances": reads.read_days(engine, schema.daily_balances, only),
        "positions": positions.assign(pool_id=positions["pool_id"].replace(warehouse.aliases(day))),
        "bars": reads.read_days(engine, schema.daily_bars, only),
        "gas_forecasts": reads.read_days(engine, schema.gas_forecasts, only),
        "gas_daily": prevailing_fees(reads.read_days(engine, schema.gas_fees_daily, only)),
        "policy": policy,
        "barred": barred,
        "wallet": investable_wallet(policy),
    }


def utilisation_curves(warehouse: ReadableWarehouse, day: date) -> dict[str, UtilisationCurve]:
    """Curves of lending pools, by today's pool id, fitted to what was known of their histories at the day's cutoff."""
    days = DayRange.of(day).back(FIT_DAYS - 1)
    histories = reads.read_days(warehouse.engine, schema.lending_histories, days)
    return fit_curves(histories.assign(pool_id=histories["pool_id"].replace(warehouse.aliases(day))), day, cutoff(day))
