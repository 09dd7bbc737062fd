"""Addresses of databases and services as anybody may see them, and whether one can be read.

Lives here: what of an address may be a secret. Not here: which settings are addresses (settings.py), or secrets in
messages of vendors (sources/redaction).
"""

from urllib.parse import urlsplit, urlunsplit

HIDDEN = "set, hidden"
DATABASE_EXAMPLES = "sqlite:////path/to/warehouse.db or postgresql+psycopg://user:password@host/database"


def without_secrets(text: str) -> str:
    """An address without user, password, query and fragment: any of them may hold a secret."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return HIDDEN
    if not parts.scheme or not (host or parts.path):
        return HIDDEN
    if not parts.netloc:  # a file: urlunsplit would lose slashes
        return f"{parts.scheme}://{parts.path}"
    user = "***@" if "@" in parts.netloc else ""
    query = "***" if parts.query else ""
    return urlunsplit((parts.scheme, f"{user}{host}{port}", parts.path, query, ""))


def is_without_secrets(text: str) -> bool:
    """Whether nothing of the address has to be hidden: no user, no password, no query and no fragment."""
    return without_secrets(text) == text


def is_database_url(text: str) -> bool:
    """Whether SQLAlchemy can read the address; which database it names is the warehouse's affair."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(text)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        return False
    return True
