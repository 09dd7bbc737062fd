"""The tear sheet of a strategy as a file, made from the same rows as its page.

Lives here: what the sheet is made of. Not here: the sheet itself (domain/strategies/tear_sheet.py), the page
(lab_strategy.py).
"""

import json

import pandas as pd

from defiyield_assets.console.pages.lab_runs import StrategyRuns, read_strategy
from defiyield_assets.console.questions import Question
from defiyield_assets.console.serving import Download
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import is_missing
from defiyield_assets.domain.strategies.runs import GRID_FIGURES
from defiyield_assets.domain.strategies.tear_sheet import EVIDENCE, SheetInputs, tear_sheet
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema
from defiyield_assets.store.schema.lab import RUN_FIGURES


def strategy_sheet(view: View, question: Question) -> Download:
    """One self-contained page; NotFound where the run's curve is not stored."""
    found = read_strategy(view, question)
    if not isinstance(found, StrategyRuns) or not found.run["has_curve"]:
        raise NotFound(f"there is no curve of such a run up to {view.day}")
    run, of_run = found.run, {"run_key": str(found.run["run_key"])}
    standing = found.rankings[0]
    sheet = SheetInputs(
        strategy_id=found.strategy_id,
        strategy_hash=str(run["strategy_hash"]),
        scenario=found.scenario_name(run),
        equity=reads.read_all(view.connection, schema.equity_curves, of_run),
        trades=reads.read_all(view.connection, schema.backtest_trades, of_run),
        metrics={name: None if is_missing(run[name]) else float(run[name]) for name in RUN_FIGURES},
        cost_grid=pd.DataFrame(json.loads(str(run["cost_grid_json"])), columns=["cost_factor", *GRID_FIGURES]),
        periods_per_year=float(run["periods_per_year"]),
        description=found.description,
        evidence={name: standing[name] for _, name, _ in EVIDENCE},
        rank=None if is_missing(standing["rank"]) else int(standing["rank"]),
        flags=[flag for flag in str(standing["eligibility_flags"]).split(",") if flag],
        provenance={"As of": str(found.as_of), "Run": str(run["run_key"]), "Market": view.desk.market},
    )
    return Download(f"tear-sheet-{found.strategy_id}-{found.as_of}.html", "text/html", tear_sheet(sheet))
