"""All runs of one strategy in an assessment, and the one that is looked at.

Lives here: these rows. Not here: what is shown of them (lab_strategy.py) or offered as a file (lab_sheet.py).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from defiyield_assets.console.pages.lab_tables import AssessmentRuns, AssessmentTables, read_assessment
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.domain.strategies.scopes import EVERYWHERE
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema


@dataclass(frozen=True)
class StrategyRanks:
    """A strategy of an assessment. `rankings`: its rows of `strategy_rankings`, the widest scope first."""

    strategy_id: str
    description: str
    as_of: date
    rankings: list[dict[str, Any]]


@dataclass(frozen=True)
class StrategyRuns(StrategyRanks):
    """The same with its runs, where they are kept.

    `runs`: its rows of `backtest_results` by family and scenario; `run`: the one that is looked at.
    """

    runs: list[dict[str, Any]]
    run: dict[str, Any]
    told: AssessmentTables
    kept: AssessmentRuns

    def scenario_name(self, run: dict[str, Any]) -> str:
        """What the scenario of a run is called."""
        return self.told.name(run["scenario_id"])

    def counts(self, run: dict[str, Any]) -> str:
        """For which ranks its scenario counts."""
        if not run["is_ranked"]:
            return "evidence only"
        everywhere = self.kept.ranked.get(EVERYWHERE)
        is_everywhere = everywhere is not None and run["scenario_id"] in set(everywhere["scenario_id"])
        return "yes" if is_everywhere else "in its universe"


def read_strategy(view: View, question: Question) -> StrategyRanks | StrategyRuns | None:
    """The strategy that the address names, with the run over the scenario that it names, by default the longest with a
    curve; its ranks alone where runs are no longer kept. None without any assessment, NotFound where the strategy or
    the run is not in it."""
    told = read_assessment(view, question)
    if told is None:
        return None
    strategy_id = question.words("strategy_id")
    where = {"as_of": told.as_of, "strategy_id": strategy_id}
    rankings = records(reads.read_all(view.connection, schema.strategy_rankings, where))
    if not rankings:
        raise NotFound(f"no such strategy was assessed up to {view.day}; the lab's page lists all")
    rankings.sort(key=lambda row: told.scopes.index(row["scope"]))
    hashes = {row["strategy_hash"] for row in rankings}
    listed = records(reads.read_all(view.connection, schema.strategies, {"content_hash": sorted(hashes)}))
    described = next((str(row["description"]) for row in listed if row["strategy_id"] == strategy_id), "")
    if told.kept is None:
        return StrategyRanks(strategy_id, described, told.as_of, rankings)
    runs = records(told.kept.runs[told.kept.runs["strategy_hash"].isin(hashes)])
    runs = [run for run in runs if run["strategy_id"] == strategy_id]
    if not runs:
        raise NotFound(f"no run of this strategy is stored up to {view.day}; the lab's page lists all strategies")
    runs.sort(key=lambda run: (run["family"], told.name(run["scenario_id"]), run["scenario_id"]))
    run = _chosen(question.words("scenario"), runs)
    return StrategyRuns(strategy_id, described, told.as_of, rankings, runs, run, told, told.kept)


def _chosen(scenario_id: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run over a scenario, or over the longest history of which the curve is stored, as the tear sheet has it."""
    if not scenario_id:
        return min(runs, key=lambda run: (not run["has_curve"], bool(run["is_ranked"]), -(run["n_bars"] or 0.0)))
    found = next((run for run in runs if run["scenario_id"] == scenario_id), None)
    if found is None:
        raise NotFound("the strategy was not run over this scenario; its page lists those that it was run over")
    return found
