"""Tests of domain/gas/sources.py and of the node's hours: which source counts, and where two disagree.

Not here: how the node's blocks become hours (sources/test_ethereum_node.py).
"""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.domain.days import end_of, market_stamp, start_of
from defiyield_assets.domain.gas.fees import DAILY_COLUMNS, HOURLY_COLUMNS, node_fees, with_eth_prices
from defiyield_assets.domain.gas.sources import (
    ETH_FEE_HISTORY,
    ETHGASTRACKER,
    MIN_HOURS,
    fee_disagreements,
    of_unknown_days,
    prevailing_fees,
    without_poorer_days,
)
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid

DAY = date(2025, 6, 2)
NEXT = DAY + timedelta(days=1)


def day_of(source: str, hours: int, kind: str = "base_fee", day: date = DAY, mean: float = 1.0) -> dict[str, Any]:
    """A row of gas_fees_daily."""
    return dict.fromkeys(DAILY_COLUMNS) | {
        "date": day,
        "kind": kind,
        "source": source,
        "mean_gwei": mean,
        "n_hours": hours,
    }


def counting(*rows: dict[str, Any]) -> list[tuple[date, str, str]]:
    """(date, kind, source) of what counts."""
    kept = prevailing_fees(pd.DataFrame(list(rows), columns=list(DAILY_COLUMNS)))
    return list(zip(kept["date"], kept["kind"], kept["source"], strict=True))


@pytest.mark.parametrize(
    ("tracker", "node", "winner"),
    [
        (24, 24, ETHGASTRACKER),
        (MIN_HOURS, 24, ETHGASTRACKER),
        (MIN_HOURS - 1, 24, ETH_FEE_HISTORY),
        (MIN_HOURS - 1, MIN_HOURS - 2, ETHGASTRACKER),
        (3, 3, ETHGASTRACKER),
        (2, 3, ETH_FEE_HISTORY),
    ],
)
def test_the_vendor_comes_first_unless_it_missed_hours(tracker: int, node: int, winner: str) -> None:
    found = counting(day_of(ETHGASTRACKER, tracker), day_of(ETH_FEE_HISTORY, node))
    assert found == [(DAY, "base_fee", winner)]


def test_one_source_a_day_gives_all_kinds_and_another_day_may_have_another() -> None:
    """A base fee of one source is never topped with the price of another."""
    found = counting(
        day_of(ETHGASTRACKER, 24, "gas_price"),
        day_of(ETH_FEE_HISTORY, 24, "base_fee"),
        day_of(ETH_FEE_HISTORY, 24, "gas_price"),
        day_of(ETH_FEE_HISTORY, 24, "base_fee", NEXT),
        day_of(ETH_FEE_HISTORY, 24, "gas_price", NEXT),
    )
    assert found == [
        (DAY, "gas_price", ETHGASTRACKER),
        (NEXT, "base_fee", ETH_FEE_HISTORY),
        (NEXT, "gas_price", ETH_FEE_HISTORY),
    ]


def test_a_source_has_seen_the_hours_of_its_best_kind() -> None:
    """EthGasTracker may leave the base fee out for most of a day and still tell every gas price."""
    rows = [day_of(ETHGASTRACKER, 2), day_of(ETHGASTRACKER, 24, "gas_price"), day_of(ETH_FEE_HISTORY, 24)]
    assert {source for _, _, source in counting(*rows)} == {ETHGASTRACKER}


@given(st.lists(st.tuples(st.sampled_from([ETHGASTRACKER, ETH_FEE_HISTORY, "x"]), st.integers(0, 24)), max_size=6))
def test_exactly_one_source_counts_on_a_day_whatever_the_order(told: list[tuple[str, int]]) -> None:
    rows = [day_of(source, hours) for source, hours in dict(told).items()]
    found = {source for _, _, source in counting(*rows)}
    assert len(found) == min(1, len(rows))
    assert {source for _, _, source in counting(*reversed(rows))} == found


def block_hours(**more: Any) -> pd.DataFrame:
    """Two hours as the node's client tells them."""
    rows = [
        {
            "hour": start_of(DAY) + timedelta(hours=index),
            "date": DAY,
            "base_fee_gwei": 2.0 + index,
            "base_fee_median_gwei": 1.9,
            "base_fee_p10_gwei": 1.5,
            "base_fee_p90_gwei": 2.5,
            "base_fee_max_gwei": 3.0,
            "price_p10_gwei": 2.0,
            "price_median_gwei": 2.1,
            "price_p90_gwei": 2.9,
        }
        | more
        for index in range(2)
    ]
    return pd.DataFrame(rows)


def test_a_nodes_hours_are_two_kinds_and_know_no_price_of_eth() -> None:
    frame = node_fees(block_hours(), market_stamp(DAY), ETH_FEE_HISTORY)
    require_valid(schema.gas_fees_hourly, frame)
    first = frame[frame["hour"] == start_of(DAY)].set_index("kind")
    assert first.loc["base_fee", ["mean_gwei", "median_gwei", "max_gwei"]].tolist() == [2.0, 1.9, 3.0]
    assert first.loc["gas_price", ["p10_gwei", "median_gwei", "p90_gwei"]].tolist() == [2.0, 2.1, 2.9]
    assert np.isnan(first.loc["gas_price", "mean_gwei"])
    assert frame["eth_price_usd"].isna().all()
    assert set(frame["source"]) == {ETH_FEE_HISTORY}
    early = node_fees(block_hours(), start_of(DAY) + timedelta(minutes=90), "x")
    assert set(early["hour"]) == {start_of(DAY)}, "an hour that is not over is left out"
    assert list(node_fees(pd.DataFrame(), end_of(DAY), "x").columns) == list(HOURLY_COLUMNS)


def test_the_price_of_eth_is_that_of_the_hour_else_the_close_of_the_day() -> None:
    node = node_fees(block_hours(), market_stamp(DAY), ETH_FEE_HISTORY)
    tracker = node[node["hour"] == start_of(DAY)].assign(source=ETHGASTRACKER, eth_price_usd=2500.0)
    priced = with_eth_prices(pd.concat([node, tracker], ignore_index=True), {DAY: 2600.0})
    by_hour = priced[priced["source"] == ETH_FEE_HISTORY].groupby("hour")["eth_price_usd"].first()
    assert by_hour.tolist() == [2500.0, 2600.0]
    assert with_eth_prices(node, {})["eth_price_usd"].isna().all()


def hours_of(source: str, means: list[float | None], kind: str = "base_fee") -> pd.DataFrame:
    """Rows of gas_fees_hourly."""
    rows = [
        dict.fromkeys(HOURLY_COLUMNS)
        | {"hour": start_of(DAY) + timedelta(hours=i), "kind": kind, "source": source, "date": DAY, "mean_gwei": mean}
        for i, mean in enumerate(means)
    ]
    return pd.DataFrame(rows)


def test_hours_that_two_sources_tell_differently_are_named() -> None:
    hourly = pd.concat(
        [
            hours_of(ETH_FEE_HISTORY, [1.0, 1.2, 0.015, 4.0, None]),
            hours_of(ETHGASTRACKER, [1.0, 1.0, 0.010, 4.3, 1.0]),
            hours_of(ETHGASTRACKER, [9.0], "gas_price"),
            hours_of(ETH_FEE_HISTORY, [1.0], "gas_price"),
        ],
        ignore_index=True,
    )
    apart, n_hours = fee_disagreements(hourly)
    assert n_hours == 4
    assert apart["hour"].tolist() == [start_of(DAY) + timedelta(hours=1)]
    assert apart[["first_source", "second_source", "first_gwei", "second_gwei"]].values.tolist() == [
        [ETHGASTRACKER, ETH_FEE_HISTORY, 1.0, 1.2]
    ]
    assert apart["difference"].tolist() == pytest.approx([0.2])


def test_a_day_and_kind_that_any_source_told_is_known() -> None:
    known = hours_of(ETH_FEE_HISTORY, [1.0])
    told = pd.concat([hours_of(ETHGASTRACKER, [2.0]), hours_of(ETHGASTRACKER, [2.0], "gas_price")], ignore_index=True)
    assert of_unknown_days(told, known)["kind"].tolist() == ["gas_price"]
    assert len(of_unknown_days(told, known.iloc[:0])) == 2
    assert len(of_unknown_days(told, known.assign(date=NEXT))) == 2


def test_part_of_a_day_replaces_no_whole_one() -> None:
    known = hours_of(ETHGASTRACKER, [1.0, 1.0, 1.0])
    fewer = pd.concat([hours_of(ETHGASTRACKER, [2.0]), hours_of(ETH_FEE_HISTORY, [2.0])], ignore_index=True)
    assert without_poorer_days(fewer, known)["source"].tolist() == [ETH_FEE_HISTORY]
    assert len(without_poorer_days(hours_of(ETHGASTRACKER, [2.0, 2.0, 2.0]), known)) == 3
    assert len(without_poorer_days(fewer, known.iloc[:0])) == 2
    assert without_poorer_days(fewer.iloc[:0], known).empty


def test_one_source_alone_is_compared_with_nobody() -> None:
    apart, n_hours = fee_disagreements(hours_of(ETHGASTRACKER, [1.0, 2.0]))
    assert (len(apart), n_hours) == (0, 0)
    assert apart.columns[0] == "hour"
