"""Which runs a ranking rests on, and which of them are ranked together, against rows written by hand.

Not here: ranks (test_ranking.py), whole assessments (orchestration/test_strategy_lab.py).
"""

from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.strategies.engine import ENGINE_VERSION
from defiyield_assets.domain.strategies.scopes import EVERYWHERE, is_ranking_of, ranked_together, runs_of_set

RUNS = (("coins", "c", "both"), ("coins", "c", "early"), ("shares", "s", "both"), ("coins", "c", "whole"))
RANKS = ((EVERYWHERE, "c", 1), (EVERYWHERE, "s", 1), ("coins", "c", 2), ("shares", "s", 1))


def results(rows: tuple[tuple[str, str, str], ...] = RUNS) -> pd.DataFrame:
    """Runs of a strategy of each universe; `whole` is a full history."""
    told = [
        {
            **{"universe": universe, "strategy_hash": strategy, "scenario_id": scenario, "total_return": 0.1},
            **{"n_trades": 3.0, "is_ranked": scenario != "whole", "paths_hash": scenario},
            "engine_version": ENGINE_VERSION,
        }
        for universe, strategy, scenario in rows
    ]
    return pd.DataFrame(told)


def ranks(**changed: Any) -> pd.DataFrame:
    """Ranks of these runs; `changed` columns of the first row."""
    names = ["scope", "strategy_hash", "n_scenarios"]
    told = pd.DataFrame(RANKS, columns=names).assign(worst_scenario="both")
    told["n_trades"] = 3 * told["n_scenarios"]
    for name, value in changed.items():
        told.loc[0, name] = value
    return told


def test_a_universe_is_ranked_over_its_own_and_all_over_what_all_took_part_in() -> None:
    """A full history is in none."""
    found = {scope: set(own["scenario_id"]) for scope, own in ranked_together(results()).items()}
    assert found == {"coins": {"both", "early"}, "shares": {"both"}, EVERYWHERE: {"both"}}
    found = {scope: set(own["scenario_id"]) for scope, own in ranked_together(results(RUNS[:2])).items()}
    assert found == {"coins": {"both", "early"}, EVERYWHERE: {"both", "early"}}, "one universe is all"
    assert ranked_together(results(RUNS[3:])) == {}


@pytest.mark.parametrize(
    "changed", [{"engine_version": "0"}, {"paths_hash": "x"}, {"strategy_hash": "x"}, {"scenario_id": "x"}]
)
def test_runs_of_a_set_are_by_this_engine_over_its_bars(changed: dict[str, str]) -> None:
    """Of the strategies that are asked for."""
    runs, scenarios = results(), pd.DataFrame({"scenario_id": ["both", "early"], "paths_hash": ["both", "early"]})
    assert set(runs_of_set(runs, scenarios, {"c", "s"})["scenario_id"]) == {"both", "early"}
    assert len(runs_of_set(runs, scenarios, {"c", "s"})) == 3
    assert runs_of_set(runs.assign(**changed), scenarios, {"c", "s"}).empty


@pytest.mark.parametrize(
    "changed", [{"n_scenarios": 2}, {"n_trades": 4}, {"worst_scenario": "gone"}, {"strategy_hash": "x"}, {"scope": "x"}]
)
def test_ranks_are_known_by_their_counts(changed: dict[str, Any]) -> None:
    """A rank of other runs has others, a strategy that is not there, or another worst scenario."""
    scopes = ranked_together(results())
    assert is_ranking_of(ranks(), scopes)
    assert is_ranking_of(ranks(worst_scenario=None), scopes), "nothing is known of its returns"
    assert not is_ranking_of(ranks(**changed), scopes)
    assert not is_ranking_of(ranks(), ranked_together(results(RUNS[1:]))), "a run is missing"
    assert not is_ranking_of(ranks(), {})


def test_a_run_without_a_return_is_no_scenario() -> None:
    """As ranking counts."""
    runs = results()
    runs.loc[1, ["total_return", "n_trades"]] = [float("nan"), float("nan")]
    told = ranks()
    told.loc[told["scope"] == "coins", ["n_scenarios", "n_trades"]] = [1, 3]
    assert is_ranking_of(told, ranked_together(runs))
