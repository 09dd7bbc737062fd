"""What happens when an asset fails or is degraded: typed, recorded, shown; never swallowed.

Lives here: turning errors into Dagster failures and rows of `asset_outcomes`. Not here: the errors (errors.py) or
retries (policies.py).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pandas as pd
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import DefiYieldError, NotRecoverable, TransientError, VendorError
from defiyield_assets.store import schema, writes


def record_outcome(
    engine: Engine,
    asset: str,
    days: DayRange,
    status: str | None,
    *,
    error_class: str = "",
    reason: str = "",
    is_recoverable: bool = True,
) -> None:
    """Replace the asset's outcome of these days; status None clears it."""
    days_hit = list(days) if status else []
    frame = pd.DataFrame(
        [
            {
                "date": day,
                "asset": asset,
                "status": status,
                "error_class": error_class,
                "reason": reason[:2000],
                "is_recoverable": is_recoverable,
            }
            for day in days_hit
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


@contextmanager
def outcomes(engine: Engine | None, asset: str, days: DayRange, log: logging.Logger) -> Iterator[None]:
    """Record a failure of the block as the asset's outcome and raise it as Dagster understands it.

    Permanent errors become `Failure(allow_retries=False)`; transient ones are raised as they are, so that the asset's
    retry policy applies. A clean end leaves the outcome to the caller.
    """
    try:
        yield
    except DefiYieldError as error:
        _record(engine, asset, days, error, log)
        if isinstance(error, TransientError):
            raise
        raise dg.Failure(str(error), metadata=failure_metadata(error), allow_retries=False) from error
    except Exception as error:
        _record(engine, asset, days, error, log)
        raise


def _record(engine: Engine | None, asset: str, days: DayRange, error: Exception, log: logging.Logger) -> None:
    """Keep the failure; when even the warehouse fails, say so in the log and let the first error go on."""
    if engine is None:
        return
    lost = set(error.days) if isinstance(error, NotRecoverable) else set()
    try:
        for day in days:
            record_outcome(
                engine,
                asset,
                DayRange.of(day),
                "failed",
                error_class=type(error).__name__,
                reason=str(error),
                is_recoverable=day not in lost,
            )
    except (SQLAlchemyError, DefiYieldError, OSError):
        log.exception("could not record the failure of %s", asset)
