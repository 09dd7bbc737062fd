"""The whole product: days through Dagster in process on the simulated and the recorded market, from answers to report.

Not here: rules of a room (its own tests), broken vendors (faults/), a real daemon (test_daemon.py),
the day on PostgreSQL (test_on_postgres.py).
"""

import json
import math
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal, localcontext
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.forecasting import pooled
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.simulator.chain_records import IN_WALLET, ROUTER
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import (
    FIRST,
    LOOP_DAYS,
    Installation,
    Loop,
    day_after,
    failed_steps,
    materialised,
)
from defiyield_assets_tests.reconciliation import (
    chain_of,
    differences,
    ledger_of,
    own_transactions,
    wealth_differences,
)
from defiyield_assets_tests.small_market import SmallMarketResource

SECRETS = [f"secret-of-{vendor}-0123456789" for vendor in KEY_VARIABLES]
RECORDED_DAY = date(2025, 6, 3)
FEW_ROUNDS = 5
"""Rounds of training in a long loop, where they are most of a day's time."""


def table_names(installation: Installation) -> set[str]:
    """Every asset that a whole day makes."""
    graph = installation.definitions.resolve_asset_graph()
    return {key.to_user_string() for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags}


def check_verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Name of each asset check that ran and whether it passed."""
    return {item.check_name: bool(item.passed) for item in result.get_asset_check_evaluations()}


def broken_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    """Names of the checks that did not pass and do more than warn."""
    return {
        item.check_name
        for item in result.get_asset_check_evaluations()
        if not item.passed and item.severity == dg.AssetCheckSeverity.ERROR
    }


def only_row(installation: Installation, table: sa.Table, day: date) -> "pd.Series":
    """The one row that the table has of a day."""
    rows = installation.rows(table, day)
    assert len(rows) == 1
    return rows.iloc[0]


# --- the first day --------------------------------------------------------------------------------------------------
def test_every_asset_of_the_day_is_materialised(first_day: Loop) -> None:
    assert first_day.results[0].success
    assert not failed_steps(first_day.results[0])
    assert materialised(first_day.results[0]) == table_names(first_day.installation)
    assert first_day.installation.rows(schema.asset_outcomes).empty


def test_every_check_runs_and_passes(first_day: Loop) -> None:
    assert check_verdicts(first_day.results[0]) == {
        "postings_sum_to_zero": True,
        "balances_equal_the_chain": True,
        "nav_change_is_explained": True,
        "positions_equal_the_chain": True,
        "rates_agree_with_the_chain": True,
        "attribution_adds_up": True,
        "plan_replay": True,
        "has_every_tracked_pool": True,
        "answers_keep_their_shape": True,
        "newest_day_is_fresh": True,
        "price_sources_agree": True,
        "no_session_is_missing": True,
        "bars_are_plausible": True,
        "adjusted_closes_equal_the_vendors": True,
        "every_factor_knows_every_action": True,
        "every_action_is_possible": True,
        "no_bar_after_delisting": True,
        "crypto_bars_are_fresh": True,
        "equity_bars_are_fresh": True,
        "regimes_are_probabilities": True,
        "targets_are_known_when_they_end": True,
        "features_equal_batch": True,
        "features_within_bounds": True,
        "gas_sources_agree": True,
        "supply_less_borrow_equals_tvl": True,
        "series_are_alive": True,
        "quantiles_do_not_cross": True,
        "every_tracked_pool_has_a_forecast_or_a_reason": True,
        "bands_cover_what_they_say": True,
        "champions_beat_last_value": True,
    }


def test_the_plan_is_optimal_verified_replayed_and_executed(first_day: Loop) -> None:
    run = only_row(first_day.installation, schema.allocation_runs, FIRST)
    assert run["status"] == "optimal"
    assert run["verified_by"] in ("objective", "bound")
    assert run["gain_usd"] > run["hold_gain_usd"]
    replay = next(
        item for item in first_day.results[0].get_asset_check_evaluations() if item.check_name == "plan_replay"
    )
    assert replay.metadata["replayed"].value is True
    execution = only_row(first_day.installation, schema.plan_executions, FIRST)
    assert execution["status"] == "executed"
    assert execution["run_id"] == run["run_id"]
    steps = first_day.installation.rows(schema.allocation_steps, FIRST)
    moves = steps[(steps["step_type"] != "HOLD") & (steps["leg"] == 0)]
    assert execution["n_transactions"] >= len(moves) > 0


def test_the_demo_market_is_as_large_and_odd_as_promised(first_day: Loop) -> None:
    installation = first_day.installation
    assert len(installation.rows(schema.pools, FIRST)) >= 2_000
    verdicts = installation.rows(schema.prefiltered_pools, FIRST)
    assert verdicts["is_passed"].sum() >= 60
    assert installation.rows(schema.icebox, FIRST)["symbol"].tolist() == ["USD0"]
    assert installation.rows(schema.chain_balances, FIRST)["wallet"].nunique() == 2
    assert installation.rows(schema.pool_positions, FIRST)["pool_id"].nunique() >= 5


def test_nothing_is_bought_that_is_barred(first_day: Loop) -> None:
    installation = first_day.installation
    eligible = installation.rows(schema.eligible_pools, FIRST).set_index("pool_id")
    held = installation.rows(schema.allocations, FIRST)
    bought = held[held["action"].isin(["enter", "increase"])]
    assert len(bought)
    assert eligible.loc[bought["pool_id"], "is_passed"].all()
    barred = set(installation.rows(schema.icebox, FIRST)["address"])
    assert not barred & set(bought["token_address"])


def test_the_pool_that_must_be_left_is_left(first_day: Loop) -> None:
    installation = first_day.installation
    eligible = installation.rows(schema.eligible_pools, FIRST)
    doomed = eligible.loc[eligible["is_must_exit"].astype(bool), "pool_id"].tolist()
    assert len(doomed) == 1
    plan = installation.rows(schema.allocations, FIRST)
    own = plan[plan["pool_id"] == doomed[0]]
    assert (own["action"] == "exit").all()
    assert (own["amount"] == 0).all()
    steps = installation.rows(schema.allocation_steps, FIRST)
    exits = steps[(steps["pool_id"] == doomed[0]) & (steps["step_type"] == "WITHDRAW")]
    assert exits["is_full_exit"].astype(bool).all()
    assert len(exits) == len(own)


def test_report_and_message_lie_in_the_local_sink(first_day: Loop) -> None:
    installation = first_day.installation
    report = only_row(installation, schema.daily_report, FIRST)
    message = only_row(installation, schema.slack_notification, FIRST)
    folder = installation.settings.reports_path
    assert (folder / f"{FIRST}.html").read_text(encoding="utf-8") == report["html"]
    assert (folder / f"{FIRST}.md").read_text(encoding="utf-8") == report["markdown"]
    assert (folder / f"{FIRST}.slack.txt").read_text(encoding="utf-8") == message["text"] + "\n"
    assert message["sink"] == "local"
    assert report["html"].lstrip().lower().startswith("<!doctype html>")
    assert json.loads(message["blocks_json"])
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {0o600}, "account data is readable by its owner only"


def test_every_request_is_archived_without_a_key(first_day: Loop) -> None:
    fetches = first_day.installation.rows(schema.raw_fetches)
    assert fetches["error_class"].isna().all()
    assert set(fetches["vendor"]) == {
        *("defillama_yields", "defillama_coins", "coinmarketcap", "coingecko", "ethgastracker", "ethereum_node"),
        *("ethplorer", "etherscan", "fred", "pendle", "alpha_vantage"),
    }
    assert set(fetches["sha256"]) == set(first_day.installation.rows(schema.raw_bodies)["sha256"])
    text = fetches.to_json(date_format="iso").lower()
    for needle in ("apikey", "api_key", "x-cmc_pro_api_key", "freekey", '"simulated"'):
        assert needle not in text


def test_keys_of_the_environment_reach_neither_tables_nor_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_day: Loop
) -> None:
    for (variable, _), secret in zip(KEY_VARIABLES.values(), SECRETS, strict=True):
        monkeypatch.setenv(variable, secret)
    installation = first_day.installation.copy_to(tmp_path / "state")
    installation.run(FIRST, ["gas_fees_hourly", "chain_balances", "account_transactions", "macro_series"])
    stored = b"".join(path.read_bytes() for path in installation.folder.rglob("*") if path.is_file())
    for secret in SECRETS:
        assert secret.encode() not in stored


# --- the days after -------------------------------------------------------------------------------------------------
def loop_days() -> list[date]:
    """The days of the closed loop."""
    return [day_after(FIRST, offset) for offset in range(LOOP_DAYS)]


def test_five_days_run_whole_with_every_check_passed(closed_loop: Loop) -> None:
    assert list(closed_loop.days) == loop_days()
    for result in closed_loop.results:
        assert result.success
        assert materialised(result) == table_names(closed_loop.installation)
        assert all(check_verdicts(result).values())
    assert closed_loop.installation.rows(schema.asset_outcomes).empty


def test_a_pool_that_moved_to_another_id_keeps_its_history(closed_loop: Loop) -> None:
    """Two days after the first one a followed pool goes on under another id: it stays one pool, with its whole past."""
    installation = closed_loop.installation
    aliases = installation.rows(schema.pool_aliases).set_index("old_id")
    seen = installation.rows(schema.prefiltered_pools, FIRST)
    (old_id,) = set(aliases.index[aliases["since"] > FIRST]) & set(seen.loc[seen["is_passed"], "pool_id"])
    alias, last = aliases.loc[old_id], closed_loop.days[-1]
    now = installation.rows(schema.prefiltered_pools, last)
    assert now.loc[now["pool_id"] == alias["new_id"], "is_passed"].tolist() == [True]
    assert old_id not in set(now["pool_id"])
    points = installation.rows(schema.pool_histories)
    known = points[points["pool_id"].isin([old_id, alias["new_id"]])].drop_duplicates("date")
    assert known["date"].max() == last
    assert (known["date"] < alias["since"]).sum() > 300
    assert (known["date"] >= alias["since"]).sum() == (last - alias["since"]).days + 1
    forecast = installation.rows(schema.pool_forecasts, last)
    assert alias["new_id"] in set(forecast["pool_id"])


def found_differences(loop: Loop, day: date) -> list[str]:
    """Where the ledger of a day is not the chain to the base unit, or wealth not what the plan made of yesterday's."""
    market, engine = loop.installation.simulation, loop.installation.engine
    ledger = ledger_of(engine, day)
    found = differences(day, ledger, chain_of(market.chain, day))
    if day != loop.days[0]:
        found += wealth_differences(market, engine, day, ledger, ledger_of(engine, day_after(day, -1)))
    return [str(item) for item in found]


@pytest.mark.parametrize("day", loop_days(), ids=str)
def test_ledger_and_chain_agree_to_the_base_unit(closed_loop: Loop, day: date) -> None:
    """ETH, tokens, rebasing ones, shares and what they stand for; and wealth is yesterday's less gas, conversions, plus
    growth.
    """
    assert found_differences(closed_loop, day) == []


def test_the_loop_has_everything_that_makes_reconciling_hard(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    chain, postings = installation.simulation.chain, installation.rows(schema.ledger_postings)
    sent = [one for day in closed_loop.days for one in own_transactions(chain, day)]
    assert any(not one.is_success for one in sent), "a step reverted and was sent again"
    routed = [one for one in sent if one.receiver == ROUTER and one.position_changes]
    assert routed, "a router stood between a wallet and a pool"
    accrued = postings[(postings["kind"] == "accrual") & (postings["leg"] == 0)]
    assert (accrued["amount"] > 0).all()
    tokens, shares = chain.world.rebasing_tokens, set(chain.world.rebasing_shares)
    chain_balances = installation.rows(schema.chain_balances)
    held = chain_balances[chain_balances["token_address"].isin(tokens | shares)]
    for day in closed_loop.days:
        grown, own = (
            sorted(zip(rows["wallet"], rows["token_address"], strict=True))
            for rows in (accrued[accrued["date"] == day], held[held["date"] == day])
        )
        assert grown == own, "whatever rebases accrues once a day, and nothing else does"
        assert sum(token in tokens for _, token in own) == 2, "both wallets hold a rebasing token"
    assert held["token_address"].isin(shares).any(), "and one has held rebasing shares"
    assert "unexplained" not in set(postings["classification"])


@pytest.mark.parametrize("day", loop_days()[1:], ids=str)
def test_positions_are_what_the_plan_of_yesterday_wanted_grown_by_a_day(closed_loop: Loop, day: date) -> None:
    installation, yesterday = closed_loop.installation, day_after(day, -1)
    plan = installation.rows(schema.allocations, yesterday)
    wanted = plan[~plan["action"].isin(["left_out", "idle"]) & (plan["amount"] != 0)]
    wanted_amounts = wanted.set_index(["pool_id", "token_address"])["amount"].to_dict()
    positions = installation.rows(schema.pool_positions, day)
    found = positions[positions["underlying_amount"] != 0].set_index(["pool_id", "token_address"])
    assert set(found.index) == set(wanted_amounts), "pools are entered and left as planned"
    for pair, amount in found["underlying_amount"].items():
        growth = Decimal(amount) / Decimal(wanted_amounts[pair])
        # a day of 0 to 60 % APY, and a few base units that the shares' rounding takes
        assert Decimal("0.9999999") <= growth <= Decimal("1.60") ** (Decimal(1) / 365) + Decimal("1e-7"), pair


@pytest.mark.parametrize("day", loop_days()[1:], ids=str)
def test_idle_cash_is_what_the_plan_left(closed_loop: Loop, day: date) -> None:
    installation, yesterday = closed_loop.installation, day_after(day, -1)
    plan = installation.rows(schema.allocations, yesterday)
    idle = plan[plan["action"] == "idle"].set_index("token_address")["amount"].to_dict()
    wallets = set(installation.rows(schema.allocation_steps, yesterday)["wallet"])
    balances = installation.rows(schema.daily_balances, day)
    own = balances[balances["wallet"].isin(wallets)].set_index("token_address")["balance"].to_dict()
    chain, (wallet,) = installation.simulation.chain, wallets
    for token, amount in idle.items():
        is_rebasing = token in chain.world.rebasing_tokens
        left = chain.grown((wallet, IN_WALLET, token), day, amount) if is_rebasing else amount
        assert own.get(token, 0) == left, token


@pytest.mark.parametrize("day", loop_days()[1:], ids=str)
def test_the_change_of_net_asset_value_is_explained_exactly(closed_loop: Loop, day: date) -> None:
    installation = closed_loop.installation
    now, before = (only_row(installation, schema.nav_daily, which) for which in (day, day_after(day, -1)))
    with localcontext(prec=80):  # as many digits as the tables hold: the identity is exact
        change = now["nav_usd"] - before["nav_usd"]
        moved = now["flows_usd"] + now["income_usd"] - now["expenses_usd"]
        assert change == moved + now["price_change_usd"] + now["unexplained_usd"]
        assert now["nav_usd"] == now["wallets_usd"] + now["pools_usd"] + now["eth_usd"]
    assert now["flows_usd"] == 0
    assert now["income_usd"] > 0, "positions earn"
    assert abs(now["unexplained_usd"]) < Decimal("0.01")


def test_the_costs_of_a_plan_are_what_the_ledger_books(closed_loop: Loop) -> None:
    installation = closed_loop.installation
    run = only_row(installation, schema.allocation_runs, FIRST)
    nav = only_row(installation, schema.nav_daily, day_after(FIRST))
    assert run["gas_usd"] + run["conversion_usd"] > 0
    assert math.isclose(float(nav["expenses_usd"]), float(run["gas_usd"] + run["conversion_usd"]), rel_tol=0.5)


def test_the_plan_does_not_trade_back_and_forth(closed_loop: Loop) -> None:
    """After the first rebalancing, days move little: costs of all later days together stay below the first day's."""
    costs = [
        only_row(closed_loop.installation, schema.allocation_runs, day)[["gas_usd", "conversion_usd"]].sum()
        for day in closed_loop.days
    ]
    assert sum(costs[1:]) < costs[0]


def test_what_was_earned_is_explained_against_the_plan_of_the_day_before(closed_loop: Loop) -> None:
    explained = 0
    for day in closed_loop.days[1:]:
        rows = closed_loop.installation.rows(schema.yield_attribution, day)
        plan = closed_loop.installation.rows(schema.allocations, day_after(day, -1))
        kept = plan[[amount > 0 for amount in plan["amount"]]].drop_duplicates("pool_id").set_index("pool_id")
        for row in rows[rows["gap_rate"].notna() & rows["pool_id"].isin(kept.index)].to_dict("records"):
            forecast, diluted = (float(kept.loc[row["pool_id"], name]) for name in ("forecast_apy", "diluted_apy"))
            assert row["forecast_apy"] == forecast
            assert row["gap_dilution"] == Decimal(repr(diluted)) - Decimal(repr(forecast))
            explained += 1
    assert explained >= LOOP_DAYS - 1


# --- recorded -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def recorded_days(recorded_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Loop:
    """2025-06-02 and 2025-06-03 over the recorded data."""
    installation = Installation(tmp_path_factory.mktemp("recorded"), "recorded", recorded_data=recorded_data)
    days = [RECORDED_DAY - timedelta(days=1), RECORDED_DAY]
    return Loop(installation, days, [installation.run(day) for day in days])


@pytest.mark.recorded
def test_recorded_days_run_whole(recorded_days: Loop) -> None:
    for result in recorded_days.results:
        assert result.success
        assert materialised(result) == table_names(recorded_days.installation)
        assert all(check_verdicts(result).values())


@pytest.mark.recorded
def test_the_recorded_day_has_176_pools_and_a_verified_plan_that_names_its_assumptions(recorded_days: Loop) -> None:
    installation = recorded_days.installation
    listed = installation.rows(schema.pools, RECORDED_DAY)
    assert (~listed["is_stale"]).sum() == 176
    run = only_row(installation, schema.allocation_runs, RECORDED_DAY)
    assert run["status"] in ("optimal", "hold")
    assert run["verified_by"] in ("objective", "bound")
    assumed = json.loads(run["assumed_prices_json"])
    plan = installation.rows(schema.allocations, RECORDED_DAY)
    marked = set(plan.loc[plan["is_price_assumed"].astype(bool) & (plan["action"] != "left_out"), "token_address"])
    bars = installation.rows(schema.daily_bars, RECORDED_DAY)
    supposed = set(bars.loc[bars["quality"] == "assumed", "instrument_id"].str.split(":").str[1])
    assert supposed, "some recorded tokens have no bars"
    assert marked <= supposed
    assert bool(assumed) == bool(marked)
    bought_assumed = plan[plan["token_address"].isin(supposed) & (plan["action"] != "left_out")]
    assert bought_assumed["is_price_assumed"].astype(bool).all()


@pytest.mark.recorded
def test_forty_recorded_ethereum_pools_are_eligible_and_none_is_collateral(recorded_days: Loop) -> None:
    eligible = recorded_days.installation.rows(schema.eligible_pools, recorded_days.days[0])
    passed = eligible[eligible["is_passed"].astype(bool)]
    assert (passed["chain"] == "Ethereum").sum() >= 40
    assert "collateral" not in set(passed["role"])


# --- long -----------------------------------------------------------------------------------------------------------
def small_installation(folder: Path) -> Installation:
    """A state on the simulated market with fewer pools."""
    own = Installation(folder)
    market = SmallMarketResource(
        market="simulated", chain_path=str(own.settings.chain_path), seed=own.settings.market_seed
    )
    return Installation(folder, overrides={"market": market})


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pooled model learns little, under a version of its own: what other tests remember is not touched."""
    monkeypatch.setattr(pooled, "ROUNDS", FEW_ROUNDS)
    pooled.version.cache_clear()
    yield
    monkeypatch.undo()
    pooled.version.cache_clear()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("few_rounds")
def test_thirty_days_in_a_closed_loop(tmp_path: Path) -> None:
    """On fewer pools with a pooled model that learns little: what a month adds is days of plans, chain and ledger.

    Checks may warn in a month, of silent series or of what forecasts were worth.
    """
    installation = small_installation(tmp_path / "state")
    for offset in range(30):
        day = day_after(FIRST, offset)
        result = installation.run(day)
        assert result.success
        assert broken_checks(result) == set(), day
        assert found_differences(Loop(installation, [FIRST], []), day) == []
    nav = installation.rows(schema.nav_daily)
    assert len(nav) == 30
    assert nav["nav_usd"].iloc[-1] > nav["nav_usd"].iloc[0]
