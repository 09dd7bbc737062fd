"""Single postings: of a day, an account, a transaction, as a table a page at a time and as a file.

Lives here: which postings are asked for and how one is shown. Not here: sums (ledger_books.py), SQL
(store/row_pages.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from defiyield_assets.console.exports import CSV, csv_text
from defiyield_assets.console.layout import Inner, Page, Panel, address
from defiyield_assets.console.pages.day_content import content_of
from defiyield_assets.console.paging import Pager, turn
from defiyield_assets.console.questions import Question
from defiyield_assets.console.serving import Download
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import CLASSIFICATIONS
from defiyield_assets.domain.reporting.formats import about_amount, clean, is_missing, number, short_id, usd
from defiyield_assets.domain.reporting.inputs import Names
from defiyield_assets.domain.reporting.layout import Link, Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import reads, schema
from defiyield_assets.store.row_pages import Wanted, count_rows, read_page

MOST = 100
"""Postings of a page."""
MOST_IN_FILE = 100_000
KINDS = ("native", "internal", "token", "gas", "opening", "accrual", "correction")
SPANS = {"day": "this day", "all": "all up to it"}
ASSETS = ("ledger_postings",)
WORDS = (("account", "account"), ("token", "token_address"), ("wallet", "wallet"), ("tx", "tx_hash"))
"""Parameters that name a value of a column: parameter, column."""
COLUMNS = (
    *text("Day", "Account", "What"),
    *numbers("Amount"),
    *text("Token"),
    *numbers("Value"),
    *text("Base units", "Transaction", "Its legs"),
)


@dataclass(frozen=True)
class PostingFilter:
    """What is asked for: the day or all days up to it, and values that columns must have; "" asks for any."""

    span: str
    asked: Mapping[str, str]

    @property
    def where(self) -> dict[str, str]:
        """Conditions by column."""
        columns = {**dict(WORDS), "kind": "kind", "classification": "classification"}
        return {columns[name]: value for name, value in self.asked.items() if value}

    def address(self, *path: str, view: View) -> str:
        """The same question at an address."""
        return address(*path, date=view.day, span=self.span, **self.asked)


def asked_postings(question: Question) -> PostingFilter:
    """The question as a filter. Hashes and addresses are looked for in lower case, as they are stored."""
    asked = {name: question.words(name) for name, _ in WORDS}
    for name in ("token", "wallet", "tx"):
        asked[name] = asked[name].lower()
    asked["kind"] = question.choice("kind", KINDS)
    asked["classification"] = question.choice("classification", CLASSIFICATIONS)
    # A transaction is looked for wherever it is, everything else on the day.
    span = question.choice("span", SPANS, "all" if asked["tx"] else "day")
    return PostingFilter(span, asked)


def wanted_postings(view: View, posted: PostingFilter) -> Wanted:
    """The rows, newest block first."""
    is_day = posted.span == "day"
    return Wanted(
        schema.ledger_postings,
        days=DayRange.of(view.day) if is_day else None,
        through=None if is_day else view.day,
        where=posted.where,
        newest_by=("date", "block_number"),
    )


def postings(view: View, question: Question) -> Page:
    """The page."""
    posted, names = asked_postings(question), content_of(view).names
    wanted = wanted_postings(view, posted)
    pager = turn(
        question,
        count_rows(view.connection, wanted),
        MOST,
        *("ledger", "postings"),
        date=view.day,
        span=posted.span,
        **posted.asked,
    )
    rows = records(read_page(view.connection, wanted, pager.first, MOST))
    return Page(
        title="Postings",
        here="ledger",
        headline=_headline(view, posted, pager),
        day=view.day,
        paragraphs=(f"Transaction {posted.asked['tx']}",) if posted.asked["tx"] else (),
        panels=(_panel(view, rows, names),),
        downloads=(("These postings as CSV", posted.address("ledger", "postings.csv", view=view)),),
        template="postings.html.j2",
        extra={
            "pager": pager,
            "asked": posted.asked,
            "span": posted.span,
            "spans": tuple(SPANS.items()),
            "kinds": _choices(KINDS),
            "classifications": _choices(CLASSIFICATIONS),
            "accounts": _accounts(view),
        },
    )


def _headline(view: View, posted: PostingFilter, pager: Pager) -> str:
    noun = "posting" if pager.total == 1 else "postings"
    return f"{number(pager.total)} {noun} {'on' if posted.span == 'day' else 'up to'} {view.day}"


def _choices(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, name.replace("_", " ")) for name in names]


def _accounts(view: View) -> list[str]:
    """Every account that moved up to the day."""
    return view.remembered(
        "accounts",
        None,
        lambda: [str(name) for (name,) in reads.distinct(view.connection, schema.trial_balance, ["account"], view.day)],
    )


def _panel(view: View, rows: list[dict[str, Any]], names: Names) -> Panel:
    sums = _sums_of_legs(view, rows)
    wrong = {key for key, amount in sums.items() if amount != 0}
    words = (
        f"Legs of {number(len(wrong))} transactions of this page do not sum to zero."
        if wrong
        else "The legs of every transaction of this page sum to zero, token by token, those on other pages counted."
    )
    words += " Amounts are rounded to 6 decimals, base units are exact."
    if not rows:
        return Panel(Section("postings", "Postings", ("There is no such posting.",)), ASSETS, view.day)
    listed = tuple(_row(view, row, names, sums) for row in rows)
    section = Section("postings", "Postings", (words,), tables=(Table(COLUMNS, listed, fold="never"),))
    return Panel(section, ASSETS, view.day)


def _sums_of_legs(view: View, rows: list[dict[str, Any]]) -> dict[tuple[int, str, str], int]:
    """Sum of all legs up to the day by chain, transaction and token, for the transactions of these rows."""
    chains = sorted({row["chain_id"] for row in rows})
    sums: dict[tuple[int, str, str], int] = {}
    for chain_id in chains:
        hashes = sorted({row["tx_hash"] for row in rows if row["chain_id"] == chain_id})
        own = reads.read_all(view.connection, schema.ledger_postings, {"chain_id": chain_id, "tx_hash": hashes})
        for leg in records(own[own["date"] <= view.day]):
            key = (chain_id, leg["tx_hash"], leg["token_address"])
            sums[key] = sums.get(key, 0) + leg["amount"]
    return sums


def _row(view: View, row: dict[str, Any], names: Names, sums: Mapping[tuple[int, str, str], int]) -> tuple[str, ...]:
    total = sums[row["chain_id"], row["tx_hash"], row["token_address"]]
    whole = Inner(
        "sum to 0" if total == 0 else f"sum to {total}", *("ledger", "postings"), date=view.day, tx=row["tx_hash"]
    )
    return (
        str(row["date"]),
        Inner(_account(row["account"], names), "ledger", "postings", date=view.day, span="all", account=row["account"]),
        _what(row),
        about_amount(row["amount"], int(row["decimals"])),
        names.token(row["token_address"]),
        "" if is_missing(row["valued_usd"]) else usd(row["valued_usd"]),
        str(row["amount"]),
        _transaction(row, names),
        whole,
    )


def _what(row: Mapping[str, Any]) -> str:
    """What the transaction was, by which kind of movement, and whether that may still change."""
    classification, kind = (clean(row[name], 40).replace("_", " ") for name in ("classification", "kind"))
    told = classification if classification == kind else f"{classification}, {kind}"
    return f"{told}, pending" if bool(row["is_pending"]) else told


def _transaction(row: Mapping[str, Any], names: Names) -> str:
    """Start and end of the hash, leading to the explorer where that knows it."""
    whole, words = names.transaction_link(row["tx_hash"], row["chain_id"]), short_id(row["tx_hash"])
    return Link(words, whole.url) if isinstance(whole, Link) else words


def _account(account: Any, names: Names) -> str:
    """The account with the names of what it belongs to instead of ids."""
    kind, _, whose = str(account).rpartition(":")
    if kind == "assets:wallet":
        return f"{kind}:{names.wallet(whose)}"
    if whose in names.pools:
        return f"{kind}:{names.pool(whose)}"
    return clean(account, 90)


def postings_csv(view: View, question: Question) -> Download:
    """The same postings as a file, MOST_IN_FILE at most; what is cut is told in its last line."""
    posted = asked_postings(question)
    wanted = wanted_postings(view, posted)
    total = count_rows(view.connection, wanted)
    rows = records(read_page(view.connection, wanted, 0, MOST_IN_FILE))
    columns = [column.name for column in schema.ledger_postings.columns]
    if total > MOST_IN_FILE:
        told = f"cut: {MOST_IN_FILE} of {total} postings, ask for fewer days or one account"
        rows.append({columns[1]: told})
    return Download(f"postings-{posted.span}-{view.day}.csv", CSV, csv_text(columns, rows))
