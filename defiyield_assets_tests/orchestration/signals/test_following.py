"""Stored signals as strategies, backtests and the command line take them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from defiyield_assets.cli.main import main
from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration.lab.signals import counted_signals, signals_for, stored_signals
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.ollama_host import OllamaHost, chat, reply
from defiyield_assets_tests.orchestration.signals.desk import (
    COINS,
    DAYS,
    EVER,
    LAST,
    Desk,
)

FOLLOW = """id: follow
version: 1
universe: crypto_liquid
type: external
signal: "ai:stub"
sizing: {method: equal}
"""


def test_stored_signals_are_in_the_scale_of_the_bars_as_adjusted_now(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    host.answer = lambda _: chat(reply("BUY", stop_loss_price=200.0, target_price=1000.0))
    desk.make("llama3.1", DayRange.of(LAST), instruments=["AAPL"])
    (row,) = stored_signals(desk.engine, DAYS).to_dict("records")
    assert (row["stop_loss_price"], row["target_price"]) == (100.0, 500.0)


def test_a_training_cutoff_that_is_put_right_reaches_the_signals_that_are_stored(
    hosted: tuple[Desk, OllamaHost],
) -> None:
    desk, _ = hosted
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    types = reads.read_all(desk.engine, schema.signal_types, {"signal_type": "ai:llama3.1"})
    for now, wanted in ((date(2026, 1, 1), date(2026, 1, 1)), (date(2020, 1, 1), date(2023, 12, 31))):
        writes.upsert(desk.engine, schema.signal_types, types.assign(training_cutoff=now))
        assert stored_signals(desk.engine, DAYS)["training_cutoff"].tolist() == [wanted]
    writes.upsert(desk.engine, schema.signal_types, types)


def strategy(tmp_path: Path, text: str = FOLLOW) -> Any:
    from defiyield_assets.cli.strategies import strategy_of_file

    path = tmp_path / "follow.yaml"
    path.write_text(text, encoding="utf-8")
    return strategy_of_file(path)


def test_a_type_without_a_stored_signal_is_an_error_and_no_flat_line(desk: Desk, tmp_path: Path) -> None:
    desk.make()
    follow = strategy(tmp_path)
    told = signals_for(desk.engine, follow, DAYS, COINS)
    assert set(told["signal_type"]) == {"ai:stub"}
    assert set(told["instrument_id"]) == set(COINS), "those of the bars, and no others"
    assert counted_signals(desk.engine, DAYS, ["ai:stub"], COINS) == {"ai:stub": {"ok": 2 * len(DAYS)}}
    with pytest.raises(ConfigurationError, match=r"ai:stub, of which no signal"):
        signals_for(desk.engine, follow, DAYS, ["crypto:SOL"])
    other = strategy(tmp_path, FOLLOW.replace("ai:stub", "ai:llama3.1"))
    with pytest.raises(ConfigurationError, match=r"ai:llama3\.1, of which no signal .* ai:stub \(22\).*signals make"):
        signals_for(desk.engine, other, DAYS, COINS)
    garbled = desk.trading().assign(status="parse_failed", signal="HOLD", stop_loss_price=np.nan, target_price=np.nan)
    writes.replace_slice(desk.engine, schema.trading_signals, garbled, EVER)
    with pytest.raises(ConfigurationError, match=r"ai:stub, of which no signal"):
        signals_for(desk.engine, follow, DAYS, COINS)
    with pytest.raises(ConfigurationError, match=r"did you mean 'ai:llama3\.1'"):
        strategy(tmp_path, FOLLOW.replace("ai:stub", "ai:lama3.1"))


@pytest.mark.nightly
def test_a_backtest_follows_stored_signals_and_marks_what_the_model_knew(
    shell: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "follow.yaml"
    path.write_text(FOLLOW, encoding="utf-8")
    command = ["backtest", str(path), "--from", "2025-05-28", "--to", "2025-06-03", "--json"]
    assert main(command) == 2
    assert "of which no signal" in " ".join(capsys.readouterr().err.split())
    shell.make()
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["is_in_sample"], told["metrics"]["n_trades"]) == (False, 2)
    rows = shell.trading().assign(training_cutoff=date(2025, 5, 29))
    writes.replace_slice(shell.engine, schema.trading_signals, rows, EVER)
    assert main(command) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["is_in_sample"] is True
    assert main(command[:-1]) == 0
    assert "in_sample" in capsys.readouterr().out


@pytest.mark.nightly
def test_signals_are_made_and_shown_from_the_command_line(shell: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    span = ["--from", "2025-06-02", "--to", "2025-06-03"]
    assert main(["signals", "make", *span, "--instrument", "BTC", "crypto:ETH", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [(one["date"], one["instrument_id"], one["signal"]) for one in made] == [
        ("2025-06-03", "crypto:BTC", "BUY"),
        ("2025-06-03", "crypto:ETH", "SELL"),
        ("2025-06-02", "crypto:BTC", "BUY"),
        ("2025-06-02", "crypto:ETH", "SELL"),
    ]
    assert main(["signals", "show", *span, "--type", "ai:stub", "--instrument", "BTC"]) == 0
    assert "ai:stub ok BUY: 2" in capsys.readouterr().out
    for wrong in (["show", "--type", "ai:stubb"], ["make", "--model", "nobody"], ["make", "--instrument", "BTX"]):
        assert main(["signals", *wrong]) == 2
        assert capsys.readouterr().err.startswith("error: ConfigurationError")


@pytest.mark.nightly
def test_a_host_that_is_away_is_no_success_and_a_backtest_says_that_it_did_not_answer(
    shell: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_OLLAMA_URL", "http://127.0.0.1:9")
    span = ["--from", "2025-06-02", "--to", "2025-06-03"]
    assert main(["signals", "make", *span, "--instrument", "BTC", "--model", "llama3.1"]) == 1
    assert "llama3.1 does not answer" in " ".join(capsys.readouterr().out.split())
    path = tmp_path / "follow.yaml"
    path.write_text(FOLLOW.replace("ai:stub", "ai:llama3.1"), encoding="utf-8")
    assert main(["backtest", str(path), *span]) == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "was answered well: 2 unavailable" in words
    assert "asked again" in words


@pytest.mark.nightly
def test_days_without_bars_are_no_success_and_news_that_nobody_read_are_told(
    shell: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["signals", "make", "--from", "2025-07-01", "--to", "2025-07-02"]) == 1
    assert "no signal was made" in capsys.readouterr().out
    span = ["--from", "2025-06-03", "--to", "2025-06-03"]
    assert main(["signals", "make", *span, "--instrument", "BTC", "AAPL"]) == 0
    assert "news before 1 bars of coins were not read" in capsys.readouterr().out, "no feed tells of shares"
