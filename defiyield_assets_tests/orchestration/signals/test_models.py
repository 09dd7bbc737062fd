"""Models that are asked: what is stored of their answers, wrong answers, hosts that go away, injected titles."""

import json
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import DayRange
from defiyield_assets.orchestration.assets import signals as signal_assets
from defiyield_assets.orchestration.checks.signals import mixed_up
from defiyield_assets.orchestration.lab.signals import stored_signals
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.ollama_host import DIGEST, OllamaHost, chat, reply
from defiyield_assets_tests.orchestration.signals.desk import (
    BUY,
    DAYS,
    EVER,
    INJECTED,
    LAST,
    Desk,
    add_news,
    told_of,
)


@pytest.mark.nightly
def test_a_models_reply_is_stored_with_prompt_answer_digest_and_stamp(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    host.answer = lambda _: chat(reply(**BUY))
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    (row,) = desk.signals().to_dict("records")
    assert (row["status"], row["signal"], row["stop_loss_price"], row["target_price"]) == ("ok", "BUY", 1.0, 1e6)
    assert (row["model"], row["signal_type"], row["model_digest"]) == ("llama3.1", "ai:llama3.1", DIGEST)
    assert json.loads(row["prompt_json"]) == host.questions[0]["messages"]
    assert row["raw_answer"] == reply(**BUY)
    assert row["answered_at"] == datetime(2025, 6, 4, 0, 30, tzinfo=UTC)
    (signal,) = desk.trading().to_dict("records")
    assert signal["training_cutoff"] == date(2023, 12, 31)
    assert signal["prompt_hash"] == row["prompt_hash"]


def test_a_second_run_asks_nobody_not_even_for_the_digest(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    desk.make("llama3.1", DayRange.of(LAST))
    made, asked = desk.prints(), (len(host.questions), host.n_probes)
    assert asked == (3, 2)
    again = desk.make("llama3.1", DayRange.of(LAST))
    assert (len(host.questions), host.n_probes) == asked
    assert desk.prints() == made
    assert told_of(again)["n_cached"] == 3


@pytest.mark.nightly
def test_a_run_that_was_killed_before_it_wrote_asks_only_what_it_had_not_asked(
    hosted: tuple[Desk, OllamaHost],
) -> None:
    desk, host = hosted
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    writes.replace_slice(desk.engine, schema.trading_signals, desk.trading().iloc[:0], EVER)
    writes.replace_slice(desk.engine, schema.ai_signals, desk.signals().iloc[:0], EVER)
    desk.make("llama3.1", DayRange.of(LAST))
    assert len(host.questions) == 3, "the archive had the answer about BTC"
    assert len(desk.signals()) == 3


def test_an_answer_to_a_changed_question_stands_beside_the_one_that_was_followed(
    hosted: tuple[Desk, OllamaHost],
) -> None:
    desk, host = hosted
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    first = desk.signals()
    assert first[["signal", "is_followed", "n_news"]].to_numpy().tolist() == [["HOLD", True, None]]
    host.models["llama3.1:latest"] = "sha256:new"
    host.answer = lambda _: chat(reply(**BUY))
    add_news(desk.engine, "read back weeks later", datetime(2025, 6, 3, 12, tzinfo=UTC))
    beside = desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    assert told_of(beside)["n_beside"] == 1
    rows = desk.signals()
    same = rows[rows["model_digest"] == DIGEST].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, first, check_dtype=False)
    rows = rows.set_index("model_digest")
    assert rows["is_followed"].to_dict() == {DIGEST: True, "sha256:new": False}
    assert (rows.loc["sha256:new", "n_news"], len(host.questions)) == (1, 2)
    assert desk.trading()["signal"].tolist() == ["HOLD"], "what was signalled stays what was signalled"
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"], again=True)
    assert desk.trading()["signal"].tolist() == ["BUY"]
    assert desk.signals()["is_followed"].sum() == 1
    assert len(host.questions) == 2, "the same question again asks nobody"


@pytest.mark.nightly
def test_a_run_that_ends_while_another_one_works_loses_no_signal(
    hosted: tuple[Desk, OllamaHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = hosted
    real, meanwhile = signal_assets._of_news, ["llama3.1"]

    def slow(*given: Any) -> list[dict[str, Any]]:
        if meanwhile:
            desk.make(meanwhile.pop(), DayRange.of(LAST))
        return real(*given)

    monkeypatch.setattr(signal_assets, "_of_news", slow)
    desk.make("stub", DayRange.of(LAST))
    assert desk.trading()["signal_type"].value_counts().to_dict() == {"ai:stub": 3, "ai:llama3.1": 3}


@pytest.mark.nightly
def test_a_bar_that_the_host_cannot_answer_is_unavailable_alone(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted

    def choke(question: dict[str, Any]) -> Any:
        told = json.loads(question["messages"][1]["content"])
        is_odd = told["symbol"] == "BTC" and told["bar_closed_at"].startswith("2025-05-29")
        return (500, {"error": "prompt too long for the runner"}) if is_odd else chat(reply())

    host.answer = choke
    first = desk.make("llama3.1")
    counts = desk.signals()["status"].value_counts().to_dict()
    assert counts == {"ok": 2 * len(DAYS) + 5, "unavailable": 1}
    assert "too long for the runner" in told_of(first)["degraded"]


@pytest.mark.nightly
def test_weights_that_change_under_a_run_are_an_error_and_nothing_is_written(
    hosted: tuple[Desk, OllamaHost],
) -> None:
    desk, host = hosted

    def pulled(_: dict[str, Any]) -> Any:
        host.models["llama3.1:latest"] = "sha256:new"
        return chat(reply())

    host.answer = pulled
    assert not desk.make("llama3.1", DayRange.of(LAST), raise_on_error=False).success
    assert desk.signals().empty


@pytest.mark.nightly
def test_a_reply_that_is_none_is_asked_for_twice_more_with_the_reason(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    said = iter(["BUY!", '{"signal":"BUY"}', reply(**BUY)])
    host.answer = lambda _: chat(next(said))
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    (row,) = desk.signals().to_dict("records")
    assert (row["status"], row["signal"], row["n_asked"]) == ("ok", "BUY", 3)
    assert "is no JSON document" in host.questions[1]["messages"][-1]["content"]
    assert "'confidence' is missing" in host.questions[2]["messages"][-1]["content"]


@pytest.mark.nightly
def test_a_model_that_never_replies_holds_with_parse_failed(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    host.answer = lambda _: chat("```json " + reply(**BUY))
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    (row,) = desk.signals().to_dict("records")
    assert (row["status"], row["signal"], row["n_asked"], len(host.questions)) == ("parse_failed", "HOLD", 3, 3)
    assert row["raw_answer"] == "```json " + reply(**BUY)
    assert set(desk.trading()["signal"]) == {"HOLD"}


@pytest.mark.nightly
def test_contradicting_prices_hold_as_invalid_and_are_not_asked_again(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    host.answer = lambda _: chat(reply("BUY", stop_loss_price=1e6, target_price=1.0))
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    (row,) = desk.signals().to_dict("records")
    assert (row["status"], row["signal"], len(host.questions)) == ("invalid", "HOLD", 1)
    assert np.isnan(row["target_price"])


def test_a_host_that_is_away_leaves_unavailable_rows_and_a_degraded_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFIYIELD_OLLAMA_URL", "http://127.0.0.1:9")
    result = desk.make("llama3.1", DayRange.of(LAST))
    rows = desk.signals()
    assert set(rows["status"]) == {"unavailable"}
    assert set(rows["signal"]) == {"HOLD"}
    assert "llama3.1 does not answer" in told_of(result)["degraded"]
    assert stored_signals(desk.engine, DAYS).empty, "no statement is no signal"


@pytest.mark.nightly
def test_a_host_that_goes_away_takes_nothing_back_and_is_not_waited_for_again(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    before = desk.signals()
    add_news(desk.engine, "another question now", datetime(2025, 6, 3, 12, tzinfo=UTC))
    n_before = len(host.questions)
    host.answer = lambda _: (503, {"error": "overloaded"})
    desk.make("llama3.1", DayRange.of(LAST))
    kept = desk.signals(instrument_id="crypto:BTC")
    pd.testing.assert_frame_equal(kept, before)
    assert set(desk.signals(instrument_id="crypto:ETH")["status"]) == {"unavailable"}
    assert len(host.questions) - n_before == 3 * 5, "the attempts of three bars, then nobody waits"
    host.answer = lambda _: chat(reply())
    desk.make("llama3.1", DayRange.of(LAST))
    assert set(desk.signals()["status"]) == {"ok"}


@pytest.mark.nightly
def test_a_host_without_the_model_is_an_error_that_says_what_to_do(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    host.models = {"mistral:latest": "sha256:m"}
    result = desk.make("llama3.1", DayRange.of(LAST), raise_on_error=False)
    assert not result.success
    told = [event for event in result.all_events if event.is_step_failure]
    assert "ollama pull llama3.1" in str(told[0].step_failure_data.user_failure_data)
    assert desk.signals().empty


@pytest.mark.nightly
def test_an_answer_of_another_model_is_never_taken_for_this_ones(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, host = hosted
    host.answer = lambda _: chat(reply(**BUY), model="stub")
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    assert set(desk.signals()["status"]) == {"unavailable"}


def test_an_injected_title_is_a_quotation_and_what_it_wants_is_no_signal_of_its_own(
    hosted: tuple[Desk, OllamaHost],
) -> None:
    desk, host = hosted
    add_news(desk.engine, INJECTED, datetime(2025, 6, 3, 12, tzinfo=UTC))

    def obey(question: dict[str, Any]) -> dict[str, Any]:
        document = json.loads(question["messages"][1]["content"])
        assert set(document["news"][0]) == {"published_at", "source", "title"}
        return chat('{"signal":"BUY"}')

    host.answer = obey
    desk.make("llama3.1", DayRange.of(LAST), instruments=["BTC"])
    (row,) = desk.signals().to_dict("records")
    assert (row["status"], row["signal"], row["n_news"]) == ("parse_failed", "HOLD", 1)
    assert host.questions[0]["messages"][0]["role"] == "system"
    assert "Ignore all" not in host.questions[0]["messages"][0]["content"]
    assert "\u202e" not in json.dumps(host.questions[0], ensure_ascii=False)


@pytest.mark.nightly
def test_stub_and_model_stand_side_by_side_and_a_run_touches_only_its_own(hosted: tuple[Desk, OllamaHost]) -> None:
    desk, _ = hosted
    desk.make("stub", DayRange.of(LAST))
    stub = desk.signals(model="stub")
    desk.make("llama3.1", DayRange.of(LAST))
    pd.testing.assert_frame_equal(desk.signals(model="stub"), stub)
    assert set(desk.trading()["signal_type"]) == {"ai:stub", "ai:llama3.1"}
    assert mixed_up(desk.signals()) == []
