"""`defiyield desk setup|live|update`: the three workflows of a desk, made of the assets that the UI runs.

Lives here: which stages a workflow has, in which order, and what is printed of them. Not here: one stage's run
(lab_runs.py), paper trading alone (paper.py), one backtest (strategy_backtest.py), arguments (paper_arguments.py).
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from time import sleep

import dagster as dg
import pandas as pd
from rich.console import Console
from sqlalchemy import Engine

from defiyield_assets.cli import show
from defiyield_assets.cli.assess import Bench
from defiyield_assets.cli.lab_runs import Stage, tell_failed
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.paper import (
    PaperDesk,
    Wait,
    Wanted,
    facts_of,
    nothing_traded,
    print_step,
    tell,
    wanted_of,
)
from defiyield_assets.cli.strategy_backtest import Wish, backtest
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.reporting.formats import is_missing
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.jobs import BROUGHT, set_up_desk, trade_day
from defiyield_assets.orchestration.lab.signals import followed_types
from defiyield_assets.orchestration.paper.statements import Statement, statement
from defiyield_assets.store import reads, schema

NEWS = ("news_articles", "news_votes", "news_instrument_links", "news_coverage", "news_sentiment")
SIGNALS = ("signal_types", "ai_signals", "trading_signals")
MODEL_TYPE = "ai:"
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Choice:
    """What is traded, whom to ask for signals (None: the model that the strategy follows), whether bars are brought."""

    wanted: Wanted
    model: str | None = None
    brings_data: bool = True


def run_workflow(arguments: argparse.Namespace, console: Console) -> int:
    """Run a workflow; returns the exit code."""
    choice = Choice(wanted_of(arguments), arguments.model, not arguments.no_data)
    run = {"setup": set_up, "live": trade_live, "update": update}[arguments.action]
    return run(choice, console, is_json=arguments.json)


class Workflow(PaperDesk):
    """A portfolio, and the stages that bring what it rests on."""

    def __init__(self, bench: Bench, choice: Choice, job: str) -> None:
        super().__init__(bench, choice.wanted)
        self.choice, self.job = choice, job

    @property
    def last(self) -> date:
        """The last day that is asked for."""
        return self.wanted.last or datetime.now(UTC).date() - ONE_DAY

    @property
    def model(self) -> str | None:
        """Who is asked for signals; None: the strategy follows no model and nobody was named."""
        if self.choice.model is not None:
            return self.choice.model
        followed = [kind for kind in followed_types(self.wish.strategy) if kind.startswith(MODEL_TYPE)]
        return followed[0].removeprefix(MODEL_TYPE) if followed else None

    def bring(self, days: DayRange, *, is_history: bool = False) -> bool:
        """Bars and features, news and signals of some days; whether all went well. News go on where their reading
        stopped; of a history they are read from its first day.
        """
        stages = []
        if self.choice.brings_data:
            stages.append(Stage("data", self.job, BROUGHT, _keys(days)))
        told = {"through": days.end.isoformat()} | ({"since": days.start.isoformat()} if is_history else {})
        stages.append(Stage("news", self.job, NEWS, config={"news_tables": told}))
        asked = {} if self.model is None else {"model": self.model}
        stages.append(Stage("signals", self.job, SIGNALS, _keys(days), {"ai_signals": asked}))
        return all(self.bench.run(stage) for stage in stages)


def _keys(days: DayRange) -> tuple[str, str]:
    return days.start.isoformat(), days.end.isoformat()


def set_up(choice: Choice, console: Console, *, is_json: bool) -> int:
    """Workflow 1: the past. Bars, features, news and signals of the range, then the strategy's backtest over it."""
    wanted = choice.wanted
    with dg.DagsterInstance.get() as instance:
        desk = Workflow(Bench(instance, console), choice, set_up_desk.name)
        if not desk.bring(DayRange(wanted.first, desk.last), is_history=True):
            return tell_failed(desk.bench.ran, is_json=is_json)
        if not desk.bench.run(Stage("strategies", set_up_desk.name, ("strategies",))):
            return tell_failed(desk.bench.ran, is_json=is_json)
    asked = Wish(wanted.strategy, wanted.first, desk.last, 1.0, wanted.capital, wanted.universe or None)
    return backtest(asked, console, is_json=is_json)


def trade_live(choice: Choice, console: Console, *, is_json: bool, wait: Wait | None = None) -> int:
    """Workflow 2: day by day, each with its bars, news and signal, then stops, orders and the mark; nothing is brought
    before its day. With `poll` it goes on with each day that is over, until Ctrl-C.
    """
    with dg.DagsterInstance.get() as instance:
        desk = Workflow(Bench(instance, console), choice, trade_day.name)
        try:
            while True:
                code = _through(desk, console)
                if code or choice.wanted.poll is None or choice.wanted.last is not None:
                    break
                (wait or sleep)(choice.wanted.poll)
        except KeyboardInterrupt:
            console.print(show.plain(f"stopped behind {desk.done()}: the same command goes on there"), soft_wrap=True)
            code = 0
        if code and is_json:
            return tell_failed(desk.bench.ran, is_json=is_json)
        done = desk.done()
        if done is not None:
            tell(
                statement(desk.bench.engine, desk.name, min(done, choice.wanted.last or done)), console, is_json=is_json
            )
        elif code == 0:
            raise ConfigurationError(nothing_traded(desk))
        return code


def _through(desk: Workflow, console: Console) -> int:
    """All days that are over and not traded yet, one after the other."""
    done = desk.done()
    day = desk.wanted.first if done is None else done + ONE_DAY
    while day <= desk.last:
        before = 0 if desk.done() is None else int(statement(desk.bench.engine, desk.name).row["n_orders"])
        if not (desk.bring(DayRange.of(day)) and desk.trade(day)):
            return 1
        if desk.done() is not None:
            print_step(statement(desk.bench.engine, desk.name), before, console)
        day += ONE_DAY
    return 0


def update(choice: Choice, console: Console, *, is_json: bool) -> int:
    """Workflow 3: what is missing since the portfolio's newest day in one go, the newest signals, and what waits for
    the next open.
    """
    with dg.DagsterInstance.get() as instance:
        desk = Workflow(Bench(instance, console), choice, trade_day.name)
        engine = desk.bench.engine
        done = desk.done()
        first = desk.wanted.first if done is None else min(done + ONE_DAY, desk.last)
        if not (desk.bring(DayRange(first, desk.last)) and desk.trade(desk.last)):
            return tell_failed(desk.bench.ran, is_json=is_json)
        if desk.done() is None:
            raise ConfigurationError(nothing_traded(desk))
        now = statement(engine, desk.name)
        signals = newest_signals(engine, followed_types(desk.wish.strategy), now)
        if is_json:
            write_json({**facts_of(now), "signals": signals.to_dict("records")})
            return 0
        print_signals(signals, console)
        tell(now, console, is_json=False)
    return 0


def print_signals(signals: pd.DataFrame, console: Console) -> None:
    """A line for each signal."""
    for one in signals.to_dict("records"):
        sure = "" if is_missing(one["confidence"]) else f", confidence {one['confidence']:.2f}"
        words = f"{one['signal_type']} {one['instrument_id']} {one['signal']} ({one['status']}{sure})"
        line = f"  {words}, actionable from {one['actionable_from']:%Y-%m-%d %H:%M}"
        console.print(show.plain(line), soft_wrap=True, emoji=False)


def newest_signals(engine: Engine, types: Sequence[str], told: Statement) -> pd.DataFrame:
    """Signals of a portfolio's instruments on the newest day that has any, of the types that its strategy follows; of
    all types, where it follows none.
    """
    where: dict[str, list[str]] = {"instrument_id": json.loads(told.row["instruments_json"])}
    if types:
        where["signal_type"] = list(types)
    rows = reads.read_latest(engine, schema.trading_signals, told.row["date"], where)
    columns = ["signal_type", "instrument_id", "signal", "status", "confidence", "actionable_from"]
    return rows.sort_values(["signal_type", "instrument_id"], ignore_index=True)[columns]
