"""Turning the pages of a long table.

Lives here: which rows a page shows, what that is called, where the pages before and after are. Not here: the SQL that
reads a page (store/row_pages.py).
"""

from dataclasses import dataclass

from defiyield_assets.console.layout import address
from defiyield_assets.console.questions import Question, QuestionError

PARAMETER = "page"


@dataclass(frozen=True)
class Pager:
    """A page of a long table: what it shows in words, addresses of its neighbours, "" where there is none."""

    number: int
    first: int
    total: int
    words: str
    before: str
    after: str


def turn(question: Question, total: int, most: int, *path: str, **asked: object) -> Pager:
    """The page that is asked for, of `most` rows out of `total`; `path` and `asked` make the address of the table.

    QuestionError for a page behind the last one.
    """
    last = max(1, -(-total // most))
    number = question.number(PARAMETER, 1)
    if number > last:
        raise QuestionError(f"{PARAMETER} {number:,} is not there: the last one is {last:,}")
    first = (number - 1) * most
    shown = f"{first + 1:,} to {min(first + most, total):,} of {total:,}" if total else "0 of 0"
    return Pager(
        number=number,
        first=first,
        total=total,
        words=f"{shown}, page {number:,} of {last:,}",
        before=address(*path, **asked, **{PARAMETER: number - 1}) if number > 1 else "",
        after=address(*path, **asked, **{PARAMETER: number + 1}) if number < last else "",
    )
