"""The report on every kind of day: what it says, that its two forms are equal, that hostile strings stay words."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from defiyield_assets.domain.reporting.content import VERDICTS, build_content
from defiyield_assets.domain.reporting.inputs import ReportInputs, TokenLabel
from defiyield_assets.domain.reporting.plan_text import build_plan_summary
from defiyield_assets.domain.reporting.report import Report, build_report
from defiyield_assets.domain.reporting.slack import build_slack_message
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.reporting.conftest import (
    DAI,
    DAY,
    POOL_A,
    POOL_C,
    POOL_D,
    RUN,
    USDC,
    frame,
    holding,
    nav,
    plan_run,
    step,
    unexplained,
    verdict,
)

Days = Callable[..., ReportInputs]
HOSTILE = (
    "<script>alert(1)</script>|=cmd|'/C calc'!A0\x00\x1b[31m\u202e[x](javascript:alert(1))<!here>" + "A" * 10_000_000
)


LINKED = r"https://(defillama\.com/yields/pool/[0-9a-f-]{36}|etherscan\.io/(token|address|tx)/0x[0-9a-f]+)"
"""The only pages that a report leads to."""


class _Text(HTMLParser):
    """Visible text and tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in {"style", "title"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.words.append(" ".join(data.split()))


def page(report: Report) -> _Text:
    parser = _Text()
    parser.feed(report.html)
    return parser


def empty_day(day: date = DAY) -> ReportInputs:
    names = (
        "allocation_runs",
        "allocations",
        "allocation_steps",
        "eligible_pools",
        "prefiltered_pools",
        "icebox",
        "icebox_events",
        "nav_daily",
        "yield_attribution",
        "forecast_scores",
        "forecast_scoreboard",
    )
    return ReportInputs(day=day, outcomes=frame("asset_outcomes"), **{name: frame(name) for name in names})


def test_the_headline_says_what_matters(day_with: Days) -> None:
    content = build_content(day_with())
    assert content.title == "2025-06-02: Rebalance to 9.12% APY in 4 transactions"
    facts = {fact.name: (fact.value, fact.remark) for fact in content.facts}
    assert facts["Projected APY on all assets"] == ("9.12%", "8.99% after costs; idle cash counts as 0")
    assert facts["Gain against doing nothing"][0] == "+$3,312.24"
    assert facts["Doing nothing"] == ("5.01% APY", "$4,100.10 in 30 days; idle cash counts as 0")
    assert facts["Costs"] == ("$109.54", "gas $9.42, conversion $100.12, earned back in 1.0 days")
    assert facts["Assets under management"] == (
        "$1,002,345.68",
        "at the close of 2025-06-02, and 1.998500000000000001 ETH for gas",
    )


def test_holdings_show_exact_amounts_and_why(day_with: Days) -> None:
    section = build_content(day_with()).section("plan")
    assert section is not None
    (table,) = section.tables
    assert [row[0].split(" #")[0] for row in table.rows] == [
        "USDT · compound-v3",
        "USDC · aave-v3",
        "DAI · spark",
        "Cash in USDC",
    ]
    assert table.rows[1][3:6] == ("250,586.419725 USDC", "enter", "+250,586.419725 USDC")
    assert table.rows[2][2] == "$100,000.00 *"
    assert table.bars == pytest.approx((0.39906, 0.25, 0.0998, 0.25117), abs=1e-4)
    assert not any(row[-1] == POOL_D for row in table.rows), "pools left out are no holdings"


def test_steps_are_exact_and_in_order(day_with: Days) -> None:
    section = build_content(day_with()).section("steps")
    assert section is not None
    rows = section.tables[0].rows
    assert [(row[0], row[1], row[2]) for row in rows][:2] == [("1", "WITHDRAW", "warm"), ("2", "CONVERT", "warm")]
    assert rows[0][3].endswith("(all shares)")
    assert rows[0][4] == "5,000.000001 USDC"
    assert rows[1][3:5] == ("300,120.04802 USDC", "300,000 USDT")
    assert rows[1][8] == "300120048020 → 300000000000"


def test_legs_of_one_transaction_share_a_number(day_with: Days) -> None:
    legs = [step(1, "DEPOSIT", pool_id=POOL_A, token_in=USDC, amount_in=7, leg=leg) for leg in (0, 1)]
    section = build_content(day_with(allocation_steps=frame("allocation_steps", *legs))).section("steps")
    assert section is not None
    assert [row[0] for row in section.tables[0].rows] == ["1.1", "1.2"]


def test_amounts_are_rounded_where_they_are_looked_at_and_exact_where_they_are_sent(day_with: Days) -> None:
    amount = 330_008_432_904_555_041_215_292
    content = build_content(
        day_with(
            allocations=frame("allocations", holding(POOL_C, DAI, amount, 0, decimals=18)),
            allocation_steps=frame(
                "allocation_steps", step(1, "DEPOSIT", pool_id=POOL_C, token_in=DAI, amount_in=amount)
            ),
        )
    )
    plan, steps = content.section("plan"), content.section("steps")
    assert plan is not None
    assert steps is not None
    assert (plan.tables[0].rows[0][3], plan.tables[0].rows[0][5]) == ("330,008.432905 DAI", "+330,008.432905 DAI")
    assert "rounded to 6 decimals" in plan.paragraphs[0]
    assert steps.tables[0].rows[0][3] == "330,008.432904555041215292 DAI"
    assert steps.tables[0].rows[0][8] == str(amount)


@pytest.mark.parametrize("status", ["unverified", "screened", None])
def test_without_a_published_plan_nothing_is_left_out_by_one(day_with: Days, status: str | None) -> None:
    """Compared is with what is held today: what only the plan would enter is listed, what is held is not."""
    runs = () if status is None else (plan_run(status=status),)
    section = build_content(day_with(allocation_runs=frame("allocation_runs", *runs))).section("left-out")
    assert section is not None
    best = section.tables[-1]
    assert best.caption.startswith("Not held today, with the highest APY")
    why = "no plan was made for this day" if status is None else "no plan is published for this day"
    assert [(row[0].split(" #")[0], row[4], row[5]) for row in best.rows[1:]] == [
        ("USDC · aave-v3", "nothing", why),
        ("USDC · aave-v3", "nothing", why),
    ]
    assert [row[-1] for row in best.rows[1:]] == [POOL_A, POOL_D]


def test_holdings_without_a_published_plan_are_worth_what_is_held_today(day_with: Days) -> None:
    inputs = day_with(allocation_runs=frame("allocation_runs", plan_run(status="unverified")))
    section = build_content(inputs).section("plan")
    assert section is not None
    rows = {row[0]: row[1:6] for row in section.tables[0].rows}
    assert rows["USDT · compound-v3"] == ("9.98%", "$100,000.00", "100,000 USDT", "keep", "")
    assert rows["Cash in USDC"][:3] == ("50.12%", "$502,345.68", "502,345.678901 USDC")
    assert section.tables[0].bars == pytest.approx((0.09977, 0.09977, 0.50117), abs=1e-4)


def test_assumed_prices_of_a_plan_that_is_not_published_are_those_of_what_is_held(day_with: Days) -> None:
    rows = (
        holding(POOL_A, DAI, 7 * 10**18, 0, decimals=18, is_price_assumed=True),
        holding(POOL_C, DAI, 3 * 10**18, 10**18, decimals=18, is_price_assumed=True, value_usd=Decimal(6)),
    )
    inputs = day_with(
        allocations=frame("allocations", *rows), allocation_runs=frame("allocation_runs", plan_run(status="unverified"))
    )
    section = build_content(inputs).section("assumed")
    assert section is not None
    assert section.bullets[1:] == ("Holding DAI · spark in DAI: $2.00 at an assumed price.",)


@pytest.mark.parametrize(("n", "words"), [(1, "1 token is barred"), (21, "21 tokens are barred"), (0, "No token is")])
def test_barred_tokens_are_counted_in_grammar(day_with: Days, n: int, words: str) -> None:
    barred = pd.concat([day_with().icebox] * n, ignore_index=True) if n else day_with().icebox.iloc[:0]
    section = build_content(day_with(icebox=barred)).section("icebox")
    assert section is not None
    assert section.paragraphs[0].startswith(words)


@pytest.mark.parametrize(
    ("amount", "before", "words"),
    [
        (0, 225_000, "all of it is used by the plan's steps"),
        (1, 85_000, "what the plan's steps leave of it"),
        (2, 0, "more than the plan's steps use"),
        (5, 5, "cash that no step of the plan uses"),
    ],
)
def test_cash_is_unused_only_where_no_step_uses_it(day_with: Days, amount: int, before: int, words: str) -> None:
    row = holding("IDLE", USDC, amount, before, action="idle", why="cash that no step of the plan uses")
    section = build_content(day_with(allocations=frame("allocations", row))).section("plan")
    assert section is not None
    assert section.tables[0].rows[0][-2] == words


def test_what_lies_between_two_rates_is_told_in_points(day_with: Days) -> None:
    facts = {fact.name: fact.remark for fact in build_content(day_with()).facts}
    assert facts["Gain against doing nothing"] == "over 30 days, after costs; +4.11 points of APY before them"
    assert facts["Transactions"] == "moving 50.00% of assets; 3 pools at the end"


def test_dust_is_no_place_that_holds_something(day_with: Days) -> None:
    rows = (holding(POOL_A, USDC, 10**6, 999_999), holding("IDLE", USDC, 999_999, 0, action="idle"))
    section = build_content(day_with(allocations=frame("allocations", *rows))).section("plan")
    assert section is not None
    assert section.charts[0].summary == (
        "Before nothing worth $1.00 is held; after 1 place holds something, most USDC · aave-v3 #aaaaaa…aaaa: $1.00."
    )


def test_left_out_pools_are_counted_and_the_best_explained(day_with: Days) -> None:
    section = build_content(day_with()).section("left-out")
    assert section is not None
    assert section.paragraphs == (
        "Pre-filter: 2 of 4 pools passed.",
        "Final filter: 4 of 5 pools passed; 1 of the 5 did not pass the pre-filter and is judged because it is held.",
    )
    prefilter, final, best = section.tables
    assert [row[:2] for row in prefilter.rows] == [("TOKEN_NOT_APPROVED", "2"), ("PROTOCOL_NOT_APPROVED", "1")]
    assert [row[:2] for row in final.rows] == [("APY_BELOW_MIN", "1"), ("POOL_TOO_YOUNG", "1")]
    assert [row[:2] for row in best.rows] == [
        ("sUSDe · ethena-usde", "20.00%"),
        ("USDC · aave-v3 #dddddd…dddd", "7.10%"),
    ]
    assert best.rows[0][4] == "filter"
    assert best.rows[1][4:6] == ("plan", "beaten by USDC · aave-v3 after gas")


def test_what_was_earned(day_with: Days) -> None:
    earned = build_content(day_with()).section("earned")
    assert earned is not None
    facts = {fact.name: fact.value for fact in earned.facts}
    assert (facts["Income"], facts["Expenses"]) == ("+$245.58", "<$0.01")
    assert earned.tables[0].rows[0][:6] == ("DAI · spark", "$99,980.12", "+$19.88", "8.20%", "8.10%", "7.90%")


@pytest.mark.parametrize("status", ["hold", "infeasible", "no_capital", "no_pools", "unverified"])
def test_every_status_is_said_plainly(day_with: Days, status: str) -> None:
    run = plan_run(status=status, message="max_pool_share would have to be 0.31", n_steps=0)
    inputs = day_with(
        allocation_runs=frame("allocation_runs", run),
        allocation_steps=frame("allocation_steps", step(1, "HOLD", pool_id=POOL_A, token_in=USDC, amount_in=7)),
    )
    content = build_content(inputs)
    headline, _, meaning = VERDICTS[status]
    assert content.headline == headline
    assert content.paragraphs[:2] == (meaning, "max_pool_share would have to be 0.31")
    steps = content.section("steps")
    assert steps is not None
    assert not steps.tables
    for text in (build_report(inputs).html, build_report(inputs).markdown):
        assert "max" in text
        assert headline.split(":")[0] in text


@pytest.mark.parametrize("status", ["unverified", "infeasible", "no_pools", "no_capital"])
def test_a_plan_that_is_not_published_does_not_shine_through(day_with: Days, status: str) -> None:
    """The tables may still hold its steps; no form of the report may show them, nor what it promised."""
    inputs = day_with(allocation_runs=frame("allocation_runs", plan_run(status=status)))
    report, message, summary = build_report(inputs), build_slack_message(inputs), build_plan_summary(inputs)
    for text in (report.html, report.markdown, repr(message), repr(summary)):
        for secret in ("300,120.04802", "250,586.419725", "9.12%", "3,312.24", "DEPOSIT"):
            assert secret not in text, secret


def test_all_statuses_of_the_table_have_words() -> None:
    assert set(schema.allocation_runs.c.status.info["isin"]) < set(VERDICTS)


def test_an_optimal_plan_without_steps_is_a_day_to_hold(day_with: Days) -> None:
    content = build_content(day_with(allocation_runs=frame("allocation_runs", plan_run(n_steps=0))))
    assert content.headline == "Hold"


def test_a_plan_that_nobody_confirmed_says_so(day_with: Days) -> None:
    content = build_content(day_with(allocation_runs=frame("allocation_runs", plan_run(verified_by=None))))
    assert "No second solver has confirmed this plan." in content.paragraphs


def test_an_empty_day_has_a_report() -> None:
    inputs = empty_day()
    report = build_report(inputs)
    assert report.title == "2025-06-02: Do not act: there is no plan for this day"
    assert "The ledger has no net asset value for 2025-06-02." in page(report).words
    assert build_slack_message(inputs).blocks
    assert build_plan_summary(inputs).holdings is None


def test_assumed_prices_are_listed(day_with: Days) -> None:
    assumed = build_content(day_with()).section("assumed")
    assert assumed is not None
    assert assumed.bullets == (
        "Token DAI: its price is assumed.",
        "Holding DAI · spark in DAI: $100,000.00 at an assumed price.",
    )


def test_yesterdays_ledger_is_not_passed_off_as_todays(day_with: Days) -> None:
    earned = build_content(day_with(nav_daily=frame("nav_daily", nav(date(2025, 6, 1), "5")))).section("earned")
    assert earned is not None
    assert earned.paragraphs == ("The ledger has no net asset value for 2025-06-02.",)


def test_both_forms_say_the_same(day_with: Days) -> None:
    report = build_report(day_with())
    rendered = _Text()
    rendered.feed(MarkdownIt("commonmark").enable("table").render(report.markdown))
    markdown_words = re.sub(r"[\s():]", "", "".join(rendered.words))
    content = build_content(day_with())
    said = [content.title, *content.paragraphs]
    for section in content.sections:
        said += [section.title, *section.paragraphs, *section.bullets]
        said += [part for fact in section.facts for part in (fact.name, fact.value, fact.remark)]
        said += [cell for table in section.tables for row in table.rows for cell in row]
    html_words = re.sub(r"[\s():]", "", "".join(page(report).words))
    for text in said:
        bare = re.sub(r"[\s():]", "", text)
        assert bare in markdown_words, text
        assert bare.removeprefix("2025-06-02") in html_words, text


def test_the_page_stands_alone(day_with: Days) -> None:
    parsed = page(build_report(day_with()))
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "img", "iframe", "link", "object", "form", "base"}
    links = [str(attributes["href"]) for tag, attributes in parsed.tags if tag == "a"]
    anchors = {f"#{attributes.get('id')}" for tag, attributes in parsed.tags if "id" in attributes}
    within, outside = ({link for link in links if link.startswith("#") is is_own} for is_own in (True, False))
    assert within <= anchors
    assert f"https://defillama.com/yields/pool/{POOL_A}" in outside
    assert all(re.fullmatch(LINKED, link) for link in outside)
    assert not any("src" in attributes for _, attributes in parsed.tags)


def hostile_day(day_with: Days) -> ReportInputs:
    allowed = {"is_held": False, "is_exit_only": False, "is_must_exit": False, "last_apy": 0.5}
    row = {
        "date": DAY,
        "chain": HOSTILE,
        "address": HOSTILE,
        "symbol": HOSTILE,
        "reason_codes": "LOW",
        "reason": HOSTILE,
    }
    return day_with(
        allocation_runs=frame("allocation_runs", plan_run(message=HOSTILE, solver_status=HOSTILE)),
        allocations=frame("allocations", holding(POOL_A, USDC, 5, 0, why=HOSTILE)),
        eligible_pools=frame(
            "eligible_pools",
            verdict(POOL_A, HOSTILE, HOSTILE, chain=HOSTILE, **allowed),
            verdict(HOSTILE, HOSTILE, "aave-v3", HOSTILE.replace(",", ""), reasons=HOSTILE, **allowed),
        ),
        icebox_events=frame("icebox_events", {**row, "kind": "enter"}),
        outcomes=frame(
            "asset_outcomes",
            {
                "date": DAY,
                "asset": HOSTILE,
                "status": "failed",
                "error_class": "X",
                "reason": HOSTILE,
                "is_recoverable": True,
            },
        ),
        tokens={USDC: TokenLabel(HOSTILE, 6)},
        wallets={"0x" + "a1" * 20: HOSTILE},
        unexplained_transactions=frame(
            "unexplained_transactions",
            unexplained(token_address=HOSTILE, counterparty=HOSTILE, hint=HOSTILE, classification=HOSTILE),
        ),
    )


def test_hostile_strings_stay_words(day_with: Days) -> None:
    report = build_report(hostile_day(day_with))
    assert len(report.html) < 150_000
    assert len(report.markdown) < 60_000
    parsed = page(report)
    assert not {tag for tag, _ in parsed.tags} & {"script", "img"}
    assert any("<script>alert(1)</script>" in words for words in parsed.words), "shown as words"
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(report.markdown)
    assert "<script" not in rendered
    assert "javascript:" not in re.sub(r"\[x\]\(javascript:[^)]*\)?", "", rendered)
    assert all(re.fullmatch(LINKED, link) for link in re.findall(r'href="([^"]*)"', rendered))
    for text in (report.html, report.markdown, report.title):
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)


def test_slack_message_keeps_slacks_limits(day_with: Days) -> None:
    many = [holding(f"{number:08d}", USDC, 10**6, 0) for number in range(300)]
    steps = [step(number, "DEPOSIT", pool_id=POOL_A, token_in=USDC, amount_in=5) for number in range(1, 300)]
    crowded = day_with(allocations=frame("allocations", *many), allocation_steps=frame("allocation_steps", *steps))
    for inputs in (day_with(), crowded, hostile_day(day_with), empty_day()):
        message = build_slack_message(inputs)
        assert len(message.blocks) <= 50
        assert len(message.text) < 3_000
        for block in message.blocks:
            texts = [block["text"]] if "text" in block else block.get("fields", block.get("elements"))
            limit = {"header": 150, "section": 3_000 if "text" in block else 2_000, "context": 3_000}[block["type"]]
            assert 1 <= len(texts) <= 10
            assert all(1 <= len(text["text"]) <= limit for text in texts)


def test_slack_text_cannot_mention_or_link(day_with: Days) -> None:
    message = build_slack_message(hostile_day(day_with))
    texts = [message.text]
    for block in message.blocks:
        texts += [
            part["text"]
            for part in ([block["text"]] if "text" in block else block.get("fields", []))
            if part["type"] == "mrkdwn"
        ]
        assert all(part.get("verbatim", True) for part in block.get("fields", []))
    assert any("&lt;script&gt;" in text for text in texts)
    for text in texts:
        assert not re.search(r"[<>]", text)
        assert not re.search(r"&(?!amp;|lt;|gt;)", text), "no entity is cut in two"


@pytest.mark.parametrize("shift", range(5))
def test_slack_cuts_long_words_between_characters(day_with: Days, shift: int) -> None:
    run = plan_run(message="x" * shift + "&" * 5_000)
    words = build_slack_message(day_with(allocation_runs=frame("allocation_runs", run))).blocks[1]["text"]["text"]
    assert 2_900 < len(words) <= 3_000
    assert not re.search(r"&(?!amp;)", words)
    assert words.endswith("…")


def test_summary_for_the_terminal(day_with: Days) -> None:
    summary = build_plan_summary(day_with())
    assert (summary.status, summary.run_id) == ("optimal", RUN)
    assert summary.holdings is not None
    assert summary.steps is not None
    assert summary.left_out is not None
    assert len(summary.holdings.rows) == 4
    assert len(summary.steps.rows) == 5
    assert [table.columns[0].name for table in summary.left_out_reasons] == ["Reason", "Reason"]
    assert all(cell.isprintable() for table in (summary.holdings, summary.steps) for row in table.rows for cell in row)
    hostile = build_plan_summary(hostile_day(day_with))
    assert hostile.left_out is not None
    assert all(len(cell) < 400 for row in hostile.left_out.rows for cell in row)


def test_only_the_run_of_the_day_counts(day_with: Days) -> None:
    other = plan_run(run_id="zzz", date=date(2025, 6, 1), status="unverified", aum_usd=Decimal(1))
    inputs = day_with(allocation_runs=frame("allocation_runs", other, plan_run()))
    assert build_content(inputs).run_id == RUN
    assert build_content(replace(inputs, day=date(2025, 6, 3))).status == "no_plan"
