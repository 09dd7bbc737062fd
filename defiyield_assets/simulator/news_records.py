"""What a market knows of one post of news, whoever tells it.

Lives here: the record. Not here: where posts come from (generated_news.py), the vendor's words
(cryptopanic_answers.py).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class NewsPost:
    """A post; `final_votes` is what its votes come to, most of them in the first day."""

    post_id: int
    title: str
    slug: str
    url: str
    kind: str
    source: str
    domain: str
    region: str
    published_at: datetime
    listed_at: datetime
    coins: tuple[tuple[str, str], ...]
    """Code and name of the coins that it is about."""
    final_votes: Mapping[str, int]
    votes_half_life_hours: float

    def votes_at(self, instant: datetime) -> dict[str, int]:
        """Votes so far: they only grow, half of what is missing every half-life."""
        hours = max((instant - self.listed_at).total_seconds() / 3_600, 0.0)
        share = 1 - math.pow(0.5, hours / self.votes_half_life_hours)
        return {name: math.floor(count * share + 1e-9) for name, count in self.final_votes.items()}
