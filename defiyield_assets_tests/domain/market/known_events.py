"""What was known of events on one day, read row by row: the oracle of the features of events.

Lives here: the view. Not here: its users (test_events.py, features/test_events_features.py), the calculation over many
days (domain/market/features/events_features.py).
"""

from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.events import visible_since

OUTCOME = ("actual", "surprise", "surprise_fraction")


def known_events(events: pd.DataFrame, day: date) -> pd.DataFrame:
    """The events that were known on the day, those to come among them; what was not known then is null.

    An event to come has neither expectation nor outcome; one that has been has its outcome from `known_on` on.
    """
    since = visible_since(events)
    seen = events[np.array([first <= day for first in since], dtype=bool)].reset_index(drop=True)
    is_to_come = np.array([happens > day for happens in seen["date"]], dtype=bool)
    is_open = np.array([known > day for known in seen["known_on"]], dtype=bool)
    return seen.assign(
        expected=seen["expected"].mask(is_to_come),
        **{name: seen[name].mask(is_open | is_to_come) for name in OUTCOME},
    )
