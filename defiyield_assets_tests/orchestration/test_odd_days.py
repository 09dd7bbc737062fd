"""Days on which something is very wrong, planned through Dagster: plan, blocking replay, execution, report and message.

Each has one defined answer. Lives here: the demo day with its tables tampered with. Not here: the rules by themselves
(domain/allocation), or vendors that fail (faults).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.canonical import content_hash
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Wallet
from defiyield_assets.domain.policy_codec import policy_from_json, policy_to_json
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import FIRST, SILENT, Installation, Loop, materialised

pytestmark = pytest.mark.slow

PLAN = ("allocation_runs", "allocations", "allocation_steps", "allocation_limits")
TOLD = (*PLAN, "plan_executions", "daily_report", "slack_notification")
SELECTED = ("icebox", "icebox_events", "allocation_snapshot", "eligible_pools")
NEW = "0x" + "7e" * 20
"""A wallet of ours that nobody has used yet."""
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
USDT = "0xdac17f958d2ee523a2206206994597c13d831ec7"
DOLLARS = (USDC, USDT, "0x6b175474e89094c44da98b954eedeac495271d0f")
AAVE_USDC = "8b00ab98-0031-5ad3-936a-464a7c41bf30"
SILO_USDC = "dbfb61d4-f9a4-5b0d-a513-5bc6e9a7e6f5"
"""Held in a protocol that is not approved: it must be left."""
Change = Callable[[pd.DataFrame], pd.DataFrame]
Changes = Mapping[sa.Table, Change]


@dataclass(frozen=True)
class Day:
    """What became of a day."""

    run: pd.Series
    steps: pd.DataFrame
    allocations: pd.DataFrame
    execution: pd.Series
    report: str
    is_replayed: bool
    barred: str

    @property
    def moving(self) -> pd.DataFrame:
        """Its transactions."""
        return self.steps[self.steps["step_type"] != "HOLD"]

    def value(self, pool_id: str) -> float:
        rows = self.allocations[self.allocations["pool_id"] == pool_id]
        return float(sum(rows["value_usd"], Decimal(0)))


PlanDay = Callable[..., Day]


@pytest.fixture(scope="module")
def copied(first_day: Loop, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The first day's state; each test puts back what it changed."""
    return first_day.installation.copy_to(tmp_path_factory.mktemp("odd") / "state")


@pytest.fixture(scope="module")
def plan_day(copied: Installation) -> PlanDay:
    """Plans the first day with some of its tables changed, as a repair would: nothing before the plan is made again,
    unless it is asked for."""
    whole = copied.definitions.resolve_job_def("plan_the_day")

    def planned(changes: Changes, *, also: tuple[str, ...] = ()) -> Day:
        job = whole.get_subset(asset_selection={dg.AssetKey(name) for name in (*also, *TOLD)})
        touched = [*changes, *(schema.metadata.tables[name] for name in also)]
        sound = {table: copied.rows(table, FIRST) for table in touched}
        for table, change in changes.items():
            put(copied, table, change(sound[table]))
        try:
            with dg.DagsterInstance.ephemeral() as instance:
                result = job.execute_in_process(
                    partition_key=FIRST.isoformat(), instance=instance, run_config=SILENT, raise_on_error=False
                )
            assert result.success, [event.message for event in result.all_events if event.is_step_failure]
            assert materialised(result) >= set(TOLD)
            return outcome(copied, result)
        finally:
            for table, rows in sound.items():
                put(copied, table, rows)

    return planned


def put(installation: Installation, table: sa.Table, rows: pd.DataFrame) -> None:
    writes.replace_slice(installation.engine, table, rows, DayRange.of(FIRST))


def outcome(installation: Installation, result: dg.ExecuteInProcessResult) -> Day:
    replays = [one for one in result.get_asset_check_evaluations() if one.check_name == "plan_replay"]
    (replay,) = replays
    assert replay.passed
    report = installation.rows(schema.daily_report, FIRST)
    message = installation.rows(schema.slack_notification, FIRST)
    assert report.iloc[0]["html"].rstrip().endswith("</html>")
    assert str(message.iloc[0]["text"])
    return Day(
        run=installation.rows(schema.allocation_runs, FIRST).iloc[0],
        steps=installation.rows(schema.allocation_steps, FIRST),
        allocations=installation.rows(schema.allocations, FIRST),
        execution=installation.rows(schema.plan_executions, FIRST).iloc[0],
        report=report.iloc[0]["markdown"].replace("\\", ""),
        is_replayed=bool(replay.metadata["replayed"].value),
        barred=installation.rows(schema.allocation_snapshot, FIRST).iloc[0]["barred_tokens_json"],
    )


def new_wallet(balances: Mapping[str, int]) -> dict[sa.Table, Change]:
    """The only investable wallet is a new one that holds these base units; ledger and chain agree on it."""

    def policy(rows: pd.DataFrame) -> pd.DataFrame:
        told = policy_from_json(rows.iloc[0]["policy_json"])
        others = tuple(replace(wallet, investable=False) for wallet in told.wallets)
        changed = replace(told, wallets=(*others, Wallet("new", 1, NEW, investable=True)))
        return rows.assign(policy_json=policy_to_json(changed), policy_hash=content_hash(changed))

    def with_balances(rows: pd.DataFrame) -> pd.DataFrame:
        own = [
            rows[rows["token_address"] == token].head(1).assign(wallet=NEW, balance=[amount])
            for token, amount in balances.items()
        ]
        return pd.concat([rows, *own], ignore_index=True)

    return {schema.policy_snapshot: policy, schema.daily_balances: with_balances, schema.chain_balances: with_balances}


def no_pool(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0]


def one_pool(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["pool_id"] == AAVE_USDC].assign(is_held=False)


def only_held(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["is_held"]]


def without_dollars(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["token_address"].isin(DOLLARS)]


def times(factor: float) -> Change:
    """Gas forecasts so many times as high."""
    return lambda rows: rows.assign(**{name: rows[name] * factor for name in ("mean", "p10", "p50", "p90")})


def nothing_was_sent(day: Day, status: str = "not_published") -> None:
    assert day.moving.empty
    assert (day.execution["status"], day.execution["n_transactions"]) == (status, 0)


def test_a_day_without_any_pool_keeps_the_cash(plan_day: PlanDay) -> None:
    day = plan_day({**new_wallet({USDC: 10**12, "native": 10**18}), schema.eligible_pools: no_pool})
    assert day.run["status"] == "no_pools"
    assert "keep the cash" in day.run["message"]
    assert day.value("IDLE") == pytest.approx(1e6, rel=0.01)
    assert not day.is_replayed
    nothing_was_sent(day)
    assert "no eligible pool" in day.report


def test_a_day_without_capital_has_nothing_to_plan(plan_day: PlanDay) -> None:
    day = plan_day({**new_wallet({"native": 10**18}), schema.eligible_pools: one_pool})
    assert day.run["status"] == "no_capital"
    assert (day.run["aum_usd"], day.run["projected_apy"]) == (0, 0.0)
    assert day.steps.empty
    nothing_was_sent(day)
    assert "Nothing to invest" in day.report


def test_dust_is_held(plan_day: PlanDay) -> None:
    day = plan_day({**new_wallet({USDC: 1, USDT: 3, "native": 10**18}), schema.eligible_pools: one_pool})
    assert day.run["status"] == "hold"
    assert "below min_transaction_usd" in day.run["message"]
    assert day.is_replayed
    nothing_was_sent(day, "nothing_to_do")
    assert "below min_transaction_usd" in day.report


def test_a_single_pool_is_too_few_and_the_smallest_relaxation_is_named(plan_day: PlanDay) -> None:
    day = plan_day({**new_wallet({USDC: 10**12, "native": 10**18}), schema.eligible_pools: one_pool})
    assert day.run["status"] == "infeasible"
    assert "cannot be reached" in day.run["message"]
    assert "Smallest relaxation: min_pools 1" in day.run["message"]
    assert day.value(AAVE_USDC) == 0
    nothing_was_sent(day)
    assert "Smallest relaxation: min_pools 1" in day.report


def test_when_all_capital_is_stuck_it_is_told_and_held(plan_day: PlanDay) -> None:
    def stuck(rows: pd.DataFrame) -> pd.DataFrame:
        held = only_held(rows)
        figures = {"size_usd": 1e7, "total_supply_usd": 1e7, "total_borrow_usd": 1e7}
        return held.assign(is_passed=False, is_exit_only=True, is_must_exit=True, **figures)

    changes = {schema.eligible_pools: stuck}
    day = plan_day({**changes, schema.daily_balances: without_dollars, schema.chain_balances: without_dollars})
    assert day.run["status"] == "hold"
    assert "are stuck in pools that must be left" in day.run["message"]
    assert set(day.allocations.loc[day.allocations["pool_id"] != "IDLE", "action"]) == {"hold"}
    nothing_was_sent(day, "nothing_to_do")
    assert "are stuck" in day.report


def test_gas_at_a_hundred_times_its_price_leaves_only_what_must_be_left(plan_day: PlanDay) -> None:
    day = plan_day({schema.eligible_pools: only_held, schema.gas_forecasts: times(100)})
    assert day.run["status"] == "optimal"
    assert "The limits do not allow to do nothing" in day.run["message"]
    assert list(day.moving["pool_id"]) == [SILO_USDC]
    assert day.value(SILO_USDC) == 0
    assert (day.execution["status"], day.execution["n_transactions"]) == ("executed", 1)


def test_gas_that_the_wallet_cannot_pay_is_named_even_for_what_must_be_left(plan_day: PlanDay) -> None:
    day = plan_day({schema.eligible_pools: only_held, schema.gas_forecasts: times(20_000)})
    assert day.run["status"] == "infeasible"
    assert "ETH are needed at the p90 gas price" in day.run["message"]
    assert "Smallest relaxation: add" in day.run["message"]
    nothing_was_sent(day)
    assert "Smallest relaxation: add" in day.report


def test_a_pool_that_shrinks_below_our_position_is_left_as_far_as_it_pays_out(plan_day: PlanDay) -> None:
    """260,000 USD of ours in a pool of 250,000 of which 200,000 are lent out: 50,000 can come back today."""

    def collapsed(rows: pd.DataFrame) -> pd.DataFrame:
        held = only_held(rows)
        is_ours = held["pool_id"] == AAVE_USDC
        figures = {"size_usd": 250_000.0, "total_supply_usd": 250_000.0, "total_borrow_usd": 200_000.0}
        return held.assign(**{name: held[name].mask(is_ours, value) for name, value in figures.items()})

    day = plan_day({schema.eligible_pools: collapsed})
    assert day.run["status"] == "optimal"
    rows = day.moving[day.moving["pool_id"] == AAVE_USDC]
    assert list(rows["step_type"]) == ["WITHDRAW"]
    assert 49_900 < float(rows.iloc[0]["value_usd"]) <= 50_000
    assert not rows.iloc[0]["is_full_exit"]
    assert day.value(AAVE_USDC) == pytest.approx(260_515 - 50_000, abs=1_000)
    assert day.execution["status"] == "executed"


@pytest.mark.nightly
def test_a_token_that_loses_its_peg_over_night_is_never_bought(plan_day: PlanDay) -> None:
    """USDT closes at 0.90: it goes into the icebox, and the lists and the plan of the day follow."""

    def fallen(rows: pd.DataFrame) -> pd.DataFrame:
        is_usdt = rows["instrument_id"] == f"ethereum:{USDT}"
        names = ("open", "high", "low", "close")
        return rows.assign(**{name: rows[name].mask(is_usdt, 0.9) for name in names})

    day = plan_day({schema.daily_bars: fallen}, also=SELECTED)
    assert day.run["status"] == "optimal"
    bought = day.moving[day.moving["step_type"] == "CONVERT"]["token_out"]
    deposited = day.moving[day.moving["step_type"] == "DEPOSIT"]["token_in"]
    assert USDT not in {*bought, *deposited}
    held = day.allocations[(day.allocations["token_address"] == USDT) & (day.allocations["pool_id"] != "IDLE")]
    assert all(after <= before for after, before in zip(held["amount"], held["amount_before"], strict=True))
    assert f"ethereum:{USDT}" in day.barred
    assert float(day.run["aum_usd"]) < 1_333_644 - 20_000, "valued at what it fetches, never at 1.00"
