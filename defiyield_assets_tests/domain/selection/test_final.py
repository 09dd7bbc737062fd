"""Tests of domain/selection/final.py: the verdict on pools that may be used and on pools that are held."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.policy import BarredToken, Policy, PoolOverride
from defiyield_assets.domain.pools.groups import assign_groups
from defiyield_assets.domain.pools.histories import history_from_chart, new_revisions, tracked_pools
from defiyield_assets.domain.pools.metrics import METRIC_COLUMNS, rolling_metrics
from defiyield_assets.domain.pools.quality import QUALITY_COLUMNS, assess_quality
from defiyield_assets.domain.pools.snapshot import build_pools
from defiyield_assets.domain.selection.final import ELIGIBLE_COLUMNS, select_eligible
from defiyield_assets.domain.selection.icebox import ICEBOX_COLUMNS, bootstrap_icebox
from defiyield_assets.domain.selection.prefilter import PREFILTER_COLUMNS, prefilter_pools
from defiyield_assets.domain.selection.registry import build_token_registry
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid
from defiyield_assets_tests.domain.selection.cases import (
    DAI,
    DAY,
    FRAX,
    STKGHO,
    USDC,
    WARM,
    YESTERDAY,
    bar,
    bars,
    judged,
    policy,
    pool,
    pools,
)

FORECAST_COLUMNS = [column.name for column in schema.pool_forecasts.columns]
POSITION_COLUMNS = [column.name for column in schema.pool_positions.columns]
GROUP_COLUMNS = [column.name for column in schema.pool_groups.columns]


def forecast(pool_id: str = "p", mean: float = 0.05, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(FORECAST_COLUMNS) | {"pool_id": pool_id, "as_of": DAY, "horizon_days": 30, "target": "apy"}
    return row | {"mean": mean, "is_hindsight": False} | more


def position(pool_id: str = "p", token: Any = USDC, **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(POSITION_COLUMNS) | {"date": DAY, "chain_id": 1, "wallet": WARM.address, "pool_id": pool_id}
    return row | {"token_address": token.address, "shares": 5, "underlying_amount": 7, "value_usd": Decimal(7)} | more


def metric(pool_id: str = "p", **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(METRIC_COLUMNS) | {"date": DAY, "pool_id": pool_id, "age_days": 30, "is_hindsight": False}
    return row | more


def quality(pool_id: str = "p", **more: Any) -> dict[str, Any]:
    row = dict.fromkeys(QUALITY_COLUMNS) | {"date": DAY, "pool_id": pool_id, "is_passed": True, "is_hindsight": False}
    return row | {"reason_codes": "", "reasons": ""} | more


def group(pool_id: str = "p", number: int = 1, **more: Any) -> dict[str, Any]:
    return {"date": DAY, "pool_id": pool_id, "pool_group": number, "reason": "", "is_hindsight": False} | more


def frozen(token: Any, day: date = DAY) -> dict[str, Any]:
    row = dict.fromkeys(ICEBOX_COLUMNS) | {"date": day, "chain": token.chain, "address": token.address}
    return row | {"symbol": token.symbol, "reason_codes": "LOW", "reason": "low"}


def select(
    *rows: dict[str, Any],
    rules: Policy | None = None,
    listed: pd.DataFrame | None = None,
    aliases: dict[str, str] | None = None,
    **facts: list[dict[str, Any]],
) -> pd.DataFrame:
    """The verdict on some pools for which all other evidence is good unless a test names it."""
    rules = rules or policy()
    names = [row["pool_id"] for row in rows]

    def table(name: str, columns: Any, default: list[dict[str, Any]]) -> pd.DataFrame:
        return pd.DataFrame(facts.get(name, default), columns=list(columns))

    prefiltered = judged(*rows, rules=rules).reset_index(drop=True) if listed is None else listed
    frame = select_eligible(
        prefiltered,
        table("quality", QUALITY_COLUMNS, [quality(name) for name in names]),
        table("metrics", METRIC_COLUMNS, [metric(name) for name in names]),
        table("groups", GROUP_COLUMNS, [group(name) for name in names]),
        table("forecasts", FORECAST_COLUMNS, [forecast(name) for name in names]),
        positions=table("positions", POSITION_COLUMNS, []),
        icebox=table("icebox", ICEBOX_COLUMNS, []),
        pools=pools(*rows),
        policy=rules,
        day=DAY,
        aliases=aliases,
    )
    require_valid(schema.eligible_pools, frame)
    return frame.set_index("pool_id", drop=False)


NOT_LISTED = pd.DataFrame(columns=list(PREFILTER_COLUMNS))


def flags(row: pd.Series) -> tuple[bool, bool, bool, bool]:
    return tuple(bool(row[name]) for name in ("is_passed", "is_held", "is_exit_only", "is_must_exit"))  # type: ignore[return-value]


def test_columns_are_those_of_the_table_and_empty_inputs_work() -> None:
    assert list(ELIGIBLE_COLUMNS) == [column.name for column in schema.eligible_pools.columns]
    assert list(select().columns) == list(ELIGIBLE_COLUMNS)


def test_a_good_pool_is_eligible_with_its_facts() -> None:
    row = select(pool(total_supply_usd=4e6, total_borrow_usd=1e6, apy=0.07)).loc["p"]
    assert flags(row) == (True, False, False, False)
    assert row["reason_codes"] == row["reasons"] == row["warning_codes"] == ""
    assert (row["size_usd"], row["total_supply_usd"], row["total_borrow_usd"]) == (4e6, 4e6, 1e6)
    assert (row["forecast_apy"], row["last_apy"], row["pool_group"], row["age_days"]) == (0.05, 0.07, 1, 30)
    assert not row["is_size_lower_bound"]


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        ({"forecasts": []}, "NO_FORECAST"),
        ({"forecasts": [forecast(horizon_days=7)]}, "NO_FORECAST"),
        ({"forecasts": [forecast(target="apy_base")]}, "NO_FORECAST"),
        ({"forecasts": [forecast(as_of=YESTERDAY)]}, "NO_FORECAST"),
        ({"forecasts": [forecast(mean=0.00999)]}, "FORECAST_TOO_LOW"),
        ({"forecasts": [forecast(mean=0.01)]}, ""),
        ({"icebox": [frozen(USDC)]}, "IN_ICEBOX"),
        ({"icebox": [frozen(USDC, YESTERDAY)]}, ""),
        ({"icebox": [frozen(DAI)]}, ""),
        ({"metrics": []}, "TOO_YOUNG"),
        ({"metrics": [metric(age_days=29)]}, "TOO_YOUNG"),
        ({"metrics": [metric(age_days=30)]}, ""),
        ({"quality": []}, "QUALITY_UNKNOWN"),
        ({"quality": [quality(date=YESTERDAY)]}, "QUALITY_UNKNOWN"),
        ({"quality": [quality(is_passed=False, reason_codes="STUCK", reasons="stuck")]}, "QUALITY_FAILED"),
        ({"groups": [group(number=4)]}, ""),
        ({"groups": []}, ""),
    ],
)
def test_each_rule_bars_alone(facts: dict[str, Any], codes: str) -> None:
    row = select(pool(), **facts).loc["p"]
    assert row["reason_codes"] == codes
    assert row["is_passed"] == (codes == "")
    assert bool(row["reasons"]) == (codes != "") or row["warning_codes"]


def test_all_reasons_are_reported_in_order() -> None:
    row = select(
        pool(),
        forecasts=[],
        icebox=[frozen(USDC)],
        metrics=[metric(age_days=1)],
        quality=[quality(is_passed=False, reason_codes="GAP", reasons="a gap")],
    ).loc["p"]
    assert row["reason_codes"] == "NO_FORECAST,IN_ICEBOX,TOO_YOUNG,QUALITY_FAILED"
    for word in ("no forecast", "USDC (LOW)", "known for 1 days", "a gap"):
        assert word in row["reasons"]


def test_the_icebox_bars_by_address_and_chain() -> None:
    same_symbol = frozen(USDC) | {"address": DAI.address}
    assert select(pool(), icebox=[same_symbol]).loc["p", "is_passed"]
    assert select(pool(), icebox=[frozen(USDC) | {"chain": "Base"}]).loc["p", "is_passed"]
    assert not select(pool(tokens=(DAI, USDC)), icebox=[frozen(USDC)]).loc["p", "is_passed"]


def test_a_forecast_never_waives_the_observed_size() -> None:
    """A pool of 8,424 USD once passed on a forecast of 1.41 million."""
    table = judged(pool()).reset_index(drop=True).assign(size_usd=8_424.0)
    promised = forecast(target="tvl_usd", mean=1.41e6)
    row = select(pool(), listed=table, forecasts=[forecast(), promised]).loc["p"]
    assert row["reason_codes"] == "TOO_SMALL"
    assert row["size_usd"] == 8_424.0
    assert select(pool(), listed=table.assign(size_usd=np.nan)).loc["p", "reason_codes"] == "SIZE_UNKNOWN"
    assert select(pool(), listed=table.assign(size_usd=500_000.0)).loc["p", "is_passed"]


def test_pools_that_failed_the_prefilter_and_are_not_held_have_no_row() -> None:
    assert select(pool("a"), pool("b", project="x")).index.tolist() == ["a"]


def test_unrated_pools_pass_unless_group_caps_give_them_nothing() -> None:
    four = [group(number=4)]
    assert select(pool(), groups=four).loc["p", "warning_codes"] == "UNRATED"
    capped = select(pool(), groups=four, rules=policy(group_caps=True)).loc["p"]
    assert capped["reason_codes"] == "GROUP_NOT_ALLOWED"
    assert select(pool(), groups=[], rules=policy(group_caps=True)).loc["p", "reason_codes"] == "GROUP_NOT_ALLOWED"
    some = policy(group_caps=True, max_group_share=(0.35, 0.35, 0.3, 0.1))
    assert select(pool(), groups=four, rules=some).loc["p", "is_passed"]
    assert select(pool(), groups=[group(number=3)], rules=policy(group_caps=True)).loc["p", "is_passed"]


def test_a_held_pool_that_is_eligible_is_simply_held() -> None:
    assert flags(select(pool(), positions=[position()]).loc["p"]) == (True, True, False, False)


@pytest.mark.parametrize(
    ("more", "is_held"),
    [
        ({}, True),
        ({"shares": 0}, True),
        ({"underlying_amount": 0}, True),
        ({"shares": 0, "underlying_amount": 0}, False),
        ({"date": YESTERDAY}, False),
    ],
)
def test_held_means_an_amount_at_the_end_of_the_day(more: dict[str, Any], is_held: bool) -> None:
    assert select(pool(), positions=[position(**more)]).loc["p", "is_held"] == is_held


def test_held_and_no_longer_eligible_is_exit_only() -> None:
    row = select(pool(tvl_usd=1.0), positions=[position()]).loc["p"]
    assert flags(row) == (False, True, True, False)
    assert row["reason_codes"] == "TOO_SMALL"
    assert row["reasons"]
    unforeseen = select(pool(), positions=[position()], forecasts=[]).loc["p"]
    assert flags(unforeseen) == (False, True, True, False)
    assert flags(select(pool(), positions=[position()], icebox=[frozen(USDC)]).loc["p"]) == (False, True, True, False)


def test_held_with_a_blacklisted_token_or_a_removed_protocol_must_be_left() -> None:
    assert flags(select(pool(tokens=(FRAX,)), positions=[position(token=FRAX)]).loc["p"]) == (False, True, True, True)
    assert flags(select(pool(project="gone"), positions=[position()]).loc["p"]) == (False, True, True, True)
    assert flags(select(pool(tokens=(STKGHO,)), positions=[position(token=STKGHO)]).loc["p"]) == (
        False,
        True,
        True,
        False,
    )
    assert not select(pool(project="morpho-blue"), positions=[position()]).loc["p", "is_must_exit"]


def test_a_held_pool_that_is_not_listed_today_still_has_a_row() -> None:
    row = select(listed=NOT_LISTED, positions=[position("gone"), position("gone", DAI)]).loc["gone"]
    assert flags(row) == (False, True, True, False)
    assert row["reason_codes"].split(",")[0] == "NOT_LISTED"
    assert (row["chain"], row["protocol"], row["symbol"]) == ("Ethereum", "unknown", "USDC-DAI")
    assert row["underlying_addresses_json"] == canonical_json([USDC.address, DAI.address])
    assert np.isnan(row["size_usd"])
    assert "SIZE_UNKNOWN" in row["reason_codes"]


def test_a_held_pool_that_is_not_listed_is_judged_by_its_newest_row() -> None:
    older = pool(snapshot_date=YESTERDAY - timedelta(days=1), project="removed", symbol="OLD")
    newest = pool(snapshot_date=YESTERDAY, project="aave-v3", symbol="NEW", apy=0.03, total_supply_usd=1e6)
    future = pool(snapshot_date=DAY + timedelta(days=1), project="removed", symbol="FUTURE")
    row = select(newest, older, future, listed=NOT_LISTED, positions=[position()]).loc["p"]
    assert (row["symbol"], row["protocol"], row["last_apy"]) == ("NEW", "aave-v3", 0.03)
    assert not row["is_must_exit"]
    assert np.isnan(row["size_usd"])
    assert np.isnan(row["total_supply_usd"])
    removed = select(older, listed=NOT_LISTED, positions=[position()]).loc["p"]
    assert removed["is_must_exit"]


def test_an_unlisted_pool_with_a_blacklisted_token_must_be_left() -> None:
    assert select(listed=NOT_LISTED, positions=[position("g", FRAX)]).loc["g", "is_must_exit"]
    by_symbol = policy(blacklist=(BarredToken("USDC", "Ethereum"),))
    assert select(listed=NOT_LISTED, rules=by_symbol, positions=[position("g")]).loc["g", "is_must_exit"]


def test_exit_days_of_an_unlisted_pool() -> None:
    row = select(listed=NOT_LISTED, positions=[position("g", STKGHO), position("g", USDC)]).loc["g"]
    assert row["exit_days"] == 20
    rules = policy(pool_overrides=(PoolOverride("old", exit_days=0, role="staking"),))
    row = select(listed=NOT_LISTED, rules=rules, positions=[position("g", STKGHO)], aliases={"old": "g"}).loc["g"]
    assert (row["exit_days"], row["role"]) == (0, "staking")


def test_positions_under_an_old_id_are_found_under_todays() -> None:
    frame = select(pool(), positions=[position("old")], aliases={"old": "p"})
    assert frame.index.tolist() == ["p"]
    assert frame.loc["p", "is_held"]


def test_warnings_of_the_prefilter_quality_and_hindsight_are_carried() -> None:
    doubtful = quality(reason_codes="SPIKE", reasons="a spike")
    row = select(pool(apy=np.nan), quality=[doubtful], metrics=[metric(is_hindsight=True)]).loc["p"]
    assert row["warning_codes"] == "NO_APY,QUALITY_DOUBT,HINDSIGHT"
    assert row["is_passed"]
    for word in ("names no APY", "a spike", "after the day's cutoff"):
        assert word in row["reasons"]
    for name, item in (("quality", quality), ("groups", group), ("forecasts", forecast)):
        assert select(pool(), **{name: [item(is_hindsight=True)]}).loc["p", "warning_codes"] == "HINDSIGHT"


def test_the_policys_horizon_chooses_the_forecast() -> None:
    both = [forecast(mean=0.05), forecast(mean=0.001, horizon_days=7)]
    assert select(pool(), forecasts=both).loc["p", "forecast_apy"] == 0.05
    assert select(pool(), forecasts=both, rules=policy(horizon_days=7)).loc["p", "reason_codes"] == "FORECAST_TOO_LOW"


def test_limits_are_parameters() -> None:
    assert not select(pool(), rules=policy(pool_apy_min=0.06)).loc["p", "is_passed"]
    assert not select(pool(), rules=policy(pool_age_min_days=31)).loc["p", "is_passed"]
    assert select(pool(), rules=policy(pool_tvl_min_usd=2e6)).empty


DOLLAR_ROLES = ("lend", "vault", "staking")


def lending_panel(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The recorded charts and what the reference list says about each series."""
    charts = pd.read_parquet(folder / "yields" / "defillama_chart_daily_lending_2024-06-06_2025-06-05.parquet")
    facts = pd.read_csv(folder / "reference" / "lending_panel_underlyings.csv")
    charts["date"] = [date.fromisoformat(str(day)[:10]) for day in charts["date"]]
    return charts, facts


@pytest.mark.recorded
def test_recorded_lending_panel_of_2025_06_02(recorded_data: Path) -> None:
    """At least 40 Ethereum pools are eligible, and none of the collateral rows (their APY reaches 228 %)."""
    charts, facts = lending_panel(recorded_data)
    day, stamp = date(2025, 6, 2), market_stamp(date(2025, 6, 2))
    shipped = load_policy(day).policy
    address = {item.symbol: item.address for item in shipped.tokens}
    overrides = tuple(
        PoolOverride(
            row["series_id"],
            role=row["role"],
            underlying_addresses=(address[row["underlying"]],) if isinstance(row["underlying"], str) else None,
            exit_days=7 if row["role"] == "staking" else None,
        )
        for row in facts.to_dict("records")
    )
    rules = load_policy(day, extra_overrides=overrides).policy
    today = charts[charts["date"] == day]
    answer = pd.DataFrame(
        {
            "pool_id": today["series_id"],
            "chain": today["chain"],
            "project": today["project"],
            "symbol": today["symbol"],
            "tvl_usd": today["tvlUsd"],
            "apy": today["apy"] / 100,
            "apy_base": today["apyBase"] / 100,
            "apy_reward": today["apyReward"] / 100,
            "exposure": "single",
            "underlying_addresses": None,
            "reward_tokens": None,
        }
    )
    no_legs = pd.DataFrame(columns=["pool_id", "total_supply_usd", "total_borrow_usd"])
    snapshot = build_pools(answer, no_legs, day, stamp)
    prices = bars(*(bar(item, day - timedelta(days=i), 1.0) for item in shipped.tokens for i in range(31)))
    passed = prefilter_pools(snapshot, build_token_registry(snapshot, rules, day), prices, rules, day)
    require_valid(schema.prefiltered_pools, passed)
    days = DayRange.of(day)
    followed = tracked_pools(passed, pd.DataFrame(columns=["date", "pool_id"]), days)
    renamed = charts.rename(columns={"tvlUsd": "tvl_usd", "apyBase": "apy_base", "apyReward": "apy_reward"})
    renamed[["apy", "apy_base", "apy_reward"]] /= 100
    points = pd.concat(
        [
            history_from_chart(chart.assign(ts=chart["date"]), str(name), day, stamp).drop(columns="il_7d")
            for name, chart in renamed[renamed["series_id"].isin(followed["pool_id"])].groupby("series_id")
        ],
        ignore_index=True,
    ).assign(il_7d=np.nan)
    history = new_revisions(pd.DataFrame(), points)
    require_valid(schema.pool_histories, history)
    metrics = rolling_metrics(history, followed, snapshot, days, rules.parameters)
    frame = select_eligible(
        passed,
        assess_quality(history, followed, days, rules.parameters),
        metrics,
        assign_groups(metrics),
        pd.DataFrame([forecast(row["pool_id"], row["apy_mean_30d"], as_of=day) for row in metrics.to_dict("records")]),
        positions=pd.DataFrame(columns=POSITION_COLUMNS),
        icebox=bootstrap_icebox(prices, rules, day)[1],
        pools=snapshot,
        policy=rules,
        day=day,
    )
    require_valid(schema.eligible_pools, frame)
    role = dict(zip(facts["series_id"], facts["role"], strict=True))
    eligible = frame[frame["is_passed"]]
    assert len(eligible) >= 40
    assert set(eligible["chain"]) == {"Ethereum"}
    assert set(eligible["pool_id"].map(role)) <= set(DOLLAR_ROLES)
    assert frame["pool_id"].map(role).ne("collateral").all()
    collateral = passed[passed["pool_id"].map(role) == "collateral"]
    assert len(collateral) >= 10
    assert collateral["reason_codes"].str.contains("NOT_A_DOLLAR_POOL").all()
