"""The newest assessment of strategies up to a day: its ranking, and the runs that it rests on while they are kept.

Lives here: reading these rows, and the words for a lab that is empty or whose runs are gone. Not here: which runs are
ranked together (domain/strategies/scopes.py), what is shown (lab.py, lab_scenarios.py, lab_strategy.py), how an
assessment is made (orchestration/lab).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from defiyield_assets.console.layout import Page, Panel
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import clean, short_id
from defiyield_assets.domain.reporting.layout import Section
from defiyield_assets.domain.strategies.scopes import EVERYWHERE, is_ranking_of, ranked_together, runs_of_set
from defiyield_assets.domain.strategies.terms import of_one_account
from defiyield_assets.store import reads, schema

HOW_TO_FILL = "The command defiyield assess makes scenarios, runs every strategy over them and ranks them."
NOT_KEPT = (
    "The single runs of this assessment are no longer kept as it ranked them: another set of scenarios, other bars or "
    "another engine took their place. Its ranks stay as they were stored."
)


@dataclass(frozen=True)
class AssessmentRuns:
    """What an assessment rests on.

    `scenarios`: rows of `scenarios` of its set that can be run; `runs`: rows of `backtest_results` of the ranked
    strategies over them, on the same terms, with `is_ranked` of their scenarios; `ranked`: scope -> those of them that
    are ranked together.
    """

    scenarios: pd.DataFrame
    runs: pd.DataFrame
    ranked: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class AssessmentTables:
    """One scope of an assessment.

    `ranking`: its rows of `strategy_rankings`, best first; `scopes`: all there are; `names`: of scenarios by id,
    cleaned; `kept`: the runs that it rests on, None where others took their place.
    """

    as_of: date
    scope: str
    scopes: tuple[str, ...]
    ranking: pd.DataFrame
    names: Mapping[str, str]
    kept: AssessmentRuns | None

    def name(self, scenario_id: Any) -> str:
        """What people call a scenario."""
        return self.names.get(str(scenario_id), short_id(scenario_id))


def read_assessment(view: View, question: Question) -> AssessmentTables | None:
    """The newest assessment up to the day in the scope that is asked for; None where there is none."""
    rankings = reads.read_latest(view.connection, schema.strategy_rankings, view.day)
    if rankings.empty:
        return None
    scopes = tuple(sorted(set(rankings["scope"]), key=lambda scope: (scope != EVERYWHERE, scope)))
    scope = question.choice("scope", scopes, scopes[0])
    as_of: date = rankings["as_of"].iloc[0]
    kept, names = view.remembered("assessment", as_of, lambda: _runs_and_names(view, rankings))
    ranking = rankings[rankings["scope"] == scope]
    ranking = ranking.sort_values(["rank", "strategy_id"], key=_unranked_last, ignore_index=True)
    return AssessmentTables(as_of, scope, scopes, ranking, names, kept)


def _unranked_last(values: "pd.Series[Any]") -> "pd.Series[Any]":
    return pd.to_numeric(values).fillna(float("inf")) if values.name == "rank" else values


def _runs_and_names(view: View, rankings: pd.DataFrame) -> tuple[AssessmentRuns | None, Mapping[str, str]]:
    """What ranks rest on, and what their scenarios are called; superseded scenarios stay listed under their names."""
    kept = _kept_runs(view, rankings)
    wanted = sorted({str(one) for one in rankings["worst_scenario"].dropna()})
    named = (
        reads.read_all(view.connection, schema.scenarios, {"scenario_id": wanted}) if kept is None else kept.scenarios
    )
    told = named[["scenario_id", "name"]].itertuples(index=False, name=None)
    return kept, {str(scenario_id): clean(name, 60) for scenario_id, name in told}


def _kept_runs(view: View, rankings: pd.DataFrame) -> AssessmentRuns | None:
    """The runs of the current set where it is the one that was ranked; None where others took their place.

    Scenarios and runs are kept of one set only: a newer set takes over those that it shares with an older one.
    """
    told = reads.read_all(view.connection, schema.scenarios, {"is_current": True, "status": "ready"})
    if told.empty or max(told["as_of"]) != rankings["as_of"].iloc[0]:
        return None
    hashes = sorted(set(rankings["strategy_hash"]))
    wanted = {"scenario_id": told["scenario_id"].tolist(), "strategy_hash": hashes}
    runs = runs_of_set(reads.read_all(view.connection, schema.backtest_results, wanted), told, hashes)
    runs = of_one_account(runs.merge(told[["scenario_id", "is_ranked"]], on="scenario_id"))
    ranked = ranked_together(runs)
    return AssessmentRuns(told, runs, ranked) if is_ranking_of(rankings, ranked) else None


def empty_lab(view: View, title: str) -> Page:
    """The page of a lab without an assessment, with the command that makes one."""
    later = reads.newest_day(view.connection, schema.strategy_rankings)
    words = HOW_TO_FILL if later is None else f"The newest one is as of {later}, after the day shown."
    section = Section("lab", "Strategy lab", (words,))
    return Page(
        title=title,
        here="lab",
        headline=f"No assessment of strategies up to {view.day}",
        day=view.day,
        panels=(Panel(section, ("strategy_rankings",), view.day),),
    )
