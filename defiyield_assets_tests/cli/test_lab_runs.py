"""Stages of commands: what is left, blocks of partitions, words with numbers in them, a stop and a failure."""

import os
import signal
import time
from io import StringIO

import dagster as dg
import pandas as pd
import pytest
from rich.console import Console

from defiyield_assets.cli.assess import RANK_COLUMNS, _print_ranking, blocks
from defiyield_assets.cli.lab_runs import Clock, Ran, Stage, counted, print_degraded, run_stage


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("40 of 210 scenarios", (40, 210, "scenarios")),
        ("1,000 of 2,500 scenarios, 12 of 30 runs", (1000, 2500, "scenarios, 12 of 30 runs")),
        ("started", None),
        ("20 instruments", None),
    ],
)
def test_how_far_a_step_is_stands_in_its_words(words: str, found: tuple[int, int, str] | None) -> None:
    assert counted(words) == found


def test_why_a_stage_is_degraded_is_told_once_for_each_reason() -> None:
    told = StringIO()
    facts = {"a": {"degraded": "no KEY"}, "b": {"degraded": "no KEY"}, "c": {"degraded": "2 late"}, "d": {"rows": 1}}
    print_degraded(Ran(Stage("data", "job", ()), 1.0, {}, facts), Console(file=told, width=80))
    assert [line.split(": ")[1] for line in told.getvalue().splitlines()] == ["no KEY", "2 late"]


def test_what_is_left_is_told_at_the_pace_so_far() -> None:
    times = iter([100.0, 110.0, 130.0])
    clock = Clock(lambda: next(times, 130.0))
    assert clock.left("backtests", 10, 100) is None, "no pace yet"
    assert clock.left("backtests", 20, 100) == pytest.approx(80.0)
    assert clock.left("backtests", 40, 100) == pytest.approx(60.0)
    assert clock.left("metrics", 1, 5) is None, "another step"


def test_a_ranking_can_be_read_where_the_terminal_is_narrow_or_none() -> None:
    row = {name: 0.5 for name, _, kind in RANK_COLUMNS if kind != "text"}
    flags = "too_few_trades, too_few_scenarios"
    rows = pd.DataFrame([{**row, "strategy_id": "dollar_cost_averaging", "eligibility_flags": flags}])
    printed = StringIO()
    _print_ranking("all", rows, Console(file=printed, width=80))
    told = " ".join(printed.getvalue().split())
    assert "dollar_cost_averaging" in told
    assert flags in told
    assert all(words in told for _, words, _ in RANK_COLUMNS)
    assert "…" not in told
    assert max(map(len, printed.getvalue().splitlines())) <= 80


def test_chosen_partitions_are_run_in_blocks_of_neighbours() -> None:
    keys = ["a", "b", "c", "d", "e"]
    assert blocks(keys, None) == [("a", "e")]
    assert blocks(keys, {"a", "b", "d"}) == [("a", "b"), ("d", "d")]
    assert blocks(keys, set()) == []
    assert blocks([], None) == []


@dg.asset
def stopped() -> None:
    """Made until somebody presses Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5.0)


@dg.asset
def broken() -> None:
    """Never made."""
    raise ValueError("no bars")


def test_a_stop_is_a_stop_and_a_failure_a_failure() -> None:
    defs = dg.Definitions([stopped, broken], jobs=[dg.define_asset_job("every", "*")])
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(KeyboardInterrupt):
            run_stage(defs, instance, Stage("stop", "every", ("stopped",)), Console(file=StringIO()))
        tags = {"defiyield/chain": "assess"}
        ran = run_stage(defs, instance, Stage("fail", "every", ("broken",)), Console(file=StringIO()), tags)
        assert "no bars" in ran.failed["broken"]
        (last,) = instance.get_runs(limit=1)
        assert last.tags["defiyield/chain"] == "assess"
