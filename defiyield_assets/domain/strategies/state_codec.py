"""A state as text and back, so that paper trading carries it from one day to the next.

Lives here: the two directions. Not here: the state (state.py), where the text is kept (store).
"""

import json
from dataclasses import asdict
from functools import lru_cache
from math import isnan
from typing import Any

from pydantic import TypeAdapter, ValidationError

from defiyield_assets.domain.strategies.state import State
from defiyield_assets.errors import SuspiciousDataError

NOT_KNOWN = "NaN"
"""How an unknown number is written: JSON has none."""


def state_text(state: State) -> str:
    """The state as JSON; floats are written so that they are read back to the bit."""
    return json.dumps(_written(asdict(state)), separators=(",", ":"), allow_nan=False)


def state_of(text: str) -> State:
    """The state of `state_text`; SuspiciousDataError for any other text."""
    try:
        return _adapter().validate_python(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise SuspiciousDataError(f"paper_portfolio holds no state of the engine: {error}") from error


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[State]:
    return TypeAdapter(State)


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _written(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_written(inner) for inner in value]
    return NOT_KNOWN if isinstance(value, float) and isnan(value) else value
