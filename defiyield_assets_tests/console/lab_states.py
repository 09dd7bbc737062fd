"""A warehouse of the loop for tests of the console that change it, and an assessment of strategies written by hand.

Lives here: copying, spoiling and filling tables, and reading a page as its reader does. Not here: desks (desks.py),
what is asserted.
"""

import re
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from starlette.testclient import TestClient

from defiyield_assets.domain.strategies.engine import ENGINE_VERSION
from defiyield_assets.store import schema
from defiyield_assets_tests.console.desks import client_of, desk_over
from defiyield_assets_tests.installations import Loop

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "control\x07\x1b[31m\u202egnp",
    "long " * 2_000,
    "{{7*7}}",
    "=cmd|' /C calc'!A0",
)
"""Texts that a page shows as text and nothing else."""
STRATEGIES = ("steady", "bold", "=HYPERLINK(<b>)")
N_MARKS = 900


class Treasury:
    """A copy of the loop's state with a reader of the console."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self.installation = loop.installation.copy_to(folder / "state")
        self.engine: sa.Engine = self.installation.engine
        self.days = list(loop.days)
        self.folder = folder
        self.browser: TestClient = self.on_market("simulated")

    def on_market(self, market: str) -> TestClient:
        """A reader who is told that the tables are of another market."""
        return client_of(desk_over(self.engine, self.folder, market=market))

    def rows(self, table: sa.Table) -> pd.DataFrame:
        """The table as plain SQL gives it, by the columns' own types."""
        with self.engine.begin() as connection:
            found = connection.execute(sa.select(table))
            return pd.DataFrame(found.all(), columns=list(found.keys()), dtype=object)

    def change(self, statement: Any, *more: Any) -> None:
        """Write past every rule; the reader then asks a console that remembers nothing."""
        with self.engine.connect().execution_options(defiyield_write=True) as connection, connection.begin():
            connection.execute(statement, *more)
        self.browser = self.on_market("simulated")

    def page(self, path: str, status: int = 200) -> str:
        """The HTML at an address."""
        answer = self.browser.get(path)
        assert answer.status_code == status, f"{path}: {answer.status_code}"
        return answer.text

    def words(self, path: str) -> str:
        """What a reader sees at an address."""
        return words_of(self.page(path))


def words_of(html: str) -> str:
    """A page without its tags, on one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def require_harmless(html: str) -> None:
    """Nothing of HOSTILE became markup, code, or a character that cannot be seen."""
    for spoilt in ("<script>alert", "<img", "\x07", "\x1b", "\u202e", "long " * 400, ">49<"):
        assert spoilt not in html


def assess(treasury: Treasury, as_of: date) -> None:
    """Fill the lab by hand: two scenarios, three strategies, curves and trades of the runs over the first."""
    names = {"s1": ("covid", "crisis", True), "s2": ("whole", "full_cycle", False)}
    insert(treasury, schema.scenarios, [scenario(one, *told, as_of) for one, told in names.items()])
    insert(treasury, schema.strategies, [_strategy(name) for name in STRATEGIES])
    runs = [run(place, name, one, as_of) for place, name in enumerate(STRATEGIES) for one in names]
    insert(treasury, schema.backtest_results, runs)
    insert(treasury, schema.strategy_rankings, [rank(place, name, as_of) for place, name in enumerate(STRATEGIES)])
    insert(treasury, schema.equity_curves, [mark for name in STRATEGIES for mark in _curve(f"{name}/s1", as_of)])
    insert(treasury, schema.backtest_trades, [_trade("bold/s1", number, as_of) for number in range(120)])
    regime = {"as_of": as_of, "scope": "all", "regime": "calm", "sharpe": 1.25, "return": 0.5, "n_scenarios": 1}
    insert(treasury, schema.regime_performance, [{**regime, "strategy_id": name} for name in STRATEGIES])
    page = "<!doctype html><script>alert(1)</script>"
    report = {"as_of": as_of, "scope": "all", "n_strategies": 3, "n_scenarios": 1, "n_runs": 6, "n_trials": 3}
    insert(treasury, schema.assessment_report, [{**report, "page_html": page}])


def insert(treasury: Treasury, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Write rows; columns that are left out are null."""
    treasury.change(sa.insert(table), [{column.name: row.get(column.name) for column in table.columns} for row in rows])


def scenario(scenario_id: str, name: str, family: str, is_ranked: bool, as_of: date) -> dict[str, Any]:
    """A row of `scenarios` of the current set."""
    words = {"partition_key": scenario_id, "name": name, "family": family, "type": "historical_window"}
    days = {"as_of": as_of, "starts_on": date(2020, 2, 1), "ends_on": date(2020, 5, 1), "n_steps": 89, "n_warm_up": 0}
    hashes = {"paths_hash": f"paths {scenario_id}", "bars_hash": "bars", "generator_version": 1}
    lists = {"params_json": "{}", "instruments_json": "[]", "unavailable_json": "{}", "status": "ready"}
    flags = {"is_current": True, "is_ranked": is_ranked, "has_rows": True}
    return {"scenario_id": scenario_id, **words, **days, **hashes, **lists, **flags}


def _strategy(name: str) -> dict[str, Any]:
    words = {"type": "signal", "universe": "crypto", "description": f"<b>{name}</b>", "spec_json": "{}"}
    return {
        **{"strategy_id": name, "content_hash": f"hash {name}", "version": 1, "columns_json": "[]"},
        **{"warm_up_bars": 1, "is_current": True, **words},
    }


def run(place: int, name: str, scenario_id: str, as_of: date) -> dict[str, Any]:
    """A row of `backtest_results`; the further its place, the worse."""
    keys = {"run_key": f"{name}/{scenario_id}", "strategy_id": name, "strategy_hash": f"hash {name}"}
    family = "crisis" if scenario_id == "s1" else "full_cycle"
    made = {"scenario_id": scenario_id, "family": family, "universe": "crypto", "as_of": as_of}
    hashes = {"paths_hash": f"paths {scenario_id}", "inputs_hash": "inputs", "engine_version": ENGINE_VERSION}
    terms = {"costs_json": "{}", "account_json": "{}", "instruments_json": '["crypto:BTC"]', "refusals_json": "{}"}
    flags = {"is_in_sample": False, "has_curve": scenario_id == "s1", "cost_grid_json": "[]", "periods_per_year": 365.0}
    figures = {"n_bars": 89.0, "total_return": 0.125 - 0.25 * place, "sharpe": 1.5, "max_drawdown": -0.0625}
    return {**keys, **made, **hashes, **terms, **flags, **figures, "n_trades": 120.0, "excess_return": 0.03125}


def rank(place: int, name: str, as_of: date) -> dict[str, Any]:
    """A row of `strategy_rankings` over one scenario."""
    keys = {"as_of": as_of, "scope": "all", "strategy_id": name, "strategy_hash": f"hash {name}", "rank": place + 1}
    counts = {"n_scenarios": 1, "n_families": 1, "n_trades": 120, "n_trials": 3, "is_eligible": True}
    return {**keys, **counts, "score": 0.75 - 0.25 * place, "eligibility_flags": "", "worst_scenario": "s1"}


def _curve(run_key: str, as_of: date) -> list[dict[str, Any]]:
    """A rise with one deep fall in the middle."""
    marks = []
    for step in range(N_MARKS):
        drawdown = -0.4375 if step == N_MARKS // 2 + 1 else 0.0
        equity = (100_000.0 + 50.0 * step) * (1.0 + drawdown)
        worth = {"equity": equity, "cash": equity, "positions_value": 0.0, "drawdown": drawdown}
        beside = {"buy_and_hold": 100_000.0, "cash_benchmark": 100_000.0}
        day = as_of - timedelta(days=N_MARKS - step)
        marks.append({"run_key": run_key, "step": step, "date": day, **worth, **beside})
    return marks


def _trade(run_key: str, number: int, as_of: date) -> dict[str, Any]:
    opened = {"entry_date": as_of - timedelta(days=200 - number), "entry_price": 10.0, "entry_fee": 1.0}
    closed = {"exit_date": as_of - timedelta(days=190 - number), "exit_price": 11.0, "exit_fee": 1.0}
    facts = {"instrument_id": f"crypto:T{number}", "rule": 0, "side": "long", "quantity": 2.0, "bars_held": 10}
    sums = {"borrow_cost": 0.0, "exit_reason": "signal", "pnl": number + 0.25, "return": 0.1}
    return {"run_key": run_key, "number": number, **opened, **closed, **facts, **sums}
