"""How vendors of prices are asked, and what of their answers is kept: the same for every vendor.

Lives here: whom to ask of which days, answers that lost too many, rows that stay. Not here: the vendors' assets
(assets/prices.py, assets/shares.py), curated bars (bars.py).
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
from sqlalchemy import Engine, Table

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.prices.instruments import STABLECOINS
from defiyield_assets.errors import SuspiciousDataError, VendorEmpty
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.sources.transport import Fetched
from defiyield_assets.store import reads, writes

BOOTSTRAP_DAYS = 31
"""Days of bars before a token's first day, so that the icebox can be bootstrapped."""
HISTORY_DAYS = 400
"""Days of bars before the first day of an instrument of the market part: a year's window of features, and its edge."""
MAX_SILENT_SHARE = 0.05
"""More instruments than this that were told last week and are not told now fail the source (market.md); one alone does
not: that is a gap of its own, and named by the check of gaps."""


@dataclass(frozen=True)
class Question:
    """Instruments that are asked for together, and of which days."""

    instruments: pd.DataFrame
    days: DayRange


def listed_in(instruments: pd.DataFrame, days: DayRange) -> pd.DataFrame:
    """The configured instruments that are listed on some day of the range."""
    starts = instruments["listed_at"].map(lambda first: not isinstance(first, date) or first <= days.end)
    ends = instruments["delisted_at"].map(lambda end: not isinstance(end, date) or end > days.start)
    kept = instruments[starts.astype(bool) & ends.astype(bool) & instruments["is_configured"].astype(bool)]
    return kept.reset_index(drop=True)


def questions_of(engine: Engine, table: Table, listed: pd.DataFrame, days: DayRange, history: int) -> list[Question]:
    """What a vendor is asked: of instruments it told before the run's days, of others their history as well.

    Seen is what an earlier run was told of (or has a row older than that history), so that a day asks the same when it
    runs again. `history`: days for instruments of the market part; tokens get a month.
    """
    is_token = listed["universe"] == STABLECOINS
    oldest = {True: days.start - timedelta(days=BOOTSTRAP_DAYS + 1), False: days.start - timedelta(days=history + 1)}
    found, unseen = [], []
    for kind, span in ((True, BOOTSTRAP_DAYS), (False, history)):
        part = listed[is_token == kind]
        seen = reads.seen_instruments(engine, table, end_of(days.start), oldest[kind]) if len(part) else set()
        found.append(part[part["instrument_id"].isin(seen)])
        new = part[~part["instrument_id"].isin(seen)]
        unseen += [Question(new.reset_index(drop=True), days.back(span))] if len(new) else []
    known = pd.concat(found, ignore_index=True)
    return ([Question(known, days)] if len(known) else []) + unseen


def require_enough(engine: Engine, table: Table, asked: Iterable[str], told: Collection[str], days: DayRange) -> None:
    """Refuse an answer that lost more than 5 % of the instruments that the vendor told of in the week before.

    What it never told of is unknown to it, and stays named among the missing.
    """
    week = reads.instrument_spans(engine, table, days.start - timedelta(days=1))
    expected = {name for name in asked if name in week and week[name].end >= days.back(7).start}
    silent = sorted(expected - set(told))
    if len(silent) > max(1.0, MAX_SILENT_SHARE * len(expected)):
        raise SuspiciousDataError(
            f"{len(silent)} of {len(expected)} instruments that {table.name} told last week are not told now, more "
            f"than {MAX_SILENT_SHARE:.0%}: {', '.join(silent[:5])}; nothing was written"
        )


async def together(
    questions: Sequence[Question], ask: Callable[[Question], Awaitable[Fetched[pd.DataFrame]]]
) -> list[Fetched[pd.DataFrame]]:
    """The answers to all questions; one without any row counts as told of nothing while another tells something."""
    answers: list[Fetched[pd.DataFrame]] = []
    empty: VendorEmpty | None = None
    for question in questions:
        try:
            answers.append(await ask(question))
        except VendorEmpty as error:
            empty = error
    if empty is not None and not any(len(answer.rows) for answer in answers):
        raise empty
    return answers


def joined(answers: Sequence[Fetched[pd.DataFrame]]) -> pd.DataFrame:
    """Rows of all answers with their stamps."""
    parts = [answer.rows.assign(fetched_at=answer.fetched_at) for answer in answers if len(answer.rows)]
    return pd.concat(parts, ignore_index=True) if parts else answers[0].rows.assign(fetched_at=answers[0].fetched_at)


def columns_of(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _richer(stored: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """The rows told now; a stored row stays where none is told, or where it is a full bar and only a close is told."""
    filled = [part for part in (told, stored) if not part.empty]
    if not filled:
        return told
    rows = pd.concat(filled, ignore_index=True)
    is_full = rows[[name for name in ("open", "high", "low") if name in rows]].notna().all(axis=1)
    rows = pd.concat([part for part in (rows[is_full], rows[~is_full]) if not part.empty])
    return rows.drop_duplicates(["instrument_id", "interval", "ts"], ignore_index=True)


def keep(
    warehouse: WarehouseResource, table: Table, frame: pd.DataFrame, days: DayRange, asked: Iterable[str]
) -> writes.WriteReceipt:
    """Replace the run's days by what is told of them; days before them are only added where nothing is there yet.

    A source tells less of a day the longer ago it is: of the instruments asked for, what it told better before stays;
    of others, as of one that no file names any more, everything does.
    """
    inside, where = frame["date"].isin(set(days)), {"instrument_id": sorted(set(asked))}
    writes.insert_missing(warehouse.engine, table, frame[~inside].reset_index(drop=True))
    stored = reads.read_days(warehouse.engine, table, days, where)
    told = _richer(stored, frame[inside].reset_index(drop=True))
    return writes.replace_slice(warehouse.engine, table, told, days, where)
