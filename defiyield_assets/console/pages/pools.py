"""All pools of the day: searched, filtered, sorted and paged by the server, every choice in the address.

Lives here: what an address may ask for, and the words of the page. Not here: the columns (pool_day.py), searching and
sorting (pool_table.py), one pool (pool.py), looks (templates/pools.html.j2).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from markupsafe import Markup

from defiyield_assets.console.layout import Inner, Page, Panel, address
from defiyield_assets.console.pool_day import SOURCES, pool_table
from defiyield_assets.console.pool_markup import ShownPool, options_html, pool_rows_html
from defiyield_assets.console.pool_table import VERDICTS, PoolTable, Wanted
from defiyield_assets.console.questions import Question, QuestionError
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import UNKNOWN, about_usd, clean, number, percent
from defiyield_assets.domain.reporting.layout import Fact, Section
from defiyield_assets.domain.reporting.plan_sections import GROUPS, group_name
from defiyield_assets.domain.selection.reasons import ORDER
from defiyield_assets.store import reads, schema

TILES = (
    "by the pre-filter or the final one",
    "refused by the final one among them",
    "passed both filters",
    "what the day's plan holds",
)
"""What the counts of refused, passed, eligible and planned pools take in: one pool may be in several."""
ROWS_A_PAGE = ("25", "50", "100", "200")
DEFAULT_ROWS = "50"
LABELS = {
    "q": "Name, symbol, protocol, chain, token or id",
    "verdict": "Verdict",
    "protocol": "Protocol",
    "chain": "Chain",
    "group": "Risk group",
    "code": "Reason or doubt",
    "least_apy": "APY from, %",
    "most_apy": "APY to, %",
    "least_size": "Size from, USD",
    "held": "Held by us only",
    "sort": "Sort by",
    "order": "Order",
    "rows": "Rows a page",
}
"""Fields of the form, as it calls them."""
MOST_WORDS = 12
LARGEST_SIZE_USD = 10**15
ASCENDING, DESCENDING = "asc", "desc"
ORDERS = ((ASCENDING, "smallest, A or in the plan first"), (DESCENDING, "largest, Z or refused first"))
REASON_LIMIT = 400
"""Characters of a pool's reasons that are shown; its own page has them all."""
DOUBTS = ("stale", "implausible")
"""What is said of an APY of the day: its flags without is_."""
SHOWN = ("q", "verdict", "protocol", "chain", "group", "code", "least_apy", "most_apy", "least_size", "held")
"""Parameters that choose pools, in the order of the form."""
FOLDED = SHOWN[2:]
"""Those that are folded on a phone until one of them is set."""


@dataclass(frozen=True)
class Heading:
    """A column: its name in addresses, its words, and which way it is sorted first."""

    name: str
    words: str
    is_number: bool = True
    first: str = DESCENDING


HEADINGS = (
    Heading("name", "Pool", is_number=False, first=ASCENDING),
    Heading("protocol", "Protocol", is_number=False, first=ASCENDING),
    Heading("chain", "Chain", is_number=False, first=ASCENDING),
    Heading("verdict", "Verdict", is_number=False, first=ASCENDING),
    Heading("pool_group", "Risk group", is_number=False, first=ASCENDING),
    Heading("size_usd", "Size"),
    Heading("apy", "APY of the day"),
    Heading("apy_mean_30d", "Mean of 30 days"),
    Heading("apy_std_30d", "Deviation of 30 days"),
    Heading("forecast_apy", "Forecast (p10 to p90)"),
    Heading("share_of_aum", "Share in the plan"),
)
FIGURES = tuple(heading.words for heading in HEADINGS if heading.is_number)
COLUMNS: Mapping[str, Heading] = {heading.name: heading for heading in HEADINGS}


@dataclass(frozen=True)
class ShownHeading:
    """A column's head: where it leads, and how it is sorted now ("" where it is not)."""

    words: str
    is_number: bool
    url: str
    sorted: str


@dataclass(frozen=True)
class Paging:
    """Which page it is, and the addresses of others, "" where there is none."""

    number: int
    n_pages: int
    first_row: int
    last_row: int
    n_rows: int
    before: str
    after: str
    first: str
    last: str


def pools(view: View, question: Question) -> Page:
    """The page."""
    table = pool_table(view)
    heading = COLUMNS[_choice(question, "sort", COLUMNS, "verdict")]
    order = _choice(question, "order", (ASCENDING, DESCENDING), heading.first)
    a_page = int(_choice(question, "rows", ROWS_A_PAGE, DEFAULT_ROWS))
    try:
        wanted = wanted_pools(question)
    except QuestionError as error:  # the form stands as it was filled in, with what is wrong above it
        rows, found_words, is_wrong = np.empty(0, np.int64), str(error), True
    else:
        rows = table.rows(wanted, heading.name, is_descending=order == DESCENDING)
        found_words, is_wrong = _found_words(len(rows), len(table), wanted), False
    asked = {name: question.words(name) for name in ("date", *SHOWN, "sort", "order", "rows")}
    paging = _paging(question.number("page", 1), len(rows), a_page, asked)
    found = [int(row) for row in rows[paging.first_row - 1 : paging.last_row]] if len(rows) else []
    told = dict(table.verdicts())
    every = {"date": asked["date"]}
    section = Section("found", found_words)
    return Page(
        title="Pools",
        here="pools",
        headline=f"{len(table):,} pools, {told['eligible']:,} of them eligible, {told['plan']:,} in the plan",
        day=view.day,
        facts=(
            Fact("Pools of the day", Inner(number(len(table)), "pools", **every)),
            *(
                Fact(words[:1].upper() + words[1:], Inner(number(told[name]), "pools", verdict=name, **every), remark)
                for (name, words), remark in zip(reversed(list(VERDICTS.items())), TILES, strict=True)
            ),
        ),
        facts_assets=("prefiltered_pools", "eligible_pools", "allocations"),
        panels=(Panel(section, SOURCES, view.day),),
        template="pools.html.j2",
        extra={
            "headings": [_heading(one, heading, order, asked) for one in HEADINGS],
            "rows": pool_rows_html(_shown_pools(view, table, found), FIGURES),
            "paging": paging,
            "asked": asked,
            "labels": LABELS,
            "is_wrong": is_wrong,
            "clear": address("pools", **every),
            "is_refined": any(asked[name] for name in FOLDED),
            "options": _options(
                table,
                {**asked, "sort": heading.name, "order": "" if order == heading.first else order, "rows": str(a_page)},
            ),
        },
    )


def wanted_pools(question: Question) -> Wanted:
    """What the address looks for; QuestionError where that cannot be."""
    words = tuple(question.words("q").split())
    if len(words) > MOST_WORDS:
        raise QuestionError(f"{LABELS['q']}: more than {MOST_WORDS} words")
    group = _choice(question, "group", [str(name) for name in GROUPS])
    return Wanted(
        words=words,
        verdict=_choice(question, "verdict", VERDICTS),
        protocol=question.words("protocol"),
        chain=question.words("chain"),
        pool_group=int(group) if group else None,
        code=_choice(question, "code", ORDER),
        least_apy=question.fraction("least_apy", LABELS["least_apy"]),
        most_apy=question.fraction("most_apy", LABELS["most_apy"]),
        least_size_usd=float(question.number("least_size", 0, 0, LARGEST_SIZE_USD, LABELS["least_size"])) or None,
        is_held=_choice(question, "held", ("yes",)) == "yes",
    )


def _choice(question: Question, name: str, choices: Collection[str], default: str = "") -> str:
    """One of the choices of a field."""
    return question.choice(name, choices, default, LABELS[name])


def _found_words(n_found: int, n_all: int, wanted: Wanted) -> str:
    if wanted == Wanted():
        return f"All {n_all:,} pools"
    return f"{n_found:,} of {n_all:,} pools" if n_found else "No pool matches"


def _paging(asked_page: int, n_rows: int, a_page: int, asked: Mapping[str, str]) -> Paging:
    """The page that was asked for, or the last one where there are not as many."""
    n_pages = max(1, -(-n_rows // a_page))
    page = min(asked_page, n_pages)

    def to(other: int) -> str:
        return address("pools", **{**asked, "page": other if other > 1 else None}) if 1 <= other <= n_pages else ""

    return Paging(
        number=page,
        n_pages=n_pages,
        first_row=(page - 1) * a_page + 1 if n_rows else 0,
        last_row=min(page * a_page, n_rows),
        n_rows=n_rows,
        before=to(page - 1),
        after=to(page + 1),
        first=to(1) if page > 1 else "",
        last=to(n_pages) if page < n_pages else "",
    )


def _heading(one: Heading, chosen: Heading, order: str, asked: Mapping[str, str]) -> ShownHeading:
    """Leads to the first page sorted by the column, or the other way round where it is sorted by it already."""
    is_chosen = one == chosen
    other = DESCENDING if order == ASCENDING else ASCENDING
    url = address("pools", **{**asked, "sort": one.name, "order": other if is_chosen else one.first})
    now = ("ascending" if order == ASCENDING else "descending") if is_chosen else ""
    return ShownHeading(one.words, one.is_number, url, now)


def _options(table: PoolTable, asked: Mapping[str, str]) -> dict[str, Markup]:
    """Every list of the form; what was asked for is among its choices though the day has none."""

    def texts(name: str) -> list[tuple[str, str]]:
        known = table.choices(name)
        return [(text, text) for text in (known if asked[name] in ("", *known) else [*known, asked[name]])]

    chosen = {
        "verdict": list(VERDICTS.items()),
        "protocol": texts("protocol"),
        "chain": texts("chain"),
        "group": [(str(group), words) for group, words in GROUPS.items()],
        "code": [(code, code) for code in ORDER],
    }
    sorting = {
        "sort": [(heading.name, heading.words) for heading in HEADINGS],
        "order": [("", "usual order"), *ORDERS],
        "rows": [(rows, rows) for rows in ROWS_A_PAGE],
    }
    lists = {name: [("", "any"), *choices] for name, choices in chosen.items()} | sorting
    return {name: options_html(choices, asked[name]) for name, choices in lists.items()}


def _shown_pools(view: View, table: PoolTable, rows: list[int]) -> list[ShownPool]:
    told = _verdicts_of(view, [str(table.pool_id[row]) for row in rows])
    return [_shown_pool(view, table, row, told[str(table.pool_id[row])]) for row in rows]


def _verdicts_of(view: View, pool_ids: list[str]) -> dict[str, Mapping[str, Any]]:
    """The last verdict on each of some pools, with its words, which are too long to be kept of every pool."""
    names = ("pool_id", "reasons", "is_size_lower_bound")
    told: dict[str, Mapping[str, Any]] = {}
    for table in (schema.prefiltered_pools, schema.eligible_pools):
        found = reads.read_rows(view.connection, table, DayRange.of(view.day), {"pool_id": pool_ids}, names)
        told |= {row["pool_id"]: row for row in found}
    return told


def _shown_pool(view: View, table: PoolTable, row: int, told: Mapping[str, Any]) -> ShownPool:
    figures = {name: float(values[row]) for name, values in table.figures.items()}
    is_followed = bool(table.flags["is_followed"][row])
    verdict = table.verdict(row)
    size = about_usd(figures["size_usd"])
    is_at_least = bool(told["is_size_lower_bound"]) and size != UNKNOWN

    def followed(value: float, words: Callable[[float], str]) -> str:
        """Figures of a history, which pools that are out before do not have."""
        return words(value) if is_followed or not isnan(value) else ""

    return ShownPool(
        name=Inner(str(table.texts["name"][row]), "pools", str(table.pool_id[row]), date=view.day),
        protocol=str(table.texts["protocol"][row]),
        chain=str(table.texts["chain"][row]),
        verdict=VERDICTS[verdict] + (", held" if table.flags["is_held"][row] else ""),
        look=LOOKS[verdict],
        reasons=clean(told["reasons"], REASON_LIMIT) if told["reasons"] else "",
        codes=str(table.codes[row]).replace(",", ", "),
        group=followed(figures["pool_group"], group_name),
        figures=(
            f"at least {size}" if is_at_least else size,
            _apy_words(figures["apy"], [word for word in DOUBTS if table.flags[f"is_{word}"][row]]),
            followed(figures["apy_mean_30d"], percent),
            followed(figures["apy_std_30d"], percent),
            followed(figures["forecast_apy"], lambda mean: _forecast_words(mean, figures)),
            "" if isnan(figures["share_of_aum"]) else percent(figures["share_of_aum"]),
        ),
    )


def _apy_words(apy: float, doubts: Sequence[str]) -> str:
    """The rate that the vendor told, and what speaks against it."""
    return percent(apy) if isnan(apy) else ", ".join((percent(apy), *doubts))


def _forecast_words(mean: float, figures: Mapping[str, float]) -> str:
    if isnan(mean):
        return UNKNOWN
    return f"{percent(mean)} ({percent(figures['forecast_p10'])} to {percent(figures['forecast_p90'])})"


LOOKS = {"plan": "verdict-in", "eligible": "verdict-passed", "passed": "verdict-out", "refused": "verdict-out"}
