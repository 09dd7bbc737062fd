"""All pools of a day as columns, so that thousands are searched, filtered and sorted while a reader waits.

Lives here: the columns, which rows a reader wants and in which order. Not here: reading them (pool_day.py), what an
address asks for and what the page says (pages/pools.py).
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.object_]
PLANNED, ELIGIBLE, PASSED, REFUSED = "plan", "eligible", "passed", "refused"
VERDICTS: Mapping[str, str] = {
    PLANNED: "in the plan",
    ELIGIBLE: "eligible",
    PASSED: "passed the pre-filter",
    REFUSED: "refused",
}
"""How far a pool came, the furthest first."""
KEPT_WORDS = 100
"""Words of which the rows are kept, a byte for each pool."""
ADDRESS = re.compile("0x[0-9a-f]{40}")
"""A whole address of a token, in small letters: no part of one finds anything."""
TEXTS = ("name", "protocol", "chain")
"""Columns that are in the order of their letters; all others are in the order of their numbers."""


@dataclass(frozen=True)
class Wanted:
    """What a reader looks for; "" and None ask for nothing. Rates are fractions."""

    words: tuple[str, ...] = ()
    verdict: str = ""
    protocol: str = ""
    chain: str = ""
    pool_group: int | None = None
    code: str = ""
    least_apy: float | None = None
    most_apy: float | None = None
    least_size_usd: float | None = None
    is_held: bool = False


@dataclass(frozen=True)
class PoolTable:
    """One row per pool, in the order that decides where a sorted column is equal.

    `texts` has TEXTS, fit for print. `figures` are float64, NaN where unknown; `flags` has is_prefiltered, is_eligible,
    is_planned, is_refused (by any filter), is_held, is_followed (its history is fetched), is_stale (the vendor's own
    row was older than a day) and is_implausible (no pool can pay the APY of the day). `codes` are the reasons and
    doubts of the last filter that judged the pool, comma separated; `underlyings` the symbols of its tokens; `tokens`
    their addresses, lower case, as a JSON list.
    """

    pool_id: Words
    texts: Mapping[str, Words]
    figures: Mapping[str, Numbers]
    flags: Mapping[str, Flags]
    codes: Words
    underlyings: Words
    tokens: Words
    _orders: dict[tuple[str, bool], Rows] = field(default_factory=dict, repr=False, compare=False)
    _choices: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)
    _found: OrderedDict[str, Flags] = field(default_factory=OrderedDict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.pool_id)

    @cached_property
    def haystack(self) -> list[str]:
        """What words are looked for in: names and id of each pool."""
        told = zip(*self.texts.values(), self.underlyings, self.pool_id, strict=True)
        return ["\n".join(words).lower() for words in told]

    def rows(self, wanted: Wanted, column: str, *, is_descending: bool = False) -> Rows:
        """Places of the rows that match, sorted by a column, unknown values last whichever way it goes."""
        order = self._order(column, is_descending=is_descending)
        return order[self._matches(wanted)[order]]

    def verdicts(self) -> list[tuple[str, int]]:
        """How many pools each choice of a verdict finds."""
        return [(name, int(self._with_verdict(name).sum())) for name in VERDICTS]

    def verdict(self, row: int) -> str:
        """How far one pool came."""
        return list(VERDICTS)[int(self.figures["verdict"][row])]

    def choices(self, name: str) -> list[str]:
        """The different texts of a column, in order."""
        if name not in self._choices:
            self._choices[name] = sorted(set(self.texts[name]), key=str.lower)
        return self._choices[name]

    def _matches(self, wanted: Wanted) -> Flags:
        """Which rows match; a comparison with an unknown figure is false."""
        found = self._with_verdict(wanted.verdict) if wanted.verdict else np.ones(len(self), np.bool_)
        if wanted.is_held:
            found = found & self.flags["is_held"]
        for name, text in (("protocol", wanted.protocol), ("chain", wanted.chain)):
            if text:
                found = found & np.asarray(self.texts[name] == text, np.bool_)
        if wanted.code:
            found = found & self._with_code(wanted.code)
        if wanted.pool_group is not None:
            found = found & (self.figures["pool_group"] == wanted.pool_group)
        if wanted.least_apy is not None:
            found = found & (self.figures["apy"] >= wanted.least_apy)
        if wanted.most_apy is not None:
            found = found & (self.figures["apy"] <= wanted.most_apy)
        if wanted.least_size_usd is not None:
            found = found & (self.figures["size_usd"] >= wanted.least_size_usd)
        return self._with_words(found, wanted.words) if wanted.words else found

    def _with_verdict(self, verdict: str) -> Flags:
        """A pool of the plan is found as eligible too, where it is; what we hold may be both planned and refused."""
        of_verdict = {
            PLANNED: "is_planned",
            ELIGIBLE: "is_eligible",
            PASSED: "is_prefiltered",
            REFUSED: "is_refused",
        }
        return self.flags[of_verdict[verdict]]

    def _with_code(self, code: str) -> Flags:
        has_code = {told: code in told.split(",") for told in set(self.codes)}
        return np.fromiter((has_code[told] for told in self.codes), np.bool_, len(self))

    def _with_words(self, among: Flags, words: Sequence[str]) -> Flags:
        """Of some rows those in which every word stands, whatever its case."""
        for word in {word.lower() for word in words}:
            among = among & self._with_word(word)
        return among

    def _with_word(self, word: str) -> Flags:
        """All rows in which it stands, or whose tokens have it for their address; kept, since who found something goes
        on to its next page or sorts it anew."""
        found = self._found.pop(word, None)
        if found is None:
            found = np.fromiter((word in told for told in self.haystack), np.bool_, len(self))
            if ADDRESS.fullmatch(word):
                found |= np.fromiter((f'"{word}"' in told for told in self.tokens), np.bool_, len(self))
        self._found[word] = found  # the last one, wherever it was before
        while len(self._found) > KEPT_WORDS:
            self._found.popitem(last=False)
        return found

    def _order(self, column: str, *, is_descending: bool) -> Rows:
        """All rows in the order of a column, made once."""
        key = (column, is_descending)
        if key not in self._orders:
            values = ranks(self.texts[column]) if column in TEXTS else self.figures[column]
            # NaN is last either way; equal values stay in the table's own order
            self._orders[key] = np.argsort(-values if is_descending else values, kind="stable")
        return self._orders[key]


def ranks(texts: Words) -> Numbers:
    """The place of each text among the different ones, whatever its case."""
    lowered: list[Any] = [str(text).lower() for text in texts]
    place = {text: float(number) for number, text in enumerate(sorted(set(lowered)))}
    return np.fromiter((place[text] for text in lowered), np.float64, len(lowered))
