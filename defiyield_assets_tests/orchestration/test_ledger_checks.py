"""The ledger's blocking checks, each broken on purpose in the warehouse and asked through Dagster.

Not here: every way in which a rule can be broken (domain/ledger) or whole days on which all hold (test_end_to_end.py).
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import EXTERNAL_PREFIX, WALLET_PREFIX, ZERO_ADDRESS
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import FIRST, SILENT, Installation, Loop, materialised

CHECKS = {
    "postings_sum_to_zero": "ledger_postings",
    "balances_equal_the_chain": "daily_balances",
    "positions_equal_the_chain": "pool_positions",
    "nav_change_is_explained": "nav_daily",
    "attribution_adds_up": "yield_attribution",
}
Break = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def copied(first_day: Loop, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The first day's state; each test puts back what it broke."""
    return first_day.installation.copy_to(tmp_path_factory.mktemp("checks") / "state")


@pytest.fixture(scope="module")
def ask(copied: Installation) -> Callable[[str], Any]:
    """Runs one check of the first day alone, as the UI does; returns its evaluation."""
    whole = copied.definitions.resolve_job_def("plan_the_day")
    jobs = {
        check: whole.get_subset(asset_check_selection={dg.AssetCheckKey(dg.AssetKey(asset), check)})
        for check, asset in CHECKS.items()
    }

    def run(check: str) -> Any:
        with dg.DagsterInstance.ephemeral() as instance:
            result = jobs[check].execute_in_process(
                partition_key=FIRST.isoformat(), instance=instance, run_config=SILENT, raise_on_error=False
            )
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation

    return run


def plus(column: str, amount: Any, at: int = 0) -> Break:
    """One row's value is off by an amount."""

    def broken(rows: pd.DataFrame) -> pd.DataFrame:
        values = [value + amount if number == at else value for number, value in enumerate(rows[column])]
        return rows.assign(**{column: pd.Series(values, dtype=object)})

    return broken


def without_row(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[1:].reset_index(drop=True)


def without_first_pool(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["pool_id"] != rows["pool_id"].iloc[0]].reset_index(drop=True)


def spent_beyond_what_is_there(rows: pd.DataFrame) -> pd.DataFrame:
    """Two more legs of one transaction: balanced, but the wallet owes."""
    own = rows[rows["account"].str.startswith(WALLET_PREFIX)].head(1)
    outside = {"account": f"{EXTERNAL_PREFIX}{ZERO_ADDRESS}", "wallet": None, "counterparty": ZERO_ADDRESS, "leg": 91}
    legs = [own.assign(amount=[-(10**40)], leg=90), own.assign(amount=[10**40], **outside)]
    return pd.concat([rows, *legs], ignore_index=True)


def gap_without_parts(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(realised_apy=0.05, forecast_apy=0.04)


BREAKS: dict[str, tuple[str, sa.Table, Break, str]] = {
    "a posting that is off by one base unit": (
        *("postings_sum_to_zero", schema.ledger_postings, plus("amount", 1)),
        "transaction_not_balanced",
    ),
    "a posting that is gone": (
        *("postings_sum_to_zero", schema.ledger_postings, without_row),
        "transaction_not_balanced",
    ),
    "a wallet that gave what it never had": (
        *("postings_sum_to_zero", schema.ledger_postings, spent_beyond_what_is_there),
        "negative_balance",
    ),
    "a chain that holds one base unit more": (
        *("balances_equal_the_chain", schema.chain_balances, plus("balance", 1)),
        "balance_",
    ),
    "a balance that only the chain knows": (
        *("balances_equal_the_chain", schema.daily_balances, without_row),
        "balance_only_on_chain",
    ),
    "a position that has one share more": (
        *("positions_equal_the_chain", schema.pool_positions, plus("shares", 1)),
        "position",
    ),
    "shares without a position": (
        *("positions_equal_the_chain", schema.pool_positions, without_first_pool),
        "position",
    ),
    "income that is off by the smallest part": (
        *("nav_change_is_explained", schema.nav_daily, plus("income_usd", Decimal("1e-18"))),
        "nav_not_explained",
    ),
    "holdings that are not the net asset value": (
        *("nav_change_is_explained", schema.nav_daily, plus("pools_usd", Decimal(1))),
        "nav_parts_differ",
    ),
    "a position that does not explain itself": (
        *("attribution_adds_up", schema.yield_attribution, plus("flows_usd", Decimal("1e-18"))),
        "position_not_explained",
    ),
    "positions that are not those of the net asset value": (
        *("attribution_adds_up", schema.yield_attribution, without_row),
        "positions_differ",
    ),
    "a gap without parts": (
        *("attribution_adds_up", schema.yield_attribution, gap_without_parts),
        "gap_not_explained",
    ),
}


def replace(installation: Installation, table: sa.Table, rows: pd.DataFrame) -> None:
    writes.replace_slice(installation.engine, table, rows, DayRange.of(FIRST))


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_day_passes(ask: Callable[[str], Any], check: str) -> None:
    evaluation = ask(check)
    assert evaluation.passed
    assert evaluation.metadata["violations"].value == 0


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_fails_the_check_and_is_named(copied: Installation, ask: Callable[[str], Any], name: str) -> None:
    check, table, broken, violation = BREAKS[name]
    sound = copied.rows(table, FIRST)
    replace(copied, table, broken(sound))
    try:
        evaluation = ask(check)
    finally:
        replace(copied, table, sound)
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.ERROR
    assert evaluation.metadata["violations"].value > 0
    assert violation in str(evaluation.metadata["listed"].value)


def test_what_comes_after_a_broken_check_is_not_made(copied: Installation) -> None:
    sound = copied.rows(schema.nav_daily, FIRST)
    shifted = plus("wallets_usd", Decimal(-1))(plus("pools_usd", Decimal(1))(sound))
    replace(copied, schema.nav_daily, shifted)
    try:
        result = copied.run(FIRST, ["yield_attribution", "daily_report"], raise_on_error=False)
    finally:
        replace(copied, schema.nav_daily, sound)
    assert not result.success
    assert materialised(result) == {"yield_attribution"}
