"""All runs of one strategy in an assessment, and the one that is looked at.

Lives here: these rows. Not here: what is shown of them (lab_strategy.py) or offered as a file (lab_sheet.py).
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from defiyield_assets.console.pages.lab_tables import AssessmentTables, read_assessment
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema


@dataclass(frozen=True)
class StrategyRuns:
    """A strategy of an assessment.

    `rankings`: its rows of `strategy_rankings`, the widest scope first; `runs`: its rows of `backtest_results` by
    family and scenario; `run`: the one that is looked at.
    """

    strategy_id: str
    description: str
    as_of: date
    rankings: list[dict[str, Any]]
    runs: list[dict[str, Any]]
    run: dict[str, Any]
    told: AssessmentTables

    def scenario_name(self, run: dict[str, Any]) -> str:
        """What the scenario of a run is called."""
        return self.told.name(run["scenario_id"])

    def is_ranked(self, run: dict[str, Any]) -> bool:
        """Whether its scenario counts for rankings."""
        return _counts(self.told, run)


def read_strategy(view: View, question: Question) -> StrategyRuns | None:
    """The strategy that the address names, with the run over the scenario that it names, by default the longest with a
    curve; None without any assessment, NotFound where the strategy or the run is not in it."""
    told = read_assessment(view, question)
    if told is None:
        return None
    strategy_id = question.words("strategy_id")
    where = {"as_of": told.as_of, "strategy_id": strategy_id}
    rankings = records(reads.read_all(view.connection, schema.strategy_rankings, where))
    rankings.sort(key=lambda row: told.scopes.index(row["scope"]))
    hashes = {row["strategy_hash"] for row in rankings}
    runs = records(told.runs[told.runs["strategy_hash"].isin(hashes)])
    runs = [run for run in runs if run["strategy_id"] == strategy_id]
    runs.sort(key=lambda run: (run["family"], told.name(run["scenario_id"]), run["scenario_id"]))
    if not rankings or not runs:
        raise NotFound(f"no such strategy was assessed up to {view.day}; the lab's page lists all")
    listed = records(reads.read_all(view.connection, schema.strategies, {"content_hash": sorted(hashes)}))
    described = next((str(row["description"]) for row in listed if row["strategy_id"] == strategy_id), "")
    run = _chosen(question.words("scenario"), runs, told)
    return StrategyRuns(strategy_id, described, told.as_of, rankings, runs, run, told)


def _chosen(scenario_id: str, runs: list[dict[str, Any]], told: AssessmentTables) -> dict[str, Any]:
    """The run over a scenario, or over the longest history of which the curve is stored, as the tear sheet has it."""
    if not scenario_id:
        return min(runs, key=lambda run: (not run["has_curve"], _counts(told, run), -(run["n_bars"] or 0.0)))
    found = next((run for run in runs if run["scenario_id"] == scenario_id), None)
    if found is None:
        raise NotFound("the strategy was not run over this scenario; its page lists those that it was run over")
    return found


def _counts(told: AssessmentTables, run: dict[str, Any]) -> bool:
    own = told.scenarios.loc[told.scenarios["scenario_id"] == run["scenario_id"], "is_ranked"]
    return bool(len(own) and own.iloc[0])
