"""`defiyield paper` and `defiyield desk`: trading stored bars, following new ones, and the three workflows."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from rich.console import Console

from defiyield_assets.cli import paper
from defiyield_assets.cli.main import main
from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.paper.statements import Statement
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import Installation
from defiyield_assets_tests.orchestration.small_lab import LAST, fill

START = LAST - timedelta(days=20)
TERMS = ("--strategy", "turtle", "--from", START.isoformat())
Run = Callable[..., int]


@pytest.fixture
def state(tmp_path: Path) -> Installation:
    """A migrated installation with bars of a few coins and shares."""
    made = Installation(tmp_path / "state")
    (tmp_path / "state").mkdir()
    made.warehouse.migrate()
    fill(made.engine)
    return made


@pytest.fixture
def run(state: Installation, command_line: None) -> Run:
    """A command as somebody types it."""

    def typed(*words: str) -> int:
        return main([*words, "--market", "simulated", "--state-dir", str(state.folder)])

    return typed


def hidden_bars(engine: sa.Engine, first: date) -> pd.DataFrame:
    """Bars of coins from a day on, taken away until they are told."""
    bars = schema.daily_bars
    with engine.begin() as connection:
        where = (bars.c.date >= first) & (bars.c.instrument_type == "crypto")
        rows = connection.execute(sa.select(bars).where(where)).mappings().all()
        connection.execute(sa.delete(bars).where(where))
    return pd.DataFrame([dict(row) for row in rows])[bars.columns.keys()]


def tell_bars(engine: sa.Engine, bars: pd.DataFrame, day: date) -> None:
    """A day's bars, as the daemon would store them."""
    frame = bars[bars["date"] == day].reset_index(drop=True)
    writes.replace_slice(engine, schema.daily_bars, frame, DayRange.of(day), {"instrument_type": "crypto"})


@pytest.mark.nightly
def test_a_run_prints_balances_and_trades_and_goes_on_where_it_stopped(
    run: Run, state: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    middle = (LAST - timedelta(days=9)).isoformat()
    assert run("paper", "run", *TERMS, "--to", middle) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("turtle over crypto_liquid", "USD", "equity", "round trips", "instrument"))
    assert "entry price   exit price" in shown, "of a short, what was sold comes first"
    assert run("paper", "run", *TERMS, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["date"], told["starts_on"], told["strategy_id"]) == (LAST.isoformat(), START.isoformat(), "turtle")
    assert told["orders"]
    assert told["trades"]
    assert set(told["balances"]) >= {"USD"}
    rows = state.rows(schema.paper_portfolio)
    assert len(rows) == 21
    before = state.fingerprint(schema.paper_portfolio)
    assert run("paper", "run", *TERMS) == 0
    assert run("paper", "run", *TERMS, "--to", middle) == 0
    assert state.fingerprint(schema.paper_portfolio) == before
    name = told["portfolio_id"]
    capsys.readouterr()
    assert run("paper", "run", *TERMS, "--to", middle, "--json") == 0
    assert json.loads(capsys.readouterr().out)["date"] == middle, "told is what was asked for"
    assert run("paper", "show", name, "--against-backtest") == 0
    assert "the same trades and equity, to the bit" in capsys.readouterr().out
    assert run("paper", "show") == 0
    assert "turtle" in capsys.readouterr().out
    assert run("paper", "show", "--date", middle, "--against-backtest", "--json") == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["date"], one["backtest"]["is_equal"]) == (middle, True)
    assert run("paper", "show", name, "--date", middle, "--json") == 0
    assert json.loads(capsys.readouterr().out)["date"] == middle
    assert run("paper", "run", *TERMS, "--capital", "500", "--json") == 0
    assert json.loads(capsys.readouterr().out)["portfolio_id"] != name, "other terms are another portfolio"
    with state.engine.begin() as connection:
        row = schema.paper_portfolio
        connection.execute(sa.update(row).where(row.c.date == LAST).values(engine_equity=row.c.engine_equity + 1.0))
    assert run("paper", "show", "--against-backtest") == 1
    assert "equity apart by 1" in capsys.readouterr().out


@pytest.mark.nightly
def test_follow_trades_each_new_bar_once_and_ends_with_ctrl_c(
    state: Installation, command_line: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hidden = hidden_bars(state.engine, LAST - timedelta(days=2))
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) in (2, 3, 5):
            tell_bars(state.engine, hidden, min(set(hidden["date"]) - traded()))
        if len(waits) == 7:
            raise KeyboardInterrupt

    def traded() -> set[date]:
        return set(state.rows(schema.paper_portfolio)["date"])

    monkeypatch.setattr(paper, "sleep", wait)
    words = ("paper", "run", *TERMS, "--follow", "--poll", "5")
    assert main([*words, "--market", "simulated", "--state-dir", str(state.folder)]) == 0
    assert waits == [5.0] * 7
    shown = capsys.readouterr().out
    for day in sorted(set(hidden["date"])):
        assert shown.count(f"{day}: equity") == 1
    assert f"stopped behind {LAST}" in shown
    rows = state.rows(schema.paper_portfolio)
    assert rows["date"].max() == LAST
    assert len(rows) == 21
    name = str(rows["portfolio_id"].iloc[0])
    assert (
        main(["paper", "show", name, "--against-backtest", "--market", "simulated", "--state-dir", str(state.folder)])
        == 0
    )


@pytest.mark.nightly
def test_bars_that_begin_after_the_first_day_are_traded_from_where_they_begin_and_following_waits(
    state: Installation, command_line: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = schema.daily_bars
    with state.engine.begin() as connection:
        connection.execute(sa.delete(bars).where(bars.c.date <= START))
    hidden = hidden_bars(state.engine, START)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            for day in sorted(set(hidden["date"]))[:3]:
                tell_bars(state.engine, hidden, day)
        if len(waits) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(paper, "sleep", wait)
    words = ("--strategy", "buy_and_hold", "--from", START.isoformat(), "--market", "simulated")
    assert main(["paper", "run", *words, "--follow", "--json", "--state-dir", str(state.folder)]) == 0
    assert waits == [60.0] * 4
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["date"] == (START + timedelta(days=3)).isoformat()
    assert len(state.rows(schema.paper_portfolio)) == 3


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("3628364.5512", "3,628,365"),
        ("0.0000131160", "0.000013116"),
        ("1.23456789", "1.23457"),
        ("20000", "20,000"),
        ("1E+7", "10,000,000"),
        ("0E-12", "0"),
        ("-0.000000123", "-0.000000123"),
    ],
)
def test_figures_keep_their_size_whatever_it_is(value: str, told: str) -> None:
    assert paper._plain(Decimal(value)) == told


def test_no_figure_is_cut_where_the_terminal_is_narrow() -> None:
    trade = {"instrument_id": "crypto:SHIB", "side": "long", "exit_reason": "rebalance", "pnl": 12345.678}
    trade |= {"entry_date": START, "exit_date": LAST, "return": 0.25}
    trade |= {"quantity": 3628364.5512, "entry_price": 0.000013116, "exit_price": 0.00001424081}
    console = Console(file=StringIO(), width=40)
    paper.print_trades(Statement({}, pd.DataFrame(), pd.DataFrame([trade])), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(word in shown for word in ("crypto:SHIB", "3,628,365", "0.000013116", "0.0000142408", "12,345.68"))
    assert "…" not in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "--strategy", "turtel", "--from", "2025-06-01"), "did you mean 'turtle'?"),
        (("run", "--strategy", "turtle", "--from", "1999-01-01"), "days run from"),
        (("run", "--strategy", "turtle", "--from", "2025-06-09", "--to", "2025-06-01"), "is after --to"),
        (("run", "--strategy", "turtle", "--from", "2025-06-01", "--capital", "0"), "the capital is above 0"),
        (("run", "--strategy", "turtle", "--from", "2025-06-01", "--capital", "1e300"), "from 0.01 to 1,000,000"),
        (("run", "--strategy", "turtle", "--from", "2025-06-01", "--capital", "1e-300"), "from 0.01 to 1,000,000"),
        (("run", "--strategy", "turtle", "--from", "2025-06-01", "--poll", "0"), "from 1 to 86,400 seconds"),
    ],
)
def test_wrong_words_are_refused_in_words_before_anything_is_read(
    words: tuple[str, ...], told: str, tmp_path: Path, command_line: None, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["paper", *words, "--market", "simulated", "--state-dir", str(tmp_path)])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    assert told in capsys.readouterr().err


def test_what_is_not_there_is_refused_in_words(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    named = ("run", "--strategy", "turtle", "--from")
    for words, told in (
        ((*named, "2026-01-09"), "has no bar from 2026-01-09 on"),
        ((*named, "2025-06-01", "--universe", "crypto_liqid", "--follow"), "did you mean 'crypto_liquid'?"),
        (("show", "nobody"), "none is stored yet"),
    ):
        assert run("paper", *words) == 2
        assert told in capsys.readouterr().err


@pytest.mark.nightly
def test_the_three_workflows_run_one_after_the_other(
    tmp_path: Path, command_line: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Set-up and backtest, two days live, an update of three: the portfolio is that of a backtest, signals included."""
    from defiyield_assets.config.reading import SHIPPED

    config = tmp_path / "config"
    (config / "strategies").mkdir(parents=True)
    text = (SHIPPED / "strategies" / "historical_ai_signal.yaml").read_text(encoding="utf-8")
    text = text.replace("id: historical_ai_signal", "id: stub_follower").replace("ai:llama3.1", "ai:stub")
    (config / "strategies" / "stub_follower.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", str(config))
    state = Installation(tmp_path / "state")

    def typed(*words: str) -> int:
        return main([*words, "--market", "simulated", "--state-dir", str(state.folder)])

    named = ("--strategy", "stub_follower", "--json")
    assert typed("desk", "setup", *named, "--from", "2025-05-20", "--to", "2025-06-03") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["strategy_id"] == "stub_follower"
    assert list(told["signals"]) == ["ai:stub"]
    assert told["signals"]["ai:stub"]["ok"] > 100
    assert (told["is_stub"], told["is_in_sample"]) == (True, False)
    assert typed("desk", "live", *named, "--from", "2025-06-04", "--to", "2025-06-05") == 0
    assert json.loads(capsys.readouterr().out)["date"] == "2025-06-05"
    assert typed("desk", "update", *named, "--from", "2025-06-04", "--to", "2025-06-08") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["date"] == "2025-06-08"
    assert {one["signal_type"] for one in told["signals"]} == {"ai:stub"}
    assert told["orders"]
    assert (told["signal_types"], told["is_stub"], told["is_in_sample"]) == (["ai:stub"], True, False)
    assert typed("paper", "show", told["portfolio_id"], "--against-backtest") == 0
    shown = capsys.readouterr().out
    assert "to the bit" in shown
    assert "ai:stub (the stub: no model was asked)" in shown
    assert len(state.rows(schema.news_articles)) > 0
