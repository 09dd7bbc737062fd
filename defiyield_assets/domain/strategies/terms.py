"""On which terms a run was made: costs and account, and which runs may stand beside each other.

Lives here: choosing the runs of one cost model and account. Not here: the models (costs.py), ranks (ranking.py).
"""

from dataclasses import asdict

import pandas as pd

from defiyield_assets.domain.canonical import canonical_json
from defiyield_assets.domain.strategies.costs import Account, CostModel


def of_one_account(found: pd.DataFrame) -> pd.DataFrame:
    """The runs of one cost model and account: those of the default ones, else of those with most runs."""
    if found.empty:
        return found
    terms = found["costs_json"] + found["account_json"]
    wanted = canonical_json(asdict(CostModel())) + canonical_json(asdict(Account()))
    chosen = wanted if (terms == wanted).any() else terms.value_counts().index[0]
    return found[terms == chosen].reset_index(drop=True)
