"""Where a fact came from: the record of one vendor request.

Lives here: the types that the transport fills and the archive keeps. Not here: fetching (sources) or storing
(store/archive.py).
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol


@dataclass(frozen=True)
class FetchRecord:
    """One request and how it ended; never holds a key. One row of `raw_fetches`."""

    vendor: str
    endpoint: str
    params_hash: str
    params_json: str
    fetched_at: datetime
    partition_date: date | None
    status: int | None
    attempts: int
    waited_seconds: float
    bytes: int
    rows: int | None
    error_class: str | None
    error_message: str | None
    sha256: str | None


@dataclass(frozen=True)
class ArchivedAnswer:
    """A body that the archive holds, with the stamp under which it was fetched."""

    fetched_at: datetime
    status: int
    body: bytes


class Archive(Protocol):
    """What the transport needs of the archive; store/archive.py implements it."""

    def record(self, fetch: FetchRecord, body: bytes | None) -> None:
        """Keep one request and, when there was one, its body (deduplicated by SHA-256, append-only)."""

    def find(
        self, vendor: str, endpoint: str, params_hash: str, not_before: datetime, not_after: datetime
    ) -> ArchivedAnswer | None:
        """The newest successful answer to that request fetched inside the window, or None."""
