"""What happens when an asset fails or is degraded: typed, recorded, shown; never swallowed.

Lives here: turning errors into Dagster failures and rows of `asset_outcomes`. Not here: the errors (errors.py) or
retries (policies.py).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date

import dagster as dg
import pandas as pd
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.outcomes import LEDGER_NOT_READ, UPSTREAM_NOT_RECOVERABLE, dependants, rests_on, roots
from defiyield_assets.errors import DefiYieldError, NotRecoverable, TransientError, VendorError
from defiyield_assets.orchestration.degradation import parents_of_steps
from defiyield_assets.orchestration.instrument_types import OF_EXCHANGES, outcomes_of_part
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import Readable


@dataclass(frozen=True)
class Outcome:
    """Why an asset of a day is not whole: a row of `asset_outcomes`."""

    status: str
    error_class: str
    reason: str
    is_recoverable: bool = True


def record_outcomes(engine: Engine, asset: str, days: DayRange, outcomes_of: Mapping[date, Outcome]) -> None:
    """Replace the asset's outcomes of these days; a day that is not named is clean."""
    frame = pd.DataFrame(
        [
            {"date": day, "asset": asset, **asdict(outcome), "reason": outcome.reason[:2000]}
            for day, outcome in outcomes_of.items()
        ],
        columns=[column.name for column in schema.asset_outcomes.columns],
    )
    writes.replace_slice(engine, schema.asset_outcomes, frame, days, where={"asset": asset})


def failure_metadata(error: DefiYieldError) -> dict[str, str | int]:
    """What the Dagster UI shows beside the error: its class and, for vendors, the request without secrets."""
    facts: dict[str, str | int] = {"error_class": type(error).__name__}
    if isinstance(error, VendorError):
        facts["vendor"] = error.vendor
        facts["endpoint"] = error.endpoint
        if error.status is not None:
            facts["http_status"] = error.status
    return facts


def innermost_error(event: dg.DagsterEvent) -> str:
    """The innermost error of a failed step, in one line."""
    error = event.step_failure_data.error
    if error is None:
        return event.message or ""
    while error.cause is not None:
        error = error.cause
    user = event.step_failure_data.user_failure_data
    text = user.description if user is not None and user.description else error.message
    return " ".join(str(text).split())[:400]


@contextmanager
def outcomes(
    engine: Engine | None,
    asset: str,
    days: DayRange,
    log: logging.Logger,
    *,
    parts: Sequence[str] = (),
    is_last_attempt: bool = False,
) -> Iterator[None]:
    """Record a failure of the block as the outcome of the asset, or of these parts of it (instrument_types.py), and
    raise it as Dagster understands it.

    Transient errors are raised as they are, so that the asset's retry policy applies; permanent ones, and transient
    ones of the last attempt, become `Failure(allow_retries=False)` with the request that failed beside it. A clean end
    leaves the outcome to the caller.
    """
    try:
        yield
    except DefiYieldError as error:
        for part in parts or [asset]:
            _record(engine, part, days, error, log)
        if isinstance(error, TransientError) and not is_last_attempt:
            raise
        raise dg.Failure(str(error), metadata=failure_metadata(error), allow_retries=False) from error
    except Exception as error:
        for part in parts or [asset]:
            _record(engine, part, days, error, log)
        raise


def _record(engine: Engine | None, asset: str, days: DayRange, error: Exception, log: logging.Logger) -> None:
    """Keep the failure; when even the warehouse fails, say so in the log and let the first error go on."""
    if engine is None:
        return
    lost = set(error.days) if isinstance(error, NotRecoverable) else set()
    kind, reason = type(error).__name__, str(error)
    try:
        told = {day: Outcome("failed", kind, reason, is_recoverable=day not in lost) for day in days}
        record_outcomes(engine, asset, days, told)
        for day in sorted(lost & set(days)):
            _mark_dependants(engine, asset, day)
    except (SQLAlchemyError, DefiYieldError, OSError):
        log.exception("could not record the failure of %s", asset)


def _mark_dependants(engine: Engine, asset: str, day: date) -> None:
    """Say of everything that rests on a lost day of a source that it will not come either."""
    reason = rests_on([asset], ", which cannot be recovered")
    outcome = Outcome("degraded", UPSTREAM_NOT_RECOVERABLE, reason, is_recoverable=False)
    for step in sorted(dependants(parents_of_steps(), asset)):
        record_outcomes(engine, step, DayRange.of(day), {day: outcome})


def why_ledger_is_unknown(engine: Readable, day: date) -> str | None:
    """Why nobody was asked what our wallets did on the day; None when somebody was. Empty tables then mean nothing."""
    told = reads.read_days(engine, schema.asset_outcomes, DayRange.of(day), where={"error_class": LEDGER_NOT_READ})
    return str(told.iloc[0]["reason"]) if len(told) else None


def degraded_sources_of(engine: Engine, part: str, days: DayRange) -> dict[date, list[str]]:
    """The degraded or failed assets that this one, or part of one, rests on, by day; days without any are left out."""
    told = outcomes_of_part(reads.read_days(engine, schema.asset_outcomes, days), part)
    parents, step = parents_of_steps(), part.removesuffix(OF_EXCHANGES)
    found = {day: roots(told[told["date"] == day], parents, step) for day in sorted(set(told["date"]))}
    return {day: names for day, names in found.items() if names}
