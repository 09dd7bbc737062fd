"""The clock of a server that speaks for the vendors (`defiyield simulator serve --day D` stands still at D+1 00:30).

Lives here: asking it. Not here: the server (simulator/server.py) or who goes by its clock (resources.py).
"""

import time
from datetime import UTC, datetime
from functools import lru_cache

import httpx

_ASK_AGAIN_SECONDS = 10.0
_PATIENCE_SECONDS = 5.0


def served_present(server: str | None) -> datetime | None:
    """The instant at which that server's day stands still; None without a server, and when its clock runs as ours.

    A server that is not one of ours, or not there, has no clock to tell: None, and the vendors' requests say the rest.
    """
    if server is None:
        return None
    return _told(server.rstrip("/"), int(time.monotonic() // _ASK_AGAIN_SECONDS))


@lru_cache(maxsize=8)
def _told(server: str, _tick: int) -> datetime | None:
    try:
        with httpx.Client(trust_env=False, timeout=_PATIENCE_SECONDS) as client:
            about = client.get(f"{server}/").raise_for_status().json()
        return datetime.fromisoformat(about["now"]).astimezone(UTC) if about["is_fixed"] else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None


def forget() -> None:
    """Ask again at once: the server was moved to another day."""
    _told.cache_clear()
