"""The page as a browser and a parser see it: alone, readable at every width, in light, dark and print."""

import math
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from defiyield_assets.domain.reporting.charts import figures_table
from defiyield_assets.domain.reporting.layout import (
    Chart,
    Content,
    Fact,
    Link,
    Point,
    Section,
    Series,
    Table,
    numbers,
    text,
)
from defiyield_assets.domain.reporting.markdown import render_markdown
from defiyield_assets.domain.reporting.page import MOST_FIGURES, render_html, shown_section
from defiyield_assets_tests.browser import chromium

DAY = date(2025, 6, 2)
POOL_PAGE = "https://defillama.com/yields/pool/aaaaaaaa-1111-4222-8333-aaaaaaaaaaaa"
HOSTILE = "<script>alert(1)</script>|\"'><img src=x onerror=alert(1)>[x](javascript:alert(1))"
POOLS = ("USDT · compound-v3", "USDC · aave-v3", "DAI · spark", "crvUSD-USDC · convex-finance-with-a-long-name")


def days_back(number: int) -> list[str]:
    return [str(DAY - timedelta(days=back)) for back in range(number - 1, -1, -1)]


def crowded_content() -> Content:
    """A report with one of everything, and much of it."""
    nav = tuple(Point(day, 1_000_000 + 230 * row + 400 * math.sin(row / 5)) for row, day in enumerate(days_back(30)))
    history = tuple(Point(day, 0.08 + 0.01 * math.sin(row / 7)) for row, day in enumerate(days_back(30)))
    fan = tuple(
        Point(str(DAY + timedelta(days=days)), 0.085, 0.085 - 0.002 * math.sqrt(days), 0.085 + 0.003 * math.sqrt(days))
        for days in (1, 7, 14, 30)
    )
    plan = Table(
        (
            *text("Pool"),
            *numbers("Share", "Value", "Amount"),
            *text("Action"),
            *numbers("Change", "Advertised", "Forecast", "Diluted"),
            *text("Group", "Limit", "Why", "Pool id"),
        ),
        tuple(
            (
                Link(name, POOL_PAGE),
                "25.0%",
                "$250,586.42",
                "250,586.419725 USDC",
                "enter",
                "+250,586.419725",
                "11.00%",
                "10.50% (9.10% to 12.00%)",
                "10.10%",
                "1 low",
                "share of AUM in one pool",
                "at max_pool_share; next best is DAI · spark at 8.10%",
                "aaaaaaaa-1111-4222-8333-aaaaaaaaaaaa",
            )
            for name in POOLS
        ),
        bar_column=1,
        bars=(0.25, 0.25, 0.4, 0.1),
    )
    steps = Table(
        (
            *numbers("No."),
            *text("Step", "Wallet", "From", "To"),
            *numbers("Value", "Gas", "Conversion"),
            *text("Base units"),
        ),
        tuple(
            (
                str(row),
                "DEPOSIT",
                "warm",
                "250,586.419725 USDC",
                Link(POOLS[0], POOL_PAGE),
                "$250,586.42",
                "$2.36",
                "$0.00",
                "250586419725",
            )
            for row in range(1, 9)
        ),
        fold="never",
    )
    left_out = Table(
        (*text("Pool"), *numbers("APY", "Size"), *text("Group", "Left out by", "Why", "Pool id")),
        tuple(
            (
                f"PEPE-WETH {row} · uniswap-v3",
                "20.00%",
                "$123M",
                "4 unrated",
                "filter",
                "its token is not approved, its protocol neither",
                "ffffffff-1111-4222-8333-ffffffffffff",
            )
            for row in range(30)
        ),
        caption="The best of those left out",
    )
    few = Table(
        (*text("Reason"), *numbers("Pools")),
        (("TOKEN_NOT_APPROVED", "1,234"), ("POOL_TOO_YOUNG", "12")),
        caption="Pre-filter",
    )
    before = tuple(Point(name, value) for name, value in zip(POOLS, (100_000.0, 0.0, 400_000.0, None), strict=True))
    after = tuple(
        Point(name, value) for name, value in zip(POOLS, (400_000.0, 250_586.4, 100_000.0, -99.5), strict=True)
    )
    return Content(
        day=DAY,
        run_id="r",
        title=f"{DAY}: Rebalance to 9.12% in 4 transactions",
        headline="Rebalance to 9.12% in 4 transactions",
        tone="good",
        status="optimal",
        paragraphs=("A plan was found that earns more than doing nothing, costs included.",),
        facts=(
            Fact("Projected APY on all assets", "9.12%", "8.99% after costs; idle cash counts as 0"),
            Fact("Gain against doing nothing", "+$3,312.24", "over 30 days, after costs; +4.11% APY before them"),
            Fact("Doing nothing", "5.01%", "$4,100.10 in 30 days"),
            Fact("Costs", "$109.54", "gas $9.42, conversion $100.12, earned back in 1.0 days"),
            Fact("Assets under management", "$1,002,345.68", "and 1.998500000000000001 ETH for gas"),
        ),
        sections=(
            Section(
                "plan",
                "The plan",
                ("What the treasury holds once all steps are done.",),
                tables=(plan,),
                charts=(
                    Chart(
                        "bars",
                        "Allocation before and after",
                        "usd",
                        (Series("Before", before, "before"), Series("After", after, "after")),
                        "USDT · compound-v3 grows from $100,000 to $400,000.",
                        is_tabled=True,
                    ),
                ),
            ),
            Section("steps", "The steps", tables=(steps,)),
            Section("left-out", "What was left out", tables=(few, left_out, left_out)),
            Section(
                "nav",
                "Net asset value",
                charts=(
                    Chart(
                        "lines", "Net asset value", "usd", (Series("NAV", nav),), "From $1.00M to $1.02M in 30 days."
                    ),
                    Chart(
                        "lines",
                        "Time-weighted return",
                        "percent",
                        (
                            Series("Treasury", tuple(Point(p.label, (p.value or 0) / 1e6 - 1) for p in nav)),
                            Series("Gas", (Point(str(DAY), None),), "other"),
                            Series(
                                "Benchmark", tuple(Point(p.label, 0.0001 * row) for row, p in enumerate(nav)), "other"
                            ),
                        ),
                        "The treasury earned 2.1% in 30 days.",
                    ),
                    Chart(
                        "bands",
                        "APY of USDC · aave-v3",
                        "percent",
                        (Series("History", history, "history"), Series("Forecast", fan, "forecast")),
                        "8.5% expected, 7.4% to 10.1% in 30 days.",
                    ),
                    Chart("lines", "Base fee", "gwei", (Series("Fee", (Point("2025-06-01", 0.5),)),), "0.5 gwei."),
                    Chart(
                        "lines", "Nothing known", "gwei", (Series("Fee", (Point("2025-06-01", None),)),), "No figure."
                    ),
                ),
            ),
            Section(
                "next",
                "Where to look next",
                bullets=("Why a pool is in or out: table eligible_pools.", "Send the steps in order."),
            ),
        ),
        provenance=(Fact("Day", f"{DAY} (UTC)"), Fact("Policy", "5b7e" * 16), Fact("Inputs", "09ac" * 16)),
    )


class _Page(HTMLParser):
    """Tags with their attributes, visible words, and the style sheet of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.style = ""
        self._within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"style", "title", "desc"}:
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.words += data
        elif self._within[-1] == "style":
            self.style += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def bare(words: str) -> str:
    return re.sub(r"[\s():]", "", words)


def rendered(content: Content) -> str:
    """The Markdown form as HTML by a CommonMark implementation that lets HTML through."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(render_markdown(content))


def only(section: Section) -> Content:
    return replace(crowded_content(), sections=(section,))


def test_both_forms_hold_everything_that_is_said() -> None:
    content = crowded_content()
    said = [content.headline, *content.paragraphs]
    for section in content.all_sections():
        said += [section.title, *section.paragraphs, *section.bullets]
        said += [part for fact in section.facts for part in (fact.name, fact.value, fact.remark)]
        tables = [*section.tables, *(figures_table(chart) for chart in section.charts if not chart.is_tabled)]
        said += [cell for table in tables for row in table.rows for cell in row]
        said += [words for chart in section.charts for words in (chart.title, chart.summary)]
    page_words, markdown_words = bare(_Page(render_html(content)).words), bare(_Page(rendered(content)).words)
    for words in said:
        assert bare(words) in page_words, words
        assert bare(words) in markdown_words, words


def test_the_page_loads_and_runs_nothing_and_its_policy_says_so() -> None:
    page = _Page(render_html(crowded_content()))
    assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "link", "object", "form", "base", "use"}
    for tag, attributes in page.tags:
        assert not {name for name in attributes if name == "style" or name == "src" or name.startswith("on")}, tag
    digest = b64encode(sha256(page.style.encode()).digest()).decode()
    (policy,) = [str(meta["content"]) for meta in page.of("meta") if meta.get("http-equiv")]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\(|@import|@font-face", page.style)


def test_links_lead_to_sections_or_carefully_out() -> None:
    page = _Page(render_html(crowded_content()))
    anchors = {attributes.get("id") for attributes in page.of("section")}
    inside = [str(link["href"]) for link in page.of("a") if str(link["href"]).startswith("#")]
    outside = [link for link in page.of("a") if not str(link["href"]).startswith("#")]
    assert {link.removeprefix("#") for link in inside} == anchors
    assert {link["href"] for link in outside} == {POOL_PAGE}
    assert all(link["rel"] == "noopener noreferrer" for link in outside)
    assert {link["href"] for link in _Page(rendered(crowded_content())).of("a")} == {POOL_PAGE}


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example/",
        "https://a.example/ onclick=x",
        "https://a.example/)<b>",
        "https://a.example/\u202e",
        "https://a.example/\n",
        "",
    ],
)
def test_words_with_an_unsafe_address_stay_words(address: str) -> None:
    section = Section("steps", "Steps", tables=(Table(text("To"), ((Link("pool", address),),)),))
    assert Link("pool", address) == "pool"
    assert not [link for link in _Page(render_html(only(section))).of("a") if not str(link["href"]).startswith("#")]
    assert not _Page(rendered(only(section))).of("a")


def test_hostile_names_stay_words_wherever_they_stand() -> None:
    chart = Chart(
        "bands", HOSTILE, "usd", (Series(HOSTILE, (Point(HOSTILE, 1.0, 0.5, 2.0), Point("b", 2.0))),), HOSTILE
    )
    table = Table(text(HOSTILE, HOSTILE), ((HOSTILE, Link(HOSTILE, POOL_PAGE)),), caption=HOSTILE)
    section = Section("s", HOSTILE, (HOSTILE,), (Fact(HOSTILE, HOSTILE, HOSTILE),), (table,), (HOSTILE,), (chart,))
    bars = replace(chart, kind="bars")
    for content in (only(section), only(replace(section, charts=(bars,)))):
        for html in (render_html(content), rendered(content)):
            page = _Page(html)
            assert not {tag for tag, _ in page.tags} & {"script", "img"}
            assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
            assert not [link for link in page.of("a") if "javascript" in str(link["href"])]
            assert page.words.count("<script>alert(1)</script>") >= 8


@pytest.mark.parametrize(
    ("said", "words", "n_codes"),
    [
        ("do it: `make demo` or `make ui`.", "do it: make demo or make ui.", 2),
        ("a lone ` stays", "a lone ` stays", 0),
        ("`make` and a lone `", "make and a lone `", 1),
        (f"`{HOSTILE}`", HOSTILE, 1),
    ],
)
def test_commands_among_words_are_shown_as_such(said: str, words: str, n_codes: int) -> None:
    page = _Page(render_html(only(Section("s", "S", (said,), bullets=(said,)))))
    assert page.words.count(words) == 2
    assert len(page.of("code")) == 2 * n_codes
    assert not page.of("script")


def test_tables_and_charts_are_named_for_those_who_hear_the_page() -> None:
    page = _Page(render_html(crowded_content()))
    assert all(heading.get("scope") in {"col", "row"} for heading in page.of("th"))
    n_tables = len(page.of("table"))
    assert n_tables == len(page.of("caption")) == 10
    regions = [region["aria-label"] for _, region in page.tags if region.get("role") == "region"]
    assert len(set(regions)) == n_tables, "each region has a name of its own"
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pictures = [svg for svg in page.of("svg") if svg.get("role") == "img"]
    assert len(pictures) == 5
    for picture in pictures:
        assert set(str(picture["aria-labelledby"]).split()) <= set(ids)


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "fold", "expected"),
    [
        (3, 7, "auto", "long-wide"),
        (2, 7, "auto", None),
        (21, 7, "auto", "always"),
        (3, 7, "never", None),
        (30, 7, "never", None),
        (1, 7, "always", "always"),
        (12, 2, "auto", None),
    ],
)
def test_what_is_long_folds(n_rows: int, n_columns: int, fold: Any, expected: str | None) -> None:
    cell = "x" * (14 if n_columns > 2 else 5)
    table = Table(text(*map(str, range(n_columns))), ((cell,) * n_columns,) * n_rows, fold=fold)
    found = _Page(render_html(only(Section("s", "S", tables=(table,))))).of("details")
    assert [attributes["class"] for attributes in found] == ([] if expected is None else [expected])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """`opened(width, scheme)`: the crowded page in a real browser, with what it asked for and complained of."""
    sync_api = pytest.importorskip("playwright.sync_api")
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_html(crowded_content()))
    command = chromium()
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=command, args=["--no-sandbox"])

        def page(width: int, scheme: str = "light") -> Any:
            tab = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
            tab.asked, tab.told = [], []
            tab.on("request", lambda request: tab.asked.append(request.url))
            tab.on("console", lambda message: tab.told.append(message.text))
            tab.on("pageerror", lambda error: tab.told.append(str(error)))
            tab.goto(file.as_uri())
            return tab

        yield page
        browser.close()


SHOWN = "element => element.checkVisibility({contentVisibilityAuto: true}) && element.offsetHeight > 0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "scheme"), [(360, "light"), (360, "dark"), (768, "light"), (1400, "light"), (1400, "dark")]
)
def test_a_browser_shows_it_accessibly_without_sideways_scrolling_or_requests(
    opened: Callable[..., Any], width: int, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(page.asked) == 1
    assert page.asked[0].startswith("file:")
    assert page.told == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = axe.run(page).response["violations"]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in broken] == []
    page.context.close()


@pytest.mark.slow
def test_on_a_phone_rows_are_stacked_under_their_headings_and_long_tables_fold(opened: Callable[..., Any]) -> None:
    page = opened(360)
    assert page.evaluate("document.documentElement.scrollHeight") < 8_000
    value = page.locator("#steps tbody tr").first.locator("td[data-label=Value]")
    assert value.evaluate("cell => getComputedStyle(cell, '::before').content") == '"Value" / ""'
    assert value.bounding_box()["y"] > page.locator("#steps tbody tr").first.bounding_box()["y"]
    assert page.locator("#steps tbody tr").last.evaluate(SHOWN), "steps never fold"
    assert not page.locator("#plan table").evaluate(SHOWN)
    page.locator("#plan summary").click()
    assert page.locator("#plan table").evaluate(SHOWN)
    letters = page.locator("#nav svg text").first.evaluate("word => word.getBoundingClientRect().height")
    assert letters > 11, "words in charts do not shrink with the screen"
    page.context.close()


@pytest.mark.slow
def test_on_a_desktop_only_evidence_is_folded(opened: Callable[..., Any]) -> None:
    page = opened(1400)
    assert page.locator("#plan table").evaluate(SHOWN)
    assert not page.locator("#plan summary").first.evaluate(SHOWN)
    assert not page.locator("#nav table").first.evaluate(SHOWN)
    page.context.close()


@pytest.mark.slow
def test_in_print_everything_is_open_on_white_and_within_the_paper(opened: Callable[..., Any]) -> None:
    page = opened(1032, "dark")  # A4 across, less the margins
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 36, 48)"
    for table in page.locator("section:not(#nav) table").all():
        assert table.evaluate(SHOWN)
        assert table.bounding_box()["x"] + table.bounding_box()["width"] <= 1032
    assert not page.locator("nav").evaluate(SHOWN)
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    page.context.close()


def test_a_curve_goes_from_edge_to_edge_of_its_picture() -> None:
    points = tuple(Point(f"2025-06-0{day}", float(value)) for day, value in ((1, 0), (2, 20), (3, 10)))
    page = _Page(
        render_html(only(Section("s", "S", charts=(Chart("lines", "C", "usd", (Series("a", points),), "W."),))))
    )
    (box,) = [svg["viewbox"] for svg in page.of("svg") if "viewbox" in svg]
    (path,) = [path["d"] for path in page.of("path")]
    assert box is not None
    assert path is not None
    _, _, width, height = map(float, box.split())
    places = [(float(x) / width, float(y) / height) for x, y in re.findall(r"[ML](\d+) (\d+)", path)]
    # the axis has a twentieth of the range as air above, and begins at zero
    assert places == [
        (0.0, pytest.approx(1.0)),
        (0.5, pytest.approx(1 / 21, abs=1e-3)),
        (1.0, pytest.approx(11 / 21, abs=1e-3)),
    ]


def test_figures_of_a_long_chart_stand_in_the_page_unless_there_is_another_place_for_them() -> None:
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(MOST_FIGURES + 1)]
    long, short = (
        Chart("lines", name, "usd", (Series("a", tuple(Point(str(day), 1.0) for day in shown)),), "In words.")
        for name, shown in (("Long", days), ("Short", days[1:]))
    )
    tabled = Chart("lines", "Tabled", "usd", long.series, "In words.", is_tabled=True)
    section = Section("s", "S", charts=(long, short, tabled))
    inside = shown_section(section).charts
    assert [(one.figures is not None, one.figures_at) for one in inside] == [(True, ""), (True, ""), (False, "")]
    elsewhere = shown_section(section, lambda chart_id: f"/x?figures={chart_id}").charts
    assert [(one.figures is not None, one.figures_at, one.n_figures) for one in elsewhere] == [
        (False, "/x?figures=s-chart-1", MOST_FIGURES + 1),
        (True, "", 0),
        (False, "", 0),
    ]
