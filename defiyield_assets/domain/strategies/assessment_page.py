"""The page of all strategies: the ranking, families, and the matrix of strategies and scenarios.

Lives here: what this page says and its rendering as one self-contained HTML file. Not here: ranks (ranking.py), the
page of one strategy (tear_sheet.py).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from defiyield_assets.domain.reporting.formats import UNKNOWN, clean, short_id
from defiyield_assets.domain.strategies.cells import Cell, signed, written
from defiyield_assets.domain.strategies.ranking import WEIGHTS, Ranking
from defiyield_assets.domain.strategies.tear_sheet import render

EVIDENCE_COLUMNS = (
    *(("n_trials", "count"), ("deflated_sharpe", "percent"), ("pbo", "percent")),
    *(("walk_forward_sharpe", "ratio"), ("selection_sharpe", "ratio")),
)


def assessment_page(
    ranking: Ranking,
    title: str,
    scenario_names: Mapping[str, str] | None = None,
    evidence: pd.DataFrame | None = None,
    provenance: Mapping[str, str] | None = None,
) -> str:
    """One self-contained HTML page; it loads nothing, runs no script, and every name in it is cleaned and escaped.

    `scenario_names`: scenario_id -> name, its id is shortened where it has none. `evidence`: strategy_id and
    EVIDENCE_COLUMNS (trials.py), dashes where left out.
    """
    names = {} if scenario_names is None else scenario_names
    told = pd.DataFrame({"strategy_id": []}) if evidence is None else evidence
    columns, families = _matrix_head(ranking.scenarios, names)
    return render(
        "assessment.html.j2",
        title=clean(title),
        weights=", ".join(f"{name} {weight:.0%}" for name, weight in WEIGHTS.items()),
        ranking=_ranking_rows(ranking.table, names, told.set_index("strategy_id")),
        family_names=[family for family, _ in families],
        families=_family_rows(ranking),
        spans=families,
        columns=columns,
        matrix=_matrix_rows(ranking, [scenario for scenario, _ in columns]),
        regimes=_regime_rows(ranking.regimes),
        provenance={clean(name): clean(value) for name, value in (provenance or {}).items()},
    )


def scenario_name(scenario_id: str, names: Mapping[str, str]) -> str:
    """What people call a scenario."""
    return clean(names[scenario_id], 60) if scenario_id in names else short_id(scenario_id)


def _ranking_rows(table: pd.DataFrame, names: Mapping[str, str], evidence: pd.DataFrame) -> list[list[Cell]]:
    rows = []
    for row in table.to_dict("records"):
        known = evidence.loc[row["strategy_id"]] if row["strategy_id"] in evidence.index else {}
        rows.append(
            [
                Cell(UNKNOWN if pd.isna(row["rank"]) else str(row["rank"])),
                Cell(clean(row["strategy_id"], 60), is_words=True),
                Cell(written(row["score"], "ratio"), _centred(row["score"])),
                *[Cell(written(row[f"{name}_percentile"], "ratio")) for name in WEIGHTS],
                Cell(written(row["dispersion"], "ratio")),
                Cell(
                    "" if pd.isna(row["worst_scenario"]) else scenario_name(row["worst_scenario"], names), is_words=True
                ),
                Cell(written(row["worst_return"], "signed")),
                *[Cell(written(known.get(name), kind)) for name, kind in EVIDENCE_COLUMNS],
                Cell(", ".join(flag.replace("_", " ") for flag in row["eligibility_flags"]), is_words=True),
            ]
        )
    return rows


def _family_rows(ranking: Ranking) -> list[tuple[str, list[Cell]]]:
    """Median total return of each strategy in each family, shaded by the mean scenario score there."""
    by_family = ranking.scenarios.groupby(["strategy_id", "family"])
    returns, scores = by_family["total_return"].median().to_dict(), by_family["score"].mean().to_dict()
    families = sorted(set(ranking.scenarios["family"]))
    rows = []
    for strategy in ranking.table["strategy_id"]:
        cells = [
            Cell(written(returns.get((strategy, family)), "signed"), _centred(scores.get((strategy, family))))
            for family in families
        ]
        rows.append((clean(strategy, 60), cells))
    return rows


def _matrix_head(
    scenarios: pd.DataFrame, names: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[tuple[str, int]]]:
    """Scenario ids with their names, by family; and the families with how many scenarios each has."""
    known = scenarios[["family", "scenario_id"]].drop_duplicates()
    named = known.assign(name=[scenario_name(one, names) for one in known["scenario_id"]])
    ordered = named.sort_values(["family", "name", "scenario_id"])
    spans = [(clean(family, 40).replace("_", " "), len(own)) for family, own in ordered.groupby("family", sort=True)]
    return list(zip(ordered["scenario_id"], ordered["name"], strict=True)), spans


def _matrix_rows(ranking: Ranking, scenario_ids: list[str]) -> list[tuple[str, list[Cell]]]:
    """Total return of every run, shaded by its score in the scenario."""
    index = ranking.scenarios.set_index(["strategy_id", "scenario_id"])
    returns, scores = index["total_return"].to_dict(), index["score"].to_dict()
    rows = []
    for strategy in ranking.table["strategy_id"]:
        cells = [_run_cell(returns.get((strategy, one)), scores.get((strategy, one))) for one in scenario_ids]
        rows.append((clean(strategy, 60), cells))
    return rows


def _run_cell(total_return: float | None, score: float | None) -> Cell:
    if total_return is None or pd.isna(total_return):
        return Cell(UNKNOWN)
    return Cell(signed(total_return, 0), _centred(score), f"score {written(score, 'ratio')}")


def _regime_rows(regimes: pd.DataFrame) -> list[list[Cell]]:
    return [
        [
            Cell(clean(row["strategy_id"], 60)),
            Cell(clean(row["regime"], 40), is_words=True),
            Cell(written(row["sharpe"], "ratio")),
            Cell(written(row["return"], "signed")),
            Cell(written(row["sharpe_percentile"], "ratio"), _centred(row["sharpe_percentile"])),
            Cell(written(row["n_scenarios"], "count")),
        ]
        for row in regimes.to_dict("records")
    ]


def _centred(share: float | None) -> float | None:
    """A percentile as a shade: .5 none, 1 green, 0 red."""
    return None if share is None or not np.isfinite(share) else 2.0 * float(share) - 1.0
