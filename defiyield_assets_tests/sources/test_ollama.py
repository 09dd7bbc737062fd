"""Ollama over a real socket: recorded answers replayed, and hosts that are slow, wrong, broken, foreign or away."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.errors import VendorError, VendorMalformed, VendorNotFound, VendorUnavailable
from defiyield_assets.sources.ollama import BesideMarket, Ollama, parse_chat, parse_tags
from defiyield_assets.sources.recall import ALWAYS
from defiyield_assets.sources.transport import ATTEMPTS, Gateway
from defiyield_assets.sources.vendors import default_vendors, served_by, without_pacing
from defiyield_assets_tests.ollama_host import DIGEST, OllamaHost, chat, ollama_host, reply
from defiyield_assets_tests.sources.conftest import MemoryArchive

STAMP = datetime(2025, 6, 4, 0, 30, tzinfo=UTC)
MESSAGES = [{"role": "user", "content": "Tell me a joke about OpenTelemetry"}]
OPTIONS = {"temperature": 0, "seed": 7}
SCHEMA = {"type": "object"}


async def _at_once(_: float) -> None:
    return None


def ask(
    host: OllamaHost | str,
    question: Callable[[Ollama], Awaitable[Any]],
    archive: MemoryArchive | None = None,
    seconds: float = 5.0,
) -> Any:
    """Ask a host through the gateway of a market that knows nothing of it; nobody waits between attempts."""
    url = host if isinstance(host, str) else host.url

    def market(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"the market was asked {request.url}")

    async def run() -> Any:
        vendors = without_pacing(default_vendors({}, ollama_url=url))
        vendors["ollama"] = replace(vendors["ollama"], read_seconds=seconds)
        transport = BesideMarket(httpx.MockTransport(market), lambda: httpx.AsyncHTTPTransport(trust_env=False))
        own = MemoryArchive() if archive is None else archive
        day = date(2025, 6, 3)
        async with Gateway(transport, own, vendors, day, now=lambda: STAMP, sleep=_at_once) as gateway:
            return await question(Ollama(gateway))

    return asyncio.run(run())


def one_chat(model: str = "llama3.1", digest: str = DIGEST, **more: Any) -> Callable[[Ollama], Awaitable[Any]]:
    """One question to a model."""
    return lambda client: client.chat(model, digest, MESSAGES, SCHEMA, OPTIONS, **more)


def test_every_recorded_chat_is_read_and_a_recorded_stream_is_refused(recorded_data: Path) -> None:
    read = refused = 0
    for path in sorted((recorded_data / "fixtures" / "ollama").glob("*.yaml")):
        one = yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"][0]
        asked, body = json.loads(one["request"]["body"]), one["response"]["body"]["string"]
        if not one["request"]["uri"].endswith("/api/chat"):
            continue
        with ollama_host(lambda _, body=body: body.encode()) as host:
            if asked["stream"]:
                with pytest.raises(VendorMalformed):
                    ask(host, one_chat(asked["model"]))
                refused += 1
            else:
                told = ask(host, one_chat(asked["model"])).rows
                assert told.content == json.loads(body)["message"]["content"]
                assert told.model == asked["model"]
                assert told.done_reason == "stop"
                assert told.seconds == json.loads(body)["total_duration"] / 1e9
                assert set(asked) & {"model", "messages", "stream"} <= set(host.questions[0])
                read += 1
    assert read >= 4
    assert refused >= 2


def test_a_question_is_what_the_contract_says_and_the_stamp_is_the_markets() -> None:
    with ollama_host(lambda _: chat("{}")) as host:
        told = ask(host, one_chat())
    sent = host.questions[0]
    assert sent == {
        "model": "llama3.1",
        "messages": MESSAGES,
        "stream": False,
        "format": SCHEMA,
        "options": OPTIONS,
    }
    assert told.fetched_at == STAMP


def test_an_answer_of_other_weights_is_no_answer_from_the_archive() -> None:
    archive = MemoryArchive()
    with ollama_host(lambda _: chat("{}")) as host:
        first = ask(host, one_chat(reuse=ALWAYS), archive)
        again = ask(host, one_chat(reuse=ALWAYS), archive)
        other = ask(host, one_chat(digest="sha256:other", reuse=ALWAYS), archive)
    assert [first.from_archive, again.from_archive, other.from_archive] == [False, True, False]
    assert len(host.questions) == 2


def test_the_digest_is_found_with_and_without_the_tag_latest() -> None:
    with ollama_host(lambda _: chat("{}")) as host:
        assert ask(host, lambda client: client.digest_of("llama3.1")) == DIGEST
        assert ask(host, lambda client: client.digest_of("llama3.1:latest")) == DIGEST


def test_a_model_that_the_host_lacks_is_named_with_the_command_that_brings_it() -> None:
    with ollama_host(lambda _: (404, {"error": 'model "mistral" not found, try pulling it first'})) as host:
        with pytest.raises(VendorNotFound, match="ollama pull mistral"):
            ask(host, lambda client: client.digest_of("mistral"))
        with pytest.raises(VendorNotFound, match="ollama pull"):
            ask(host, one_chat("mistral"))
    assert len(host.questions) == 1, "asking again brings no model"


def test_a_host_that_is_away_or_silent_is_unavailable() -> None:
    with pytest.raises(VendorUnavailable):
        ask("http://127.0.0.1:9", one_chat())
    with ollama_host(lambda told: host.say_nothing(told)) as host, pytest.raises(VendorUnavailable):
        ask(host, one_chat(), seconds=0.05)
    assert len(host.questions) == ATTEMPTS


WRONG: dict[str, tuple[Any, type[VendorError]]] = {
    "a page": (b"<html>proxy</html>", VendorMalformed),
    "half a document": (b'{"model":"llama3.1","message":{"role":"assi', VendorMalformed),
    "a list": (b"[]", VendorMalformed),
    "another model": (chat("{}", model="stub"), VendorMalformed),
    "no model": (chat("{}", model=None), VendorMalformed),  # type: ignore[arg-type]
    "not done": (chat("{}", done=False), VendorMalformed),
    "no message": (chat("{}", message=None), VendorMalformed),
    "words of the user": (chat("{}", message={"role": "user", "content": "{}"}), VendorMalformed),
    "no words": (chat("{}", message={"role": "assistant", "content": 7}), VendorMalformed),
    "an error in a 200": ({"error": "out of memory"}, VendorUnavailable),
    "an error in a 500": ((500, {"error": "llama runner process has terminated"}), VendorUnavailable),
    "nothing": (b"", VendorMalformed),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_answer_is_a_typed_error(name: str) -> None:
    body, kind = WRONG[name]
    with ollama_host(lambda _: body) as host, pytest.raises(kind):
        ask(host, one_chat())


def test_a_host_that_recovers_is_asked_again() -> None:
    bodies = iter([b"{", (503, b""), chat("words")])
    with ollama_host(lambda _: next(bodies)) as host:
        assert ask(host, one_chat()).rows.content == "words"


def test_words_of_any_length_and_kind_are_only_words() -> None:
    long = "x" * 3_000_000
    assert len(parse_chat(chat(long), "llama3.1").content) == 100_000
    odd = parse_chat(json.loads('{"a":"\\ud800"}') | chat("a\ud800b\u202e"), "llama3.1").content
    odd.encode("utf-8")
    counts = parse_chat(chat("x", total_duration="soon", eval_count=-1, prompt_eval_count=True), "llama3.1")
    assert (counts.seconds, counts.answer_tokens, counts.prompt_tokens) == (None, None, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["model", "done", "message", "models"]), JSON)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_is_an_answer_or_a_vendors_error(whole: Any, key: str, part: Any) -> None:
    for told in (whole, {**chat("x"), key: part}, {"models": [part]}):
        for parse in (lambda one: parse_chat(one, "llama3.1"), parse_tags):
            with contextlib.suppress(VendorError):
                parse(told)


def test_the_chat_that_is_read_is_a_reply_of_the_schema() -> None:
    with ollama_host(lambda _: chat(reply())) as host:
        assert json.loads(ask(host, one_chat()).rows.content)["signal"] == "HOLD"


def test_no_server_speaks_for_our_own_host() -> None:
    vendors = served_by("http://127.0.0.1:1", default_vendors({}))
    assert vendors["ollama"].base_url == "http://127.0.0.1:11434"
    assert vendors["fred"].base_url.startswith("http://127.0.0.1:1/")
