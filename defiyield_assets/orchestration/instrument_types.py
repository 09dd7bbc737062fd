"""Which types of instruments a run makes: crypto when its UTC day is over, shares after their session.

Lives here: the configuration of assets whose slice is (day, instrument type), and the tags by which jobs and repair
find them. Not here: the jobs (jobs.py), what the types are (domain/prices/instruments.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field, field_validator

from defiyield_assets.domain.prices.instruments import INSTRUMENT_TYPES

CRYPTO = ("crypto",)
EXCHANGE_TYPES = tuple(kind for kind in INSTRUMENT_TYPES if kind not in CRYPTO)
"""Types that have sessions."""
STEPS_BY_TYPE = ("daily_bars", "daily_features", "feature_targets", "market_regimes")
"""Steps of the assets with the tag BY_TYPE: they take the configuration `instrument_types`."""
OF_EXCHANGES = ":exchanges"
"""Behind a step's name in `asset_outcomes`: its part of exchanges' types, which has a run of its own. The name alone is
coins and tokens, and what plans stand on."""
EQUITIES, BY_TYPE = "equities", "by_type"
"""Tags of assets: of exchanges' instruments only; of all types, each run writing the slices of its own."""


class InstrumentTypes(dg.Config):
    """Types of instruments whose rows the run makes; rows of other types stay as they are."""

    instrument_types: list[str] = Field(default=list(INSTRUMENT_TYPES), description="Types whose slices are written")

    @field_validator("instrument_types")
    @classmethod
    def _are_known(cls, found: list[str]) -> list[str]:
        unknown = sorted(set(found) - set(INSTRUMENT_TYPES))
        if unknown or not found:
            raise ValueError(f"types are some of {', '.join(INSTRUMENT_TYPES)}; found {', '.join(unknown) or 'none'}")
        return [kind for kind in INSTRUMENT_TYPES if kind in found]

    @property
    def slices(self) -> dict[str, list[str]]:
        """`where` of the slice that the run writes (store/writes.py)."""
        return {"instrument_type": self.instrument_types}


def types_of_run(run: dg.DagsterRun, step: str = "daily_bars") -> list[str]:
    """Types whose slices the run's step was told to make; all of them where it was told nothing."""
    config: Any = run.run_config
    told = config.get("ops", {}).get(step, {}).get("config", {})
    return list(told.get("instrument_types", INSTRUMENT_TYPES))


def parts_of_run(step: str, config: object) -> list[str]:
    """Names in `asset_outcomes` of what a step makes with its configuration: one per part that has a schedule."""
    if not isinstance(config, InstrumentTypes):
        return [step]
    told = set(config.instrument_types)
    parts = ((step, set(CRYPTO)), (step + OF_EXCHANGES, set(EXCHANGE_TYPES)))
    return [name for name, types in parts if told & types]


def outcomes_of_part(outcomes: pd.DataFrame, part: str) -> pd.DataFrame:
    """The rows of `asset_outcomes` that a part may rest on, by the names of steps: those of the same types, and of
    steps that know no types."""
    is_of_exchanges = outcomes["asset"].str.endswith(OF_EXCHANGES).astype(bool)
    if not part.endswith(OF_EXCHANGES):
        return outcomes[~is_of_exchanges]
    kept = outcomes[is_of_exchanges | ~outcomes["asset"].isin(STEPS_BY_TYPE)]
    return kept.assign(asset=kept["asset"].str.removesuffix(OF_EXCHANGES))


def assets_with_tag(repository: dg.RepositoryDefinition, tag: str) -> frozenset[str]:
    """Names of the assets that carry the tag."""
    graph = repository.asset_graph
    return frozenset(key.to_user_string() for key in graph.materializable_asset_keys if tag in graph.get(key).tags)


def config_of_types(steps: Sequence[str], types: Sequence[str]) -> Mapping[str, Any]:
    """Run configuration by which these steps make the slices of some types."""
    return {"ops": {step: {"config": {"instrument_types": list(types)}} for step in steps}}
