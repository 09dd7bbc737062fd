"""Pages of the strategy lab as files: the matrix of each scope and one tear sheet a strategy.

Lives here: what is read for a page, where files lie, that nobody sees half of one. Not here: what pages say
(domain/strategies), the rows that they are made of (assessments.py).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.strategies.assessment_page import EVIDENCE_COLUMNS, assessment_page
from defiyield_assets.domain.strategies.ranking import Ranking, rank_strategies
from defiyield_assets.domain.strategies.runs import GRID_FIGURES
from defiyield_assets.domain.strategies.scopes import EVERYWHERE
from defiyield_assets.domain.strategies.tear_sheet import EVIDENCE, SheetInputs, tear_sheet
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.lab.assessments import Assessment
from defiyield_assets.store import reads, schema
from defiyield_assets.store.schema.lab import RUN_FIGURES

FOLDER, INDEX = "assessment", "index"
"""Below an installation's reports; the page of all universes."""
OnPage = Callable[[int, int], None]


@dataclass(frozen=True)
class Pages:
    """Files that were written: `index`, the page to open first; pages by scope; tear sheets by strategy."""

    index: Path
    scopes: Mapping[str, Path]
    sheets: Mapping[str, Path]


def write_page(path: Path, html: str) -> Path:
    """Write a page in place of an older one of that name; nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".part", delete=False) as file:
        file.write(html)
        part = Path(file.name)
    part.replace(path)
    return path


def write_pages(engine: Engine, reports: Path, told: Assessment, on_page: OnPage | None = None) -> Pages:
    """The pages of an assessment below `reports`/assessment/<as of>; SuspiciousDataError where its report is missing.

    `on_page`: hears how many tear sheets of how many are written.
    """
    folder = reports / FOLDER / told.as_of.isoformat()
    stored = reads.read_all(engine, schema.assessment_report, {"as_of": told.as_of})
    if stored.empty:
        raise SuspiciousDataError(f"there is no report as of {told.as_of}: run `defiyield assess`")
    names = [EVERYWHERE] if EVERYWHERE in set(stored["scope"]) else stored["scope"].tolist()[:1]
    scopes = {
        str(row["scope"]): write_page(
            folder / f"{INDEX if row['scope'] == names[0] else row['scope']}.html", str(row["page_html"])
        )
        for row in stored.to_dict("records")
    }
    sheets = {}
    inputs = _sheets(engine, told)
    for number, (name, one) in enumerate(inputs, start=1):
        sheets[name] = write_page(folder / "strategies" / f"{name}.html", tear_sheet(one))
        if on_page is not None:
            on_page(number, len(inputs))
    return Pages(scopes[names[0]], scopes, sheets)


def page_of(ranking: Ranking, told: Assessment, scope: str) -> str:
    """The page of one scope."""
    words = "all universes" if scope == EVERYWHERE else scope
    provenance = {
        "As of": told.as_of.isoformat(),
        "Market": market_words(told.market),
        "Scope": words,
        "Scenarios": ", ".join(f"{family.replace('_', ' ')} {n}" for family, n in _families(told, scope).items()),
        "Runs": f"{len(told.results):,}",
        "Strategies ever tried": str(told.n_trials),
        "Engine": ", ".join(sorted(set(told.results["engine_version"]))),
        "Costs": str(told.results["costs_json"].iloc[0]),
    }
    evidence = told.evidence[["strategy_id", *(name for name, _ in EVIDENCE_COLUMNS)]]
    title = f"Assessment of {told.as_of}: {words}, {told.market} market"
    return assessment_page(ranking, title, told.names, evidence, provenance)


def market_words(market: str) -> str:
    """A market as readers of a page need it: what was invented is called so."""
    return f"{market}: its prices are invented" if market == "simulated" else market


def _families(told: Assessment, scope: str) -> dict[str, int]:
    """How many scenarios of each family a scope is ranked over."""
    own = told.scopes()[scope].drop_duplicates("scenario_id")
    return {str(family): int(n) for family, n in own["family"].value_counts().sort_index().items()}


def _sheets(engine: Engine, told: Assessment) -> list[tuple[str, SheetInputs]]:
    """What the sheets of all strategies are made of: each over the longest history of which its curve is stored."""
    evidence = told.evidence.set_index("strategy_id")
    listed = reads.read_all(engine, schema.strategies, {"is_current": True}).set_index("strategy_id")
    found = []
    for scope, results in told.scopes().items():
        if scope == EVERYWHERE and len(told.scopes()) > 1:
            continue
        ranking = rank_strategies(results)
        for name in ranking.table["strategy_id"]:
            runs = told.results[(told.results["strategy_id"] == name) & told.results["has_curve"].astype(bool)]
            if runs.empty:
                continue
            longest = runs.sort_values(["is_ranked", "n_bars"], ascending=[True, False]).iloc[0]
            own = evidence.loc[name].to_dict() if name in evidence.index else {}
            words = str(listed.loc[name, "description"]) if name in listed.index else ""
            sheet = _sheet(engine, longest.to_dict(), ranking, own, words)
            market = {"Market": market_words(told.market)}
            found.append((str(name), replace(sheet, provenance={**market, **sheet.provenance})))
    return found


def _sheet(
    engine: Engine, run: Mapping[str, Any], ranking: Ranking, evidence: Mapping[str, Any], description: str
) -> SheetInputs:
    """One strategy: a run with its curve and trades, its ranks among the others, what speaks for it being luck."""
    row = ranking.table[ranking.table["strategy_id"] == run["strategy_id"]].iloc[0]
    columns = ["cost_factor", *GRID_FIGURES]
    return SheetInputs(
        strategy_id=str(run["strategy_id"]),
        strategy_hash=str(run["strategy_hash"]),
        scenario=str(run["name"]),
        equity=reads.read_all(engine, schema.equity_curves, {"run_key": run["run_key"]}).sort_values("step"),
        trades=reads.read_all(engine, schema.backtest_trades, {"run_key": run["run_key"]}).sort_values("number"),
        metrics={name: None if pd.isna(run[name]) else float(run[name]) for name in RUN_FIGURES},
        cost_grid=pd.DataFrame(json.loads(run["cost_grid_json"]), columns=columns),
        periods_per_year=float(run["periods_per_year"]),
        description=description,
        evidence={name: evidence.get(name) for _, name, _ in EVIDENCE},
        scenarios=ranking.scenarios[ranking.scenarios["strategy_id"] == run["strategy_id"]],
        rank=None if pd.isna(row["rank"]) else int(row["rank"]),
        n_strategies=len(ranking.table),
        flags=list(row["eligibility_flags"]),
        provenance={
            "Run": str(run["run_key"]),
            "Bars": str(run["paths_hash"]),
            "Instruments": ", ".join(json.loads(run["instruments_json"])),
            "Costs": str(run["costs_json"]),
            "Engine": str(run["engine_version"]),
        },
    )
