"""What becomes of generated pools: they move to new ids, are edited afterwards, freeze, fall silent, are born and die.

Not here: how often, compared with recorded pools (test_moments.py), or the demo day's promises (test_demo_day.py).
"""

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from defiyield_assets.domain.policy import PoolAlias
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.generated_character import PoolCharacter
from defiyield_assets_tests.simulator.asking import answer, respond

LATER = DEMO_DAY + timedelta(days=30)
POOLS = "https://yields.llama.fi/pools"
LEGS = "https://yields.llama.fi/lendBorrow"


def chart(market: GeneratedMarket, pool: str, day: date) -> dict[str, dict[str, Any]]:
    """Points of `/chart` by day."""
    points = answer(market, day, f"https://yields.llama.fi/chart/{pool}")["data"]
    return {point["timestamp"][:10]: point for point in points}


def ids(market: GeneratedMarket, day: date) -> set[str]:
    """The pools that are listed."""
    return {row["pool"] for row in answer(market, day, POOLS)["data"]}


def named(market: GeneratedMarket, name: str) -> PoolCharacter:
    """A designed pool."""
    return market._catalogue.named[name]


# --- new ids -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def moving(generated: GeneratedMarket) -> PoolAlias:
    """The designed pool that moves two days after the demo day."""
    own = named(generated, "aave-v2/MOVINGUSDC").facts.pool_id
    return next(alias for alias in generated.pool_aliases() if alias.new_id == own)


def test_a_moved_pool_vanishes_and_goes_on_under_its_new_id_on_the_stated_day(
    generated: GeneratedMarket, moving: PoolAlias
) -> None:
    assert moving.since == DEMO_DAY + timedelta(days=2)
    eve = moving.since - timedelta(days=1)
    assert moving.old_id in ids(generated, eve)
    assert moving.new_id not in ids(generated, eve)
    assert moving.old_id not in ids(generated, moving.since)
    assert moving.new_id in ids(generated, moving.since)
    legs = {row["pool"] for row in answer(generated, moving.since, LEGS)}
    assert moving.new_id in legs
    assert moving.old_id not in legs


def test_the_new_id_has_the_whole_history_and_the_old_one_what_it_had(
    generated: GeneratedMarket, moving: PoolAlias
) -> None:
    eve, later = moving.since - timedelta(days=1), moving.since + timedelta(days=3)
    before, after = chart(generated, moving.old_id, eve), chart(generated, moving.new_id, later)
    assert len(before) > 400
    assert {day: after[day] for day in before} == before
    assert max(after) == later.isoformat()
    assert chart(generated, moving.old_id, later) == before
    response = respond(generated, eve, f"https://yields.llama.fi/chart/{moving.new_id}")
    assert response.status_code == 404, "nobody knows the new id before"


def test_aliases_are_many_and_lead_from_gone_ids_to_listed_ones(generated: GeneratedMarket) -> None:
    aliases = generated.pool_aliases()
    assert len({alias.old_id for alias in aliases}) == len(aliases) >= 50
    gone = [alias for alias in aliases if alias.since <= DEMO_DAY]
    assert len(gone) >= 10
    listed = ids(generated, DEMO_DAY)
    assert not {alias.old_id for alias in gone} & listed
    assert sum(alias.new_id in listed for alias in gone) >= 5
    assert not {alias.new_id for alias in aliases if alias.since > DEMO_DAY} & listed


def test_a_moved_pool_has_its_role_under_both_ids(generated: GeneratedMarket, moving: PoolAlias) -> None:
    roles = {override.pool_id: override.role for override in generated.pool_overrides()}
    assert roles[moving.old_id] == roles[moving.new_id] == "lend"


# --- edited afterwards ---------------------------------------------------------------------------------------------
def past_changes(market: GeneratedMarket, pool: str, day: date, later: date) -> set[str]:
    """Days up to `day` that the chart tells differently on `later`."""
    before, after = chart(market, pool, day), chart(market, pool, later)
    assert before.keys() == {one for one in after if one <= day.isoformat()}
    return {one for one in before if before[one] != after[one]}


def test_a_few_percent_of_charts_change_an_old_point_in_a_month(generated: GeneratedMarket) -> None:
    pools = sorted(ids(generated, DEMO_DAY) & ids(generated, LATER))[::8]
    changed = [found for pool in pools if (found := past_changes(generated, pool, DEMO_DAY, LATER))]
    assert 0.01 < len(changed) / len(pools) < 0.10
    newest = DEMO_DAY + timedelta(days=30) - timedelta(days=9)
    assert all(max(found) <= newest.isoformat() for found in changed), "only points that are a while old"
    assert np.mean([len(found) for found in changed]) < 1.5


def test_an_edit_is_unknown_until_its_day_and_stays_from_then_on(generated: GeneratedMarket) -> None:
    panel = generated._pools.panel(LATER)
    first = panel.start.toordinal()
    row = DEMO_DAY.toordinal() - first
    found = [
        (column, edit)
        for column, edits in panel._edits.items()
        for edit in edits
        if row < edit.known_from <= row + 30 and panel.facts[column].moved_since is None
    ]
    column, edit = found[0]
    pool, known = panel.facts[column].pool_id, date.fromordinal(first + edit.known_from)
    told = date.fromordinal(first + edit.row).isoformat()
    eve, on, after = (chart(generated, pool, known + timedelta(days=k))[told] for k in (-1, 0, 20))
    assert eve["apy"] != on["apy"] == after["apy"] == edit.apy
    assert eve["tvlUsd"] == on["tvlUsd"]
    assert chart(generated, pool, known - timedelta(days=1))[told] == eve, "what was told of a day can be told again"


# --- silent, frozen, small -----------------------------------------------------------------------------------------
def test_a_stuck_pool_repeats_its_last_point_to_the_digit(generated: GeneratedMarket) -> None:
    points = chart(generated, named(generated, "morpho-v1/STUCKUSDC").facts.pool_id, DEMO_DAY)
    last = [points[(DEMO_DAY - timedelta(days=k)).isoformat()] for k in range(6)]
    assert len({(point["apy"], point["tvlUsd"]) for point in last}) == 1
    earlier = points[(DEMO_DAY - timedelta(days=7)).isoformat()]
    assert (earlier["apy"], earlier["tvlUsd"]) != (last[0]["apy"], last[0]["tvlUsd"])


def test_a_silent_pool_stays_listed_for_a_week_with_its_old_stamp(generated: GeneratedMarket) -> None:
    pool = named(generated, "morpho-v1/STALEUSDT").facts.pool_id
    (row,) = (row for row in answer(generated, DEMO_DAY, POOLS)["data"] if row["pool"] == pool)
    assert row["timestamp"][:10] == (DEMO_DAY - timedelta(days=4)).isoformat()
    assert (DEMO_DAY - timedelta(days=3)).isoformat() not in chart(generated, pool, DEMO_DAY)


def test_pools_below_the_listing_floor_come_and_go(generated: GeneratedMarket) -> None:
    assert min(row["tvlUsd"] for row in generated.pool_rows(DEMO_DAY)) >= 10_000
    small = [row["pool"] for row in generated.pool_rows(DEMO_DAY) if row["tvlUsd"] < 12_000]
    breaks = [
        sum(date.fromisoformat(b) - date.fromisoformat(a) > timedelta(days=1) for a, b in pairwise(days))
        for pool in small[:30]
        if (days := sorted(chart(generated, pool, DEMO_DAY)))
    ]
    assert np.mean(breaks) > 5


def test_supply_less_borrow_is_the_size_that_the_listing_tells(generated: GeneratedMarket) -> None:
    for day in (DEMO_DAY - timedelta(days=200), DEMO_DAY, LATER):
        sizes = {row["pool"]: row["tvlUsd"] for row in answer(generated, day, POOLS)["data"]}
        legs = answer(generated, day, LEGS)
        assert len(legs) > 200
        assert all(leg["totalSupplyUsd"] - leg["totalBorrowUsd"] == sizes[leg["pool"]] for leg in legs)


# --- birth, death, spikes ------------------------------------------------------------------------------------------
def test_a_dying_pool_yields_nothing_melts_away_and_is_gone(generated: GeneratedMarket) -> None:
    dying = named(generated, "yearn-finance/OLDUSDC")
    points = chart(generated, dying.facts.pool_id, LATER)
    assert dying.died.isoformat() > max(points)
    last = [points[day] for day in sorted(points)[-5:]]
    assert all(point["apy"] == 0 and point["apyReward"] is None for point in last)
    assert last[-1]["tvlUsd"] < 0.1 * max(point["tvlUsd"] for point in points.values())
    assert dying.facts.pool_id not in ids(generated, dying.died + timedelta(days=8))
    births = {pool.born for pool in generated._catalogue.pools}
    assert len([day for day in births if DEMO_DAY - timedelta(days=90) < day <= DEMO_DAY]) >= 20


def test_spikes_come_at_once_and_fade_over_days(generated: GeneratedMarket) -> None:
    """After a jump of an APY to more than fivefold, the days after lie between: lower each day, in the median."""
    fades = []
    for row in generated.pool_rows(DEMO_DAY)[::3]:
        apys = [point["apyBase"] for point in generated.chart_points(row["pool"], DEMO_DAY) or ()]
        values = np.array(apys, dtype=float)[:-3]
        if len(values) < 100 or values.min() <= 0:
            continue
        usual = np.median(values)
        at = np.flatnonzero((values[1:-2] > 5 * usual) & (values[:-3] < 2 * usual)) + 1
        fades += [[values[i + k] / usual for k in (-1, 0, 1, 2)] for i in at]
    before, peak, next_day, day_after = np.median(np.array(fades), axis=0)
    assert len(fades) > 100
    assert before < next_day < peak
    assert day_after < next_day
    assert next_day > 0.26 * peak, "a spike lasts longer than its day"


# --- Pendle --------------------------------------------------------------------------------------------------------
def test_pendle_pools_name_no_token_and_their_market_does(generated: GeneratedMarket) -> None:
    markets = {market.principal_name: market for market in generated.pendle_markets(DEMO_DAY)}
    assert len(markets) >= 4
    rows = [row for row in generated.pool_rows(DEMO_DAY) if row["project"] == "pendle"]
    assert len(rows) >= 3
    for row in rows:
        assert row["underlyingTokens"] is None
        market = markets[row["poolMeta"].removeprefix("For buying ")]
        assert market.opened <= DEMO_DAY < market.expiry
        assert market.expiry.weekday() == 3, "Pendle's markets mature on Thursdays"
        assert market.name.upper() == row["symbol"]
        assert market.underlying in generated._by_address
    assert any(market.expiry < DEMO_DAY for market in markets.values()), "a matured market stays in the list"
    early = generated.pendle_markets(DEMO_DAY - timedelta(days=170))
    assert len(early) < len(markets)
    assert all(market.opened <= DEMO_DAY - timedelta(days=170) for market in early)
