"""Claims on posts to Slack and on alerts, so that no two runs, and no run after a crash, say a thing twice.

Lives here: the transactions on slack_messages and slack_alerts. Not here: what is said (domain/reporting), sending it
(sources/slack.py), the order of both (orchestration/notifier.py, alerts.py).

A post cannot be part of a transaction. So its row is written first, as `posting`; then it is sent; then the row is
settled. A run that finds a row `posting` which it did not write cannot know whether the message is in the channel, and
never sends it again: after `PATIENCE` the row becomes `unknown`. Only what Slack said no to is sent again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets.store.engine import read_transaction, write_transaction

PATIENCE = timedelta(minutes=15)
"""A post that has been under way for longer was cut off by a crash."""
NOTE = 1_000
"""The part that says, in the thread, that the message was edited."""

Verdict = Literal["post", "edit", "posted", "busy", "unknown"]


@dataclass(frozen=True)
class Letter:
    """One message on its way to one destination; `texts` are its parts in words, `sha256` the fingerprint of all.

    `advice` is the fingerprint of what it tells people to do.
    """

    message_key: str
    destination: str
    day: date
    run_id: str
    sha256: str
    texts: tuple[str, ...]
    advice: str = ""


@dataclass(frozen=True)
class Claim:
    """What the caller has to do with one part.

    `post` or `edit` (the message `channel`, `ts`): it is the caller's alone, who must `settle` it. `posted`: it is
    there, at `ts`. `busy`: another run is posting right now. `unknown`: it may be there and must not be sent again.
    `earlier_text`, `earlier_advice`: what an edited message said before, `is_edit`: it is, or became, an edited one.
    `has_void_lists`: an earlier revision has continuations in the channel that cannot be edited.
    """

    verdict: Verdict
    revision: int = 0
    is_correction: bool = False
    channel: str | None = None
    ts: str | None = None
    earlier_text: str = ""
    earlier_advice: str = ""
    is_edit: bool = False
    has_void_lists: bool = False


def earlier_parts(engine: sa.Engine, letter: Letter) -> int:
    """How many parts the longest revision with other words has that is in the channel: a shorter one takes the rest
    back."""
    table = schema.slack_messages
    with read_transaction(engine, table.name) as connection:
        rows = _rows(connection, letter.message_key, letter.destination)
    there = [row["part"] for row in rows if row["status"] == "posted" and row["part"] < NOTE and row["ts"]]
    return max(there, default=-1) + 1


def claim(engine: sa.Engine, letter: Letter, part: int, now: datetime, *, can_edit: bool) -> Claim:
    """Take one part of the message for the caller, or say why nobody may send it now. One transaction, alone.

    `can_edit`: the destination lets posted messages be edited, so that a new revision replaces the old one.
    """
    table = schema.slack_messages
    with write_transaction(engine, table.name) as connection:
        rows = _rows(connection, letter.message_key, letter.destination)
        for row in rows:
            if row["status"] == "posting" and row["claimed_at"] < now - PATIENCE:
                row["status"] = "unknown"
                _update(connection, row, status="unknown", settled_at=now, answer="the run ended while it was posting")
        newest = max((row["revision"] for row in rows), default=-1)
        is_same = any(row["revision"] == newest and row["sha256"] == letter.sha256 for row in rows)
        revision = newest if is_same else newest + 1
        earlier = [row for row in rows if row["revision"] < revision and row["part"] == part]
        if any(row["status"] == "posting" for row in earlier):
            return Claim("busy", revision)
        mine = next((row for row in rows if (row["revision"], row["part"]) == (revision, part)), None)
        there = [row for row in earlier if row["status"] == "posted" and row["ts"]] if can_edit else []
        is_correction = any(row["revision"] < revision and row["part"] == 0 and _may_be_there(row) for row in rows)
        if mine is not None and not _may_send(mine):
            verdict: Verdict = "busy" if mine["status"] == "posting" else mine["status"]
            before = there[-1] if there else {"text": "", "advice": ""}
            return Claim(
                verdict,
                revision,
                is_correction,
                mine["channel"],
                mine["ts"],
                before["text"],
                before["advice"],
                is_edit=mine["is_edit"],
            )
        place = there[-1] if there else None
        has_void_lists = any(
            row["revision"] < revision
            and 0 < row["part"] < NOTE
            and _may_be_there(row)
            and not (can_edit and row["ts"])
            for row in rows
        )
        values = {
            **_key(letter, revision, part),
            "date": letter.day,
            "run_id": letter.run_id,
            "sha256": letter.sha256,
            "text": letter.texts[part] if part < len(letter.texts) else "",
            "advice": letter.advice,
            "status": "posting",
            "is_edit": place is not None,
            "attempts": 1 if mine is None else mine["attempts"] + 1,
            "channel": place["channel"] if place else None,
            "ts": place["ts"] if place else None,
            "answer": None,
            "claimed_at": now,
            "settled_at": None,
        }
        if mine is None:
            connection.execute(sa.insert(table).values(values))
        else:
            _update(connection, mine, **values)
        if place is None:
            return Claim("post", revision, is_correction, has_void_lists=has_void_lists)
        return Claim(
            "edit",
            revision,
            is_correction,
            place["channel"],
            place["ts"],
            place["text"],
            place["advice"],
            is_edit=True,
            has_void_lists=has_void_lists,
        )


def settle(
    engine: sa.Engine,
    letter: Letter,
    revision: int,
    part: int,
    *,
    status: Literal["posted", "refused", "unknown"],
    now: datetime,
    channel: str | None = None,
    ts: str | None = None,
    answer: str | None = None,
) -> None:
    """Write down what became of a claimed part."""
    values = {"status": status, "channel": channel, "ts": ts, "answer": answer and answer[:2_000], "settled_at": now}
    with write_transaction(engine, schema.slack_messages.name) as connection:
        _update(connection, _key(letter, revision, part), **values)


def forget_place(engine: sa.Engine, message_key: str, destination: str, ts: str) -> None:
    """The message is no longer in the channel: nothing can be edited there, and a correction is a new post."""
    table = schema.slack_messages
    is_it = (table.c.message_key == message_key, table.c.destination == destination, table.c.ts == ts)
    with write_transaction(engine, table.name) as connection:
        connection.execute(sa.update(table).where(*is_it).values(ts=None))


def thread_of(engine: sa.Engine, message_key: str, destination: str) -> str | None:
    """Where replies to a message belong: the newest place of its first part; None when it has none."""
    table = schema.slack_messages
    with read_transaction(engine, table.name) as connection:
        rows = _rows(connection, message_key, destination)
    places = [row["ts"] for row in rows if row["part"] == 0 and row["status"] == "posted" and row["ts"]]
    return places[-1] if places else None


def _may_send(row: Mapping[str, Any]) -> bool:
    """Nothing is there, or saying it again changes nothing."""
    return row["status"] == "refused" or (row["is_edit"] and row["status"] in ("unknown", "posting"))


def _may_be_there(row: Mapping[str, Any]) -> bool:
    return row["status"] in ("posting", "posted", "unknown")


def _key(letter: Letter, revision: int, part: int) -> dict[str, Any]:
    return {
        "message_key": letter.message_key,
        "destination": letter.destination,
        "revision": revision,
        "part": part,
    }


def _rows(connection: sa.Connection, message_key: str, destination: str) -> list[dict[str, Any]]:
    table = schema.slack_messages
    found = sa.select(table).where(table.c.message_key == message_key, table.c.destination == destination)
    ordered = found.order_by(table.c.revision, table.c.part)
    return [dict(row) for row in connection.execute(ordered).mappings()]


def _update(connection: sa.Connection, row: Mapping[str, Any], **values: Any) -> None:
    table = schema.slack_messages
    names = ("message_key", "destination", "revision", "part")
    connection.execute(sa.update(table).where(*(table.c[name] == row[name] for name in names)).values(**values))


# --- alerts --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Failure:
    """A step that failed in a run; `day` and `through` are its partitions."""

    asset: str
    day: date
    through: date
    is_partitioned: bool
    reason: str
    failed_at: datetime


Alert = Mapping[str, Any]
"""A row of slack_alerts."""


def open_alerts(engine: sa.Engine, failures: Sequence[Failure], job: str, run_id: str, followed: timedelta) -> int:
    """Write down the failures of a run and return how many are news: a step of a day that is known to fail is not.

    What has been known for longer than `followed` is news again: nobody looks after it any more.
    The same run is written down once, however often it is told; one that failed before the step recovered is no news.
    """
    table = schema.slack_alerts
    with write_transaction(engine, table.name) as connection:
        n_new = 0
        for failure in failures:
            is_it = (table.c.asset == failure.asset, table.c.date == failure.day)
            rows = [dict(row) for row in connection.execute(sa.select(table).where(*is_it)).mappings()]
            last = max(rows, key=lambda row: int(row["episode"]), default=None)
            if any(row["run_id"] == run_id for row in rows):
                continue
            is_open = last is not None and last["recovered_at"] is None
            if last is not None and is_open and failure.failed_at - last["failed_at"] <= followed:
                again = sa.update(table).where(*is_it, table.c.episode == last["episode"])
                connection.execute(again.values(repeats=table.c.repeats + 1))
                continue
            if last is not None and not is_open and failure.failed_at <= last["recovered_at"]:
                continue
            connection.execute(
                sa.insert(table).values(
                    asset=failure.asset,
                    date=failure.day,
                    episode=0 if last is None else last["episode"] + 1,
                    through=failure.through,
                    is_partitioned=failure.is_partitioned,
                    job=job,
                    run_id=run_id,
                    reason=failure.reason,
                    failed_at=failure.failed_at,
                    repeats=0,
                    is_told=False,
                    recovered_at=None,
                    noticed_at=None,
                    is_recovery_told=False,
                    recovery_key=None,
                )
            )
            n_new += 1
    return n_new


def alerts_of_run(engine: sa.Engine, run_id: str) -> list[Alert]:
    """The failures that this run was the first to have."""
    return _alerts(engine, schema.slack_alerts.c.run_id == run_id)


def alerts_of_recovery(engine: sa.Engine, recovery_key: str) -> list[Alert]:
    """The failures whose recovery that message tells of."""
    return _alerts(engine, schema.slack_alerts.c.recovery_key == recovery_key)


def open_since(engine: sa.Engine, first: datetime) -> list[Alert]:
    """Failures not older than `first` whose step has not recovered."""
    table = schema.slack_alerts
    return _alerts(engine, table.c.recovered_at.is_(None), table.c.failed_at >= first)


def untold_since(engine: sa.Engine, first: datetime) -> list[Alert]:
    """Failures not older than `first` that were claimed and not posted: Slack said no, or the run of the sensor
    ended."""
    table = schema.slack_alerts
    return _alerts(engine, table.c.is_told.is_(False), table.c.failed_at >= first)


def untold_recoveries_since(engine: sa.Engine, first: datetime) -> list[Alert]:
    """Recoveries noticed not before `first` that were claimed and not posted."""
    table = schema.slack_alerts
    is_late = table.c.noticed_at.is_not(None) & (table.c.noticed_at >= first)
    return _alerts(engine, is_late, table.c.is_recovery_told.is_(False))


def recover(
    engine: sa.Engine, recovered: Mapping[tuple[str, date, int], datetime], recovery_key: str, now: datetime
) -> int:
    """Close these alerts (asset, day, episode), made at the instants given and noticed `now`, by one message; returns
    how many were still open."""
    table = schema.slack_alerts
    with write_transaction(engine, table.name) as connection:
        n_closed = 0
        for (asset, day, episode), made_at in sorted(recovered.items()):
            is_it = (table.c.asset == asset, table.c.date == day, table.c.episode == episode)
            closing = sa.update(table).where(*is_it, table.c.recovered_at.is_(None))
            values = {"recovered_at": made_at, "noticed_at": now, "recovery_key": recovery_key}
            n_closed += connection.execute(closing.values(**values)).rowcount
    return n_closed


def mark_told(engine: sa.Engine, run_id: str) -> None:
    """The failures of the run were posted."""
    _mark(engine, schema.slack_alerts.c.run_id == run_id, is_told=True)


def mark_recovery_told(engine: sa.Engine, recovery_key: str) -> None:
    """The recoveries of that message were posted."""
    _mark(engine, schema.slack_alerts.c.recovery_key == recovery_key, is_recovery_told=True)


def _mark(engine: sa.Engine, where: sa.ColumnElement[bool], **values: bool) -> None:
    with write_transaction(engine, schema.slack_alerts.name) as connection:
        connection.execute(sa.update(schema.slack_alerts).where(where).values(**values))


def _alerts(engine: sa.Engine, *where: sa.ColumnElement[bool]) -> list[Alert]:
    table = schema.slack_alerts
    ordered = sa.select(table).where(*where).order_by(table.c.date, table.c.asset, table.c.episode)
    with read_transaction(engine, table.name) as connection:
        return [dict(row) for row in connection.execute(ordered).mappings()]
