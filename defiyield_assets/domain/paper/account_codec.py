"""An exchange's account as text and back, so that paper trading carries it from one day to the next, to the digit.

Lives here: the two directions. Not here: accounts (exchange.py), the engine's state (domain/strategies/state_codec.py),
where the text is kept (store).
"""

import json
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from defiyield_assets.domain.paper.exchange import Account
from defiyield_assets.errors import SuspiciousDataError


def account_text(account: Account) -> str:
    """The account as JSON with decimals as text."""
    return json.dumps(asdict(account), separators=(",", ":"), sort_keys=True, default=_written, allow_nan=False)


def account_of(text: str) -> Account:
    """The account of `account_text`; SuspiciousDataError for any other text."""
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise SuspiciousDataError(f"paper_portfolio holds no account of the exchange: {error}") from error


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Account]:
    return TypeAdapter(Account)


def _written(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"an account holds no {type(value).__name__}")
