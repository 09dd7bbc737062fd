"""Which answer about a bar is followed where a model gave several: the first one, since that is what was signalled.

Lives here: putting new rows of `ai_signals` beside those that are there. Not here: asking (orchestration), writing
(store/signals.py).

A question changes when news are read back, bars are restated or weights are pulled anew. The answer to the new question
is kept beside the old one; a backtest of what was signalled goes on following what was signalled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Row = Mapping[str, Any]
UNAVAILABLE: Final = "unavailable"


@dataclass(frozen=True)
class Settled:
    """Rows of a slice as they are to be; `n_kept`: bars whose answer stays where the host did not answer now,
    `n_beside`: new answers that are stored and not followed.
    """

    rows: tuple[Row, ...]
    n_kept: int
    n_beside: int


def settled(stored: Sequence[Row], made: Sequence[Row], *, is_again: bool = False) -> Settled:
    """The rows of one model: all stored answers, and those that were made now.

    Of each bar one row is followed: the stored one that is, else the new one; with `is_again` the new one. A row that
    is `unavailable` answers nothing: it gives way to any answer and takes none's place.
    """
    bars: dict[tuple[Any, Any], dict[str, Row]] = {}
    for row in stored:
        bars.setdefault(_bar(row), {})[str(row["prompt_hash"])] = row
    n_kept = n_beside = 0
    for row in made:
        there = bars.setdefault(_bar(row), {})
        answers = {name: one for name, one in there.items() if one["status"] != UNAVAILABLE}
        if row["status"] == UNAVAILABLE:
            n_kept += bool(answers)
            bars[_bar(row)] = answers or {str(row["prompt_hash"]): {**row, "is_followed": True}}
            continue
        name = str(row["prompt_hash"])
        answers.setdefault(name, {**row, "is_followed": False})
        followed = next((other for other, one in answers.items() if one["is_followed"]), name)
        followed = name if is_again else followed
        n_beside += followed != name
        bars[_bar(row)] = {other: {**one, "is_followed": other == followed} for other, one in answers.items()}
    return Settled(tuple(row for of_bar in bars.values() for row in of_bar.values()), n_kept, n_beside)


def _bar(row: Row) -> tuple[Any, Any]:
    return row["instrument_id"], row["bar_ts"]
