"""Where a fact came from: the record of one vendor request.

Lives here: the types that the transport fills and the archive keeps. Not here: fetching (sources) or storing
(store/archive.py).
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

LARGEST_BODY_BYTES = 256 * 1024 * 1024
"""No answer of a vendor is kept, or read from the archive, beyond it; real ones have 15 MiB."""


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
    earlier_sha256: str | None = None


@dataclass(frozen=True)
class ArchivedAnswer:
    """A body that the archive holds, with the stamp under which it was fetched."""

    fetched_at: datetime
    status: int
    body: bytes


@dataclass(frozen=True)
class ArchivedFailure:
    """How the last request of a partition ended that never got a usable answer."""

    fetched_at: datetime
    status: int | None
    error_class: str
    error_message: str


class Archive(Protocol):
    """What the transport needs of the archive; store/archive.py implements it. Called from one thread at a time."""

    def record(self, fetch: FetchRecord, body: bytes | None, fetch_id: int | None = None) -> int:
        """Keep a request and, when there is one, its body (deduplicated by SHA-256, append-only); returns its number.

        With `fetch_id` the request is one that was recorded before and tried again: its row changes, the bodies of
        earlier attempts stay.
        """

    def settle(self, fetch_id: int, fetch: FetchRecord) -> None:
        """Write down how a recorded request ended."""

    def find(
        self,
        vendor: str,
        endpoint: str,
        params_hash: str,
        not_before: datetime,
        not_after: datetime,
        *,
        earliest: bool = False,
        skip: int = 0,
    ) -> ArchivedAnswer | None:
        """The newest (or `earliest`) successful answer to that request fetched inside the window, or None.

        `skip` passes over that many of them.
        """

    def of_partition(
        self, vendor: str, endpoint: str, params_hash: str, day: date, *, not_before: datetime, not_after: datetime
    ) -> ArchivedAnswer | ArchivedFailure | None:
        """What partition `day` got for that request inside the window: its last answer, else its last failure."""

    def newest_stamp(self, day: date) -> datetime | None:
        """When partition `day` was answered last, or None when it never asked."""
