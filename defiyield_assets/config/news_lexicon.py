"""Reading news_lexicon.yaml: words, negations, boosters and the weighing of titles and votes, checked.

Lives here: the file's shape and `load_news_lexicon`. Not here: reading of YAML (reading.py), counting (domain/news).
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from defiyield_assets.config.files import MODELS, Positive, Share, Strict, ZeroUp
from defiyield_assets.config.reading import Source, listed, read_file, validate
from defiyield_assets.domain.news.lexicon import MAX_VALUE, Lexicon, tokens_of
from defiyield_assets.domain.news.sentiment import Weighing
from defiyield_assets.errors import ConfigurationError

NAME = "news_lexicon.yaml"
MOST_WINDOW_HOURS = 24 * 14
Value = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
Words = tuple[Annotated[str, Field(min_length=1, max_length=80)], ...]


class SentimentEntry(Strict):
    """How titles and votes make one number."""

    window_hours: Annotated[int, Field(ge=1, le=MOST_WINDOW_HOURS)] = 24
    half_life_hours: Positive = 6.0
    lexicon_weight: Share = 0.6
    votes_weight: Share = 0.4
    votes_prior: ZeroUp = 5.0


class NewsLexiconFile(Strict):
    """news_lexicon.yaml."""

    sentiment: SentimentEntry = SentimentEntry()
    words: dict[Value, Words]
    negations: Words = ()
    boosters: dict[Value, Words] = Field(default_factory=dict)


MODELS[NAME] = NewsLexiconFile


def load_news_lexicon(folder: Path | None = None) -> tuple[Lexicon, Weighing]:
    """The words and the weighing of the user's file, or of the shipped one.

    ConfigurationError naming file, line and what would be right: a word in two places, a word that no title can hold
    as it is spelled, values beyond -4 and 4, weights that are both zero.
    """
    source = read_file(NAME, folder)
    content: NewsLexiconFile = validate(_with_text_keys(source), TypeAdapter(NewsLexiconFile))
    words, problems = _by_word(content.words, "words", source)
    boosters, others = _by_word(content.boosters, "boosters", source)
    problems += others
    for value in content.words:
        if abs(float(value)) > MAX_VALUE:
            where = source.at(("words", value))
            problems.append(f"{where}: words.{value}: values lie between {-MAX_VALUE:g} and {MAX_VALUE:g}")
    weights = content.sentiment
    if not weights.lexicon_weight + weights.votes_weight:
        problems.append(f"{source.at(('sentiment',))}: sentiment: one of both weights has to be above 0")
    if problems:
        raise ConfigurationError(listed(problems))
    weighing = Weighing(
        timedelta(hours=weights.window_hours),
        timedelta(hours=weights.half_life_hours),
        weights.lexicon_weight,
        weights.votes_weight,
        weights.votes_prior,
    )
    return Lexicon(words, frozenset(content.negations), boosters), weighing


def _with_text_keys(source: Source) -> Source:
    """YAML reads the values in front of the words as numbers; keys of JSON are text."""
    data = source.data
    if isinstance(data, dict):
        data = {
            name: {str(value): words for value, words in entry.items()} if isinstance(entry, dict) else entry
            for name, entry in data.items()
        }
    return Source(source.path, data, source.lines)


def _by_word(listed_words: Mapping[str, Words], place: str, source: Source) -> tuple[dict[str, float], list[str]]:
    """Word -> value, and what is wrong with the list."""
    found: dict[str, float] = {}
    problems = []
    for value, words in listed_words.items():
        for word in words:
            where = f"{source.at((place, value))}: {place}.{value}: {word!r}"
            if " ".join(tokens_of(word)) != word:
                problems.append(f"{where} can never be found; write small letters and single blanks, without marks")
            elif word in found:
                problems.append(f"{where} is listed twice; keep one")
            found[word] = float(value)
    return found, problems
