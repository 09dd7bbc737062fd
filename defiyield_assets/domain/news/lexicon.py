"""The tone of a title by a list of words: a number from -1 to 1, or nothing where no word of the list is in it.

Lives here: counting words. Not here: the words (config/news_lexicon.yaml), votes and hours (sentiment.py).

The sum of the words' values is bounded as VADER does it, x / sqrt(x² + 15) (Hutto and Gilbert 2014), with its weight of
a negation. VADER itself is a list for social media, and its package has not moved since 2020: "bull", "hack" and
"liquidation" mean nothing to it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

NORMALISER = 15.0
NEGATION_SCALE = -0.74
"""VADER's weight of a negated word."""
NEGATION_REACH = 3
"""Words before a word in which a negation turns it."""
MAX_VALUE = 4.0
_TOKEN = re.compile(r"[a-z0-9]+(?:['’][a-z]+)?")
_MOST_TOKENS = 120


@dataclass(frozen=True)
class Lexicon:
    """Words and phrases with their value (-4 to 4), words that negate, words that strengthen or weaken (factors)."""

    words: Mapping[str, float]
    negations: frozenset[str]
    boosters: Mapping[str, float]

    @cached_property
    def _longest(self) -> int:
        return max((len(phrase.split()) for phrase in self.words), default=1)

    def score(self, title: str) -> float | None:
        """Tone of a title, -1 to 1; None: none of its words is listed. A word counts once however often it stands."""
        tokens = tokens_of(title)
        values: dict[str, float] = {}
        for phrase, place in self._found(tokens):
            values.setdefault(phrase, self._value(phrase, tokens[max(0, place - NEGATION_REACH) : place]))
        if not values:
            return None
        total = math.fsum(values.values())
        return total / math.sqrt(total * total + NORMALISER)

    def _found(self, tokens: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Listed phrases with their places, the longest first; a word of a phrase is not counted again."""
        place = 0
        while place < len(tokens):
            for length in range(min(self._longest, len(tokens) - place), 0, -1):
                phrase = " ".join(tokens[place : place + length])
                if phrase in self.words:
                    yield phrase, place
                    place += length
                    break
            else:
                place += 1

    def _value(self, phrase: str, before: Sequence[str]) -> float:
        value = self.words[phrase]
        if before:
            value *= self.boosters.get(before[-1], 1.0)
        is_negated = sum(token in self.negations for token in before) % 2 == 1
        return value * NEGATION_SCALE if is_negated else value


def tokens_of(title: str) -> list[str]:
    """Words of a title in lower case, at most 120."""
    return [token.replace("’", "'") for token in _TOKEN.findall(title.lower())[:_MOST_TOKENS]]
