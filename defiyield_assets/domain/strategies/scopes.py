"""Which runs a ranking rests on, and which of them are ranked together.

Lives here: choosing the runs of a set of scenarios, scopes, whether a stored ranking is one of given runs. Not here:
reading tables (orchestration/lab/assessments.py, console/pages/lab_tables.py), ranks (ranking.py), terms (terms.py).
"""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from defiyield_assets.domain.strategies.engine import ENGINE_VERSION

EVERYWHERE = "all"
"""Scope of the ranking over the scenarios that every universe takes part in."""


def runs_of_set(runs: pd.DataFrame, scenarios: pd.DataFrame, strategy_hashes: Collection[str]) -> pd.DataFrame:
    """Rows of `backtest_results` by this engine, of some strategies, over the bars of a set (rows of `scenarios`)."""
    hashes = dict(zip(scenarios["scenario_id"], scenarios["paths_hash"], strict=True))
    is_own = runs["strategy_hash"].isin(set(strategy_hashes)) & (runs["engine_version"] == ENGINE_VERSION)
    is_own &= runs["paths_hash"] == runs["scenario_id"].map(hashes)
    return runs[is_own].reset_index(drop=True)


def ranked_together(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Scope -> the results that are ranked together; `results` have `is_ranked` of their scenarios beside them.

    Each universe over its own scenarios; `all` over those in which every universe was run, so that nobody is punished
    for a market that was not there yet.
    """
    ranked = results[results["is_ranked"].astype(bool)]
    found = {str(name): own for name, own in ranked.groupby("universe", sort=True)}
    if len(found) > 1:
        counts = ranked.groupby("scenario_id")["universe"].nunique()
        everywhere = set(counts.index[counts == len(found)])
        found[EVERYWHERE] = ranked[ranked["scenario_id"].isin(everywhere)]
    elif found:
        found[EVERYWHERE] = ranked
    return {scope: own.reset_index(drop=True) for scope, own in found.items() if len(own)}


def is_ranking_of(rankings: pd.DataFrame, scopes: Mapping[str, pd.DataFrame]) -> bool:
    """Whether stored ranks (rows of `strategy_rankings`) are of these runs, as `ranked_together` gives them.

    They are where every strategy has as many scenarios and round trips in each scope as its rank says, and its worst
    scenario is among them. Runs that were made again, or are not all made yet, have others.
    """
    for scope, told in rankings.groupby("scope"):
        results = scopes.get(str(scope))
        if results is None or not set(told["worst_scenario"].dropna()) <= set(results["scenario_id"]):
            return False
        counts = zip(told["n_scenarios"].astype(int), told["n_trades"].astype(int), strict=True)
        if dict(zip(told["strategy_hash"], counts, strict=True)) != _counts(results):
            return False
    return True


def _counts(results: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """strategy_hash -> its scenarios with a return, and its round trips in all of them."""
    returns = results["total_return"].astype(float).to_numpy()
    trades = results["n_trades"].astype(float).to_numpy()
    told = results.assign(
        is_known=np.isfinite(returns).astype(int), trades=np.where(np.isfinite(trades), trades, 0.0)
    ).groupby("strategy_hash")[["is_known", "trades"]]
    return {str(one): (int(row["is_known"]), int(row["trades"])) for one, row in told.sum().iterrows()}
