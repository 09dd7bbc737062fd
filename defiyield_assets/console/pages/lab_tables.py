"""The newest assessment of strategies up to a day: its ranking, scenarios and runs.

Lives here: which rows belong together, and the words for a lab that is empty. Not here: what is shown (lab.py,
lab_scenarios.py, lab_strategy.py), how an assessment is made (orchestration/lab).
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
from defiyield_assets.domain.strategies.terms import of_one_account
from defiyield_assets.store import reads, schema

EVERYWHERE = "all"
"""Scope of the ranking over the scenarios that every universe takes part in."""
HOW_TO_FILL = "`defiyield assess` makes scenarios, runs every strategy over them and ranks them."


@dataclass(frozen=True)
class AssessmentTables:
    """One scope of an assessment.

    `ranking`: its rows of `strategy_rankings`, best first; `scopes`: all there are; `scenarios`: rows of `scenarios`
    that can be run; `runs`: rows of `backtest_results` of the ranked strategies over them, on the same terms.
    """

    as_of: date
    scope: str
    scopes: tuple[str, ...]
    ranking: pd.DataFrame
    scenarios: pd.DataFrame
    runs: pd.DataFrame

    @property
    def names(self) -> Mapping[str, str]:
        """Names of scenarios by id, cleaned."""
        told = self.scenarios[["scenario_id", "name"]].itertuples(index=False, name=None)
        return {str(scenario_id): clean(name, 60) for scenario_id, name in told}

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
    scenarios, runs = view.remembered("assessment", as_of, lambda: _scenarios_and_runs(view, as_of, rankings))
    ranking = rankings[rankings["scope"] == scope]
    ranking = ranking.sort_values(["rank", "strategy_id"], key=_unranked_last, ignore_index=True)
    own = runs[runs["strategy_hash"].isin(set(ranking["strategy_hash"]))].reset_index(drop=True)
    return AssessmentTables(as_of, scope, scopes, ranking, scenarios, own)


def _unranked_last(values: "pd.Series[Any]") -> "pd.Series[Any]":
    return pd.to_numeric(values).fillna(float("inf")) if values.name == "rank" else values


def _scenarios_and_runs(view: View, as_of: date, rankings: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scenarios of the set that the assessment rests on, and the runs of its strategies over their bars."""
    told = reads.read_all(view.connection, schema.scenarios, {"status": "ready"})
    is_own = (told["as_of"] == as_of) | (told["is_current"].astype(bool) & (told["as_of"] <= as_of))
    told = told[is_own].reset_index(drop=True)
    wanted = {"scenario_id": told["scenario_id"].tolist(), "strategy_hash": sorted(set(rankings["strategy_hash"]))}
    runs = reads.read_all(view.connection, schema.backtest_results, wanted)
    hashes = dict(zip(told["scenario_id"], told["paths_hash"], strict=True))
    is_current = (runs["as_of"] <= as_of) & (runs["paths_hash"] == runs["scenario_id"].map(hashes))
    return told, of_one_account(runs[is_current].reset_index(drop=True))


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
