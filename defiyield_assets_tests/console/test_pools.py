"""The page of all pools: what it finds, how it sorts and pages, what it refuses.

Lives here: rows of the page against pandas on the warehouse's tables, hostile names, later days. Not here: properties
of searching and sorting (test_pool_table.py).
"""

import json
import re
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlencode

import pandas as pd
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.config.loader import load_policy
from defiyield_assets.console.pages.pools import HEADINGS
from defiyield_assets.domain.days import DayRange
from defiyield_assets.store import reads, schema
from defiyield_assets_tests.console.lab_states import HOSTILE, Treasury, require_harmless, words_of
from defiyield_assets_tests.installations import FIRST, Installation, Loop

DAY = FIRST + timedelta(days=1)
ROW = re.compile(r'<th role="rowheader" scope="row" class="name"><a href="/pools/([^"?]+)\?date=([^"]+)"')
HORIZON_DAYS = 30


def ids(html: str) -> list[str]:
    """The pools of a page, in its order."""
    return [unquote(unescape(found[0])) for found in ROW.findall(html)]


def all_ids(console: TestClient, **asked: object) -> list[str]:
    """The pools of every page that an address leads to."""
    found: list[str] = []
    url = "/pools?" + urlencode({"date": DAY, "rows": 200, **asked})
    while url:
        answer = console.get(url)
        assert answer.status_code == 200
        found += ids(answer.text)
        following = re.search(r'<a href="([^"]+)" rel="next">Next', answer.text)
        url = unescape(following[1]) if following else ""
    return found


@pytest.fixture(scope="module")
def day(console_state: Installation) -> pd.DataFrame:
    """The pools of the day, joined by pandas."""

    def of(table: sa.Table) -> pd.DataFrame:
        return reads.read_days(console_state.engine, table, DayRange.of(DAY))

    pre, final = of(schema.prefiltered_pools), of(schema.eligible_pools)
    names = ["pool_id", "symbol", "protocol", "chain", "size_usd"]
    pools = pd.concat([pre, final])[names].drop_duplicates("pool_id").set_index("pool_id")
    pools["underlyings"] = pre.set_index("pool_id")["underlying_symbols"]
    pools["is_prefiltered"] = pre.set_index("pool_id")["is_passed"].astype(bool)
    pools["is_eligible"] = final.set_index("pool_id")["is_passed"].astype(bool)
    pools["is_held"] = final.set_index("pool_id")["is_held"].astype(bool)
    told = pd.concat([pre, final]).drop_duplicates("pool_id", keep="last").set_index("pool_id")
    pools["codes"] = told["reason_codes"] + "," + told["warning_codes"]
    pools["apy"] = of(schema.pools).set_index("pool_id")["apy"]
    for name in ("apy_mean_30d", "apy_std_30d"):
        pools[name] = of(schema.pool_metrics).set_index("pool_id")[name]
    pools["pool_group"] = of(schema.pool_groups).set_index("pool_id")["pool_group"]
    forecasts = of(schema.pool_forecasts)
    of_apy = forecasts[(forecasts["target"] == "apy") & (forecasts["horizon_days"] == HORIZON_DAYS)]
    pools["forecast_apy"] = of_apy.set_index("pool_id")["mean"]
    planned = of(schema.allocations)
    planned = planned[[int(amount) > 0 for amount in planned["amount"]]]
    pools["share_of_aum"] = planned.groupby("pool_id")["share_of_aum"].sum()
    return pools


def test_every_pool_of_the_day_is_on_one_page(console: TestClient, day: pd.DataFrame) -> None:
    found = all_ids(console)
    assert len(found) == len(set(found)) == len(day) > 2_000
    assert set(found) == set(day.index)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("column", [heading.name for heading in HEADINGS if heading.is_number])
def test_numbers_are_sorted_as_pandas_sorts_them(
    console: TestClient, day: pd.DataFrame, column: str, order: str
) -> None:
    """Every value stands where pandas has an equal one; what is unknown is last both ways."""
    found = day.loc[ids(console.get(f"/pools?date={DAY}&sort={column}&order={order}&rows=200").text), column]
    wanted = day.sort_values(column, ascending=order == "asc", na_position="last")[column].iloc[:200]
    pd.testing.assert_series_equal(found.reset_index(drop=True), wanted.reset_index(drop=True))


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({"q": "usdc AAVE"}, "usdc"),
        ({"verdict": "plan"}, "share_of_aum > 0"),
        ({"verdict": "eligible"}, "is_eligible == True"),
        ({"verdict": "passed"}, "is_prefiltered == True"),
        ({"verdict": "refused"}, "is_prefiltered == False or is_eligible == False"),
        ({"protocol": "aave-v3", "chain": "Ethereum"}, "protocol == 'aave-v3' and chain == 'Ethereum'"),
        ({"group": "2"}, "pool_group == 2"),
        ({"code": "TOO_SMALL"}, "TOO_SMALL"),
        ({"least_apy": "4.5", "most_apy": "12%"}, "apy >= 0.045 and apy <= 0.12"),
        ({"least_size": "1000000"}, "size_usd >= 1000000"),
        ({"least_size": "1,000,000"}, "size_usd >= 1000000"),
        ({"held": "yes"}, "is_held == True"),
    ],
)
def test_filters_find_what_pandas_finds(
    console: TestClient, day: pd.DataFrame, asked: dict[str, str], query: str
) -> None:
    if query == "usdc":
        hay = day.reset_index()[["pool_id", "symbol", "protocol", "chain", "underlyings"]].astype(str)
        lines = hay.agg("\n".join, axis=1).str.lower()
        wanted = set(day.index[(lines.str.contains("usdc") & lines.str.contains("aave")).to_numpy()])
    elif query == "TOO_SMALL":
        wanted = set(day.index[["TOO_SMALL" in codes.split(",") for codes in day["codes"]]])
    else:
        wanted = set(day.query(query).index)
    assert wanted, "the day has none to find"
    found = all_ids(console, **asked)
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_the_address_of_a_token_finds_its_pools(console: TestClient, console_state: Installation) -> None:
    """Every pool that holds it, as refusals name it, however it is written."""
    rows = reads.read_days(console_state.engine, schema.prefiltered_pools, DayRange.of(DAY))
    tokens = rows.set_index("pool_id")["underlying_addresses_json"].map(json.loads)
    address = tokens.explode().dropna().value_counts().index[0]
    wanted = {pool_id for pool_id, held in tokens.items() if address in held}
    assert len(wanted) > 1
    assert set(all_ids(console, q=address)) == set(all_ids(console, q=address.upper())) == wanted


def test_figures_are_those_of_the_tables_with_their_units(console: TestClient, day: pd.DataFrame) -> None:
    html = console.get(f"/pools?date={DAY}&sort=share_of_aum").text
    first = ids(html)[0]
    cells = words_of(html[html.index("<tbody") : html.index("</tr>", html.index("<tbody"))])
    row = day.loc[first]
    for name in ("apy", "apy_mean_30d", "apy_std_30d", "forecast_apy", "share_of_aum"):
        assert f"{row[name] * 100:,.2f}%" in cells
    assert "in the plan" in cells
    assert f"{len(day):,}" in words_of(html)


def test_the_head_of_a_column_says_how_it_is_sorted_and_turns_it_round(console: TestClient) -> None:
    """Every other choice stays in the address; the page number does not."""
    html = console.get(f"/pools?date={DAY}&q=usd&sort=apy&order=desc&page=2&rows=25").text
    heads = re.findall(r"<th role=\"columnheader\"[^>]*>.*?</th>", html)
    assert len(heads) == len(HEADINGS)
    (chosen,) = [head for head in heads if "aria-sort" in head]
    assert 'aria-sort="descending"' in chosen
    assert f'href="/pools?date={DAY}&amp;q=usd&amp;sort=apy&amp;order=asc&amp;rows=25"' in chosen
    assert all(f"date={DAY}&amp;q=usd" in head and "page=" not in head for head in heads)
    assert 'value="usd"' in html


def test_nothing_found_says_so_and_offers_to_clear(console: TestClient) -> None:
    html = console.get(f"/pools?date={DAY}&q=nosuchpool").text
    assert "No pool matches" in html
    assert f'<a href="/pools?date={DAY}">Clear all filters</a>' in html
    assert ids(html) == []


def test_a_page_behind_the_last_is_the_last(console: TestClient) -> None:
    last = console.get("/pools?page=100000").text
    assert ids(last)
    assert ">Next<" not in last


@pytest.mark.parametrize(
    "asked",
    [
        *("sort=nothing", "order=up", "rows=51", "page=0", "page=x", "date=2025-13-01", "q=" + "a" * 201),
        *(f"date={DAY}%00", "rows=50%07"),
    ],
)
def test_what_there_cannot_be_is_refused(console: TestClient, asked: str) -> None:
    assert console.get(f"/pools?{asked}").status_code == 400


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("least_apy=much", "APY from, %: not a percentage such as 4.5"),
        ("most_apy=nan", "APY to, %: not a percentage such as 4.5"),
        ("least_size=-1", "Size from, USD: not a whole number from 0 to 1,000,000,000,000,000"),
        ("least_size=1,00", "Size from, USD: not a whole number from 0 to 1,000,000,000,000,000"),
        ("verdict=good", "Verdict: not one of plan, eligible, passed, refused"),
        ("group=9", "Risk group: not one of "),
        ("code=NONE", "Reason or doubt: not one of "),
        ("held=no", "Held by us only: not one of yes"),
        ("q=" + "a+" * 13, "Name, symbol, protocol, chain, token or id: more than 12 words"),
    ],
)
def test_a_filter_that_cannot_be_is_told_by_its_label_above_the_form_as_it_was(
    console: TestClient, asked: str, told: str
) -> None:
    """Nothing is listed, and every other filter stays in its field."""
    html = console.get(f"/pools?date={DAY}&protocol=aave-v3&{asked}").text
    assert f">{told}" in html
    assert ids(html) == []
    assert "Nothing was looked for." in words_of(html)
    assert '<option value="aave-v3" selected>' in html
    name, typed = asked.split("=", 1)
    if name.startswith(("least", "most")):
        assert f'name="{name}"' in html
        assert f'value="{typed}"' in html


def test_a_choice_of_numbers_is_told_in_their_order(console: TestClient) -> None:
    assert "Rows a page: not one of 25, 50, 100, 200" in console.get("/pools?rows=7").text


def test_the_order_that_is_usual_is_called_so(console: TestClient) -> None:
    """That of the verdict is neither of numbers nor of letters; the other way round is told as it is."""
    usual = '<option value="" selected>usual order</option>'
    for asked in ("", "?sort=size_usd", "?sort=size_usd&order=desc", "?sort=verdict&order=asc"):
        assert usual in console.get(f"/pools{asked}").text
    turned = console.get("/pools?sort=size_usd&order=asc").text
    assert usual not in turned
    assert '<option value="asc" selected>smallest, A or in the plan first</option>' in turned


def test_a_protocol_that_the_day_does_not_have_finds_nothing(console: TestClient) -> None:
    """Going to another day keeps the choice."""
    html = console.get("/pools?protocol=gone").text
    assert "No pool matches" in html
    assert '<option value="gone" selected>' in html


def test_hostile_names_are_text(closed_loop: Loop, tmp_path: Path) -> None:
    """In rows, in the lists of the form, in ids, and in what was searched for."""
    treasury = Treasury(closed_loop, tmp_path)
    table = schema.prefiltered_pools
    newest = treasury.days[-1]
    some = list(treasury.rows(table).query("date == @newest")["pool_id"][: len(HOSTILE)])
    for pool_id, text in zip(some, HOSTILE, strict=True):
        spoilt = {"symbol": text, "protocol": text, "chain": text, "reasons": text, "pool_id": text[:300]}
        treasury.change(sa.update(table).where(table.c.date == newest, table.c.pool_id == pool_id).values(**spoilt))
    html = "".join(treasury.page(f"/pools?{asked}") for asked in ("sort=size_usd&rows=200", "q=script", "q=%3Cimg"))
    require_harmless(html)
    assert "&lt;script&gt;" in html


STALE = re.compile("%, stale[<,]")


def test_a_rate_of_an_old_row_is_told_as_stale(closed_loop: Loop, tmp_path: Path) -> None:
    """In its cell; it is found and sorted by its figure as before."""
    treasury = Treasury(closed_loop, tmp_path)
    pools, url = schema.pools, "/pools?sort=apy&rows=200&least_apy=3"
    told = treasury.rows(pools)
    told = told[told["snapshot_date"] == treasury.days[-1]].set_index("pool_id")
    before = treasury.page(url)
    shown = ids(before)
    assert len(STALE.findall(before)) == told.loc[shown, "is_stale"].sum()
    fresh = next(pool_id for pool_id in shown if not told.loc[pool_id, "is_stale"])
    treasury.change(sa.update(pools).where(pools.c.pool_id == fresh).values(is_stale=True))
    page = treasury.page(url)
    assert ids(page) == shown
    assert len(STALE.findall(page)) == len(STALE.findall(before)) + 1
    row = page[page.index(f"/pools/{fresh}") :]
    assert f">{told.loc[fresh, 'apy'] * 100:,.2f}%, stale" in row[: row.index("</tr>")]


def test_a_rate_that_the_policy_does_not_believe_is_told_as_implausible(closed_loop: Loop, tmp_path: Path) -> None:
    """In the list and on the pool's own page, on both sides of what is believed, and not at its very ends."""
    treasury = Treasury(closed_loop, tmp_path)
    pools, url = schema.pools, "/pools?sort=size_usd&rows=200"
    limit = load_policy(treasury.days[-1]).policy.parameters.apy_plausible_max
    shown = ids(treasury.page(url))[:4]
    assert "%, implausible<" not in treasury.page(url)
    for pool_id, apy in zip(shown, (limit, limit + 0.01, -0.01, 0.0), strict=True):
        treasury.change(
            sa.update(pools)
            .where(pools.c.pool_id == pool_id, pools.c.snapshot_date == treasury.days[-1])
            .values(apy=apy, is_stale=False)
        )
    page = treasury.page(url)
    rows = {pool_id: page[page.index(f"/pools/{pool_id}") :].split("</tr>")[0] for pool_id in shown}
    assert ["implausible" in rows[pool_id] for pool_id in shown] == [False, True, True, False]
    assert f">{(limit + 0.01) * 100:,.2f}%, implausible<" in rows[shown[1]]


def test_the_other_filters_are_open_where_one_of_them_is_set(console: TestClient) -> None:
    for query, is_open in (("", False), ("?q=usdc&verdict=eligible&sort=apy", False), ("?least_apy=3", True)):
        assert ('<details class="more" open>' in console.get(f"/pools{query}").text) is is_open


@pytest.fixture(scope="module")
def early(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Treasury, date]:
    """Days after the first are gone from every table that the page reads."""
    treasury = Treasury(closed_loop, tmp_path_factory.mktemp("early"))
    names = ("pools", "prefiltered_pools", "pool_metrics", "pool_forecasts", "allocations")
    for table in (schema.metadata.tables[name] for name in names):
        later = table.c[table.info["day"]] > FIRST
        figures = {one.name: one * 0.5 for one in table.columns if isinstance(one.type, sa.Float)}
        treasury.change(sa.update(table).where(later).values(**figures))
    return treasury, FIRST


def test_later_days_change_nothing(early: tuple[Treasury, date], console: TestClient) -> None:
    """Noise after the day leaves its page alone, and changes the pages of its own days."""
    treasury, day = early
    assert treasury.page(f"/pools?date={day}") == console.get(f"/pools?date={day}").text
    assert treasury.page(f"/pools?date={DAY}") != console.get(f"/pools?date={DAY}").text
