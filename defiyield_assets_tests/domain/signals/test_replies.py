"""Replies of models: what is one, what is asked again for, what is invalid; hostile text is never a signal."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.signals.replies import LONGEST_REASONING, REPLY_SCHEMA, ReplyError, read_reply
from defiyield_assets.domain.signals.rules import SIGNALS, STATUSES, news_verdict, price_problem
from defiyield_assets_tests.ollama_host import reply

CLOSE = 100.0
BUY = {"signal": "BUY", "stop_loss_price": 95.0, "target_price": 110}
SELL = {"signal": "SELL", "stop_loss_price": 105.5, "target_price": 90}


def test_a_reply_of_the_schema_is_a_signal_with_its_prices() -> None:
    told = read_reply(reply(**BUY, confidence=1, reasoning="up\u202e and\n away"), CLOSE)
    assert (told.status, told.signal, told.confidence) == ("ok", "BUY", 1.0)
    assert (told.stop_loss_price, told.target_price) == (95.0, 110.0)
    assert told.reasoning == "up and away"
    assert read_reply(reply(**SELL), CLOSE).signal == "SELL"
    assert read_reply("  " + reply() + "\n", CLOSE).signal == "HOLD"


def test_a_hold_names_no_prices_whatever_it_says() -> None:
    told = read_reply(reply("HOLD", stop_loss_price=500, target_price=-3), CLOSE)
    assert (told.status, told.stop_loss_price, told.target_price) == ("ok", None, None)


@pytest.mark.parametrize(
    "prices",
    [
        {"signal": "BUY", "stop_loss_price": 100.0, "target_price": 110},
        {"signal": "BUY", "stop_loss_price": 95, "target_price": 100.0},
        {"signal": "BUY", "stop_loss_price": 110, "target_price": 95},
        {"signal": "BUY", "stop_loss_price": -1, "target_price": 110},
        {"signal": "BUY", "stop_loss_price": 0, "target_price": 110},
        {"signal": "BUY", "stop_loss_price": None, "target_price": 110},
        {"signal": "BUY", "stop_loss_price": 95, "target_price": None},
        {"signal": "SELL", "stop_loss_price": 95, "target_price": 110},
        {"signal": "SELL", "stop_loss_price": 100.0, "target_price": 90},
        {"signal": "SELL", "stop_loss_price": 105, "target_price": -90},
    ],
)
def test_prices_that_contradict_their_side_are_invalid_and_hold(prices: dict[str, Any]) -> None:
    told = read_reply(reply(**prices), CLOSE)
    assert (told.status, told.signal) == ("invalid", "HOLD")
    assert (told.confidence, told.stop_loss_price, told.target_price) == (None, None, None)
    assert told.problem is not None
    assert prices["signal"] in told.problem


NO_REPLIES = {
    "words": "BUY BUY BUY",
    "nothing": "",
    "half": reply()[:-5],
    "a fence": "```json\n" + reply() + "\n```",
    "two": reply() + reply(),
    "a list": "[" + reply() + "]",
    "NaN": reply().replace("0.7", "NaN"),
    "infinite": reply(**BUY).replace("110", "1e400"),
    "digits": reply(**BUY).replace("110", "9" * 400),
    "more digits": reply(**BUY).replace("110", "9" * 5000),
    "lower case": reply("buy"),
    "another side": reply("SHORT"),
    "a list of sides": reply(signal=["BUY"]),
    "no confidence": reply(confidence=None),
    "too sure": reply(confidence=1.01),
    "unsure": reply(confidence=-0.01),
    "true": reply(confidence=True),
    "text": reply(confidence="0.9"),
    "price as text": reply(**{**BUY, "target_price": "110"}),
    "price as truth": reply(**{**BUY, "target_price": True}),
    "long": reply(reasoning="x" * (LONGEST_REASONING + 1)),
    "no words": reply(reasoning=None),
    "one key more": reply(leverage=100),
    "a key twice": reply()[:-1] + ',"signal":"BUY"}',
    "a key less": json.dumps({name: value for name, value in json.loads(reply()).items() if name != "target_price"}),
    "deep": "[" * 100_000,
    "huge": reply(reasoning="x" * 100_000),
}


@pytest.mark.parametrize("name", NO_REPLIES)
def test_what_is_no_reply_is_asked_for_again(name: str) -> None:
    with pytest.raises(ReplyError) as caught:
        read_reply(NO_REPLIES[name], CLOSE)
    assert len(str(caught.value)) < 400


def test_reasoning_may_have_exactly_as_many_characters_as_the_spec_says() -> None:
    assert read_reply(reply(reasoning="x" * 600), CLOSE).status == "ok"
    assert REPLY_SCHEMA["properties"]["reasoning"]["maxLength"] == 600


NUMBERS = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=4))


@given(
    signal=st.sampled_from([*SIGNALS, "buy", None]),
    confidence=NUMBERS,
    stop=NUMBERS,
    target=NUMBERS,
    close=st.floats(1e-9, 1e9),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_told_only_fitting_prices_are_ever_a_signal(
    signal: Any, confidence: Any, stop: Any, target: Any, close: float
) -> None:
    text = json.dumps(
        {
            "signal": signal,
            "confidence": confidence,
            "reasoning": "",
            "stop_loss_price": stop,
            "target_price": target,
        }
    )
    try:
        told = read_reply(text, close)
    except ReplyError:
        return
    assert told.status in STATUSES
    if told.signal == "HOLD":
        assert told.stop_loss_price is None
        return
    assert told.status == "ok"
    low, high = sorted((told.stop_loss_price or 0.0, told.target_price or 0.0))
    assert 0.0 < low < close < high
    assert (told.stop_loss_price == low) == (told.signal == "BUY")


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_verdict_or_a_reply_error(text: str) -> None:
    with contextlib.suppress(ReplyError):
        read_reply(text, CLOSE)


def test_news_is_a_signal_from_the_trigger_on_and_with_enough_articles() -> None:
    assert news_verdict(0.25, 3).signal == "BUY"
    assert news_verdict(-0.9, 3).signal == "SELL"
    assert news_verdict(-0.9, 3).confidence == 0.9
    assert news_verdict(0.2499, 30).signal == "HOLD"
    assert news_verdict(0.9, 2).signal == "HOLD"
    assert news_verdict(None, 9).signal == "HOLD"
    assert news_verdict(float("nan"), 9).signal == "HOLD"


def test_a_hold_has_no_price_problem_and_missing_prices_are_one() -> None:
    assert price_problem("HOLD", CLOSE, 1.0, 2.0) is None
    assert price_problem("BUY", CLOSE, None, None) is not None
    assert price_problem("SELL", CLOSE, float("inf"), 90.0) is not None
