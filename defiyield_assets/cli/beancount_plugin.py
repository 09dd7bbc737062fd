"""What an exported file asks of beancount when its numbers are longer than beancount's own precision.

Lives here: a beancount plugin that any `bean-check` or Fava beside this package loads by name. Not here: the export
(domain/ledger/beancount.py). Beancount computes with the 28 digits that Python's decimals have by default and rounds
negative numbers already while it reads them, so the exact ones stand beside them as metadata. Nothing of beancount is
imported.
"""

import decimal
from collections.abc import Mapping, Sequence
from typing import Any

from defiyield_assets.domain.ledger.beancount import EXACT_KEY

__plugins__ = ("compute_exactly",)

PRECISION = 400
"""Digits: a million amounts of 256 bits have 84 before the point, and a token has at most 255 decimals behind it."""


def compute_exactly(entries: Sequence[Any], _options: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Give beancount the precision it needs, and each posting the number that its metadata states."""
    for context in (decimal.getcontext(), decimal.DefaultContext):
        context.prec = PRECISION
    return [_exact(entry) for entry in entries], []


def _exact(entry: Any) -> Any:
    postings = getattr(entry, "postings", None)
    if not postings or not any(EXACT_KEY in (posting.meta or {}) for posting in postings):
        return entry
    return entry._replace(postings=[_stated(posting) for posting in postings])


def _stated(posting: Any) -> Any:
    stated = (posting.meta or {}).get(EXACT_KEY)
    return posting if stated is None else posting._replace(units=posting.units._replace(number=decimal.Decimal(stated)))
