"""The audit log: who asked for what through the console, and what became of it, the newest first.

Lives here: which rows are asked for and how one is shown. Not here: what is written down when (settings.py, login.py),
SQL (store/row_pages.py).
"""

from collections.abc import Mapping
from typing import Any, get_args

from defiyield_assets.console.layout import Inner, Page, Panel
from defiyield_assets.console.paging import Pager, turn
from defiyield_assets.console.questions import LONGEST, Question
from defiyield_assets.domain.reporting.formats import clean, number
from defiyield_assets.domain.reporting.layout import Section, Table, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import console_audit, schema
from defiyield_assets.store.engine import Readable
from defiyield_assets.store.row_pages import Wanted, count_rows, read_page

MOST = 100
"""Rows of a page."""
KINDS = {console_audit.LOGIN: "log in", console_audit.WRITE: "write a version"}
OUTCOMES: tuple[str, ...] = get_args(console_audit.Outcome)
COLUMNS = text("When (UTC)", "Who", "From", "Asked for", "Outcome", "Version", "More")
PATH = ("settings", "audit")
INTRO = "Logins and changes that were asked for here, and what became of each. Rows are only ever added."


def audit_page(engine: Readable, question: Question) -> Page:
    """The rows that an address asks for; QuestionError for a kind, an outcome or a page that there is not."""
    asked = {
        "person": question.words("person"),
        "kind": question.choice("kind", KINDS),
        "outcome": question.choice("outcome", OUTCOMES),
    }
    columns = {"author": asked["person"], "action": asked["kind"], "outcome": asked["outcome"]}
    where = {name: value for name, value in columns.items() if value}
    wanted = Wanted(schema.console_audit, where=where, newest_by=("at",))
    pager = turn(question, count_rows(engine, wanted), MOST, *PATH, **asked)
    rows = tuple(_row(row) for row in records(read_page(engine, wanted, pager.first, MOST)))
    return Page(
        title="Audit log",
        here="settings",
        headline=_headline(pager, is_chosen=bool(where)),
        day=None,
        paragraphs=(INTRO, Inner("All settings", "settings")),
        panels=(Panel(_section(rows), ("console_audit",), None),),
        is_dated=False,
        template="settings_audit.html.j2",
        extra={
            "pager": pager,
            "asked": asked,
            "kinds": tuple(KINDS.items()),
            "outcomes": tuple((name, name) for name in OUTCOMES),
        },
    )


def _headline(pager: Pager, *, is_chosen: bool) -> str:
    told = f"{number(pager.total)} {'row' if pager.total == 1 else 'rows'} of the audit log"
    return f"{told} {'is' if pager.total == 1 else 'are'} like that" if is_chosen else told


def _section(rows: tuple[tuple[str, ...], ...]) -> Section:
    if not rows:
        return Section("audit", "Who did what", ("There is no such row.",))
    return Section("audit", "Who did what", tables=(Table(COLUMNS, rows, fold="never"),))


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    version = console_audit.recorded_version(row)
    return (
        f"{row['at']:%Y-%m-%d %H:%M:%S}",
        _who(row["author"]),
        clean(row["remote"], 80),
        _asked_for(row),
        row["outcome"],
        "" if version is None else Inner(str(version), "settings", "versions", str(version)),
        clean(row["detail"], console_audit.LONGEST),
    )


def _who(author: str) -> str:
    """The name, leading to everything that they did."""
    if not author:
        return "nobody"
    words = clean(author, 80)
    return Inner(words, *PATH, person=author) if len(author) <= LONGEST else words


def _asked_for(row: Mapping[str, Any]) -> str:
    told = KINDS.get(row["action"], clean(row["action"], 80))
    is_of_something = row["subject"] and row["action"] != console_audit.LOGIN
    return f"{told}: {clean(row['subject'], console_audit.LONGEST)}" if is_of_something else told
