"""One spelling for stored JSON and for content hashes, so that equal content is equal bytes.

Lives here: canonical JSON text and its hash. Not here: database types (store/schema).
"""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def _encode(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys, no spaces and no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_encode, allow_nan=False)


def content_hash(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def stable_address(kind: str, name: str) -> str:
    """A made-up 20-byte address that depends only on its kind and name (simulated contracts and wallets)."""
    return "0x" + hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:40]
