"""Blocks of the simulated chain: numbers, times and hashes that depend on nothing but the clock of the chain.

Lives here: the slot arithmetic. Not here: transactions (chain_records.py) or their storage (chain_store.py).
"""

import hashlib
from datetime import UTC, datetime

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""A midnight, so that every UTC midnight opens a block."""
FIRST_BLOCK = 10_000_000
SLOT_SECONDS = 12


def block_at(instant: datetime) -> int:
    """Number of the newest block whose time is not after the instant (aware UTC, not before the epoch)."""
    return FIRST_BLOCK + int((instant - EPOCH).total_seconds()) // SLOT_SECONDS


def block_hash(number: int) -> str:
    """Hash of a block, 0x and 64 hexadecimal digits."""
    return "0x" + hashlib.sha256(f"block:{number}".encode()).hexdigest()
