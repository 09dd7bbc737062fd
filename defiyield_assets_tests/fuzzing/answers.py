"""Targets: what vendors, nodes and models answer, from the bytes of the body to rows that keep their promises.

Not here: files (files.py), command line, environment and headers (texts.py).
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from defiyield_assets.domain.news.articles import Stored, merge
from defiyield_assets.domain.signals.replies import ReplyError, read_reply
from defiyield_assets.sources import account_rows, cryptopanic, ollama, receipts, slack
from defiyield_assets.sources.drift import Shape, drift_of_bodies
from defiyield_assets.sources.wire import decode_json, decode_text
from defiyield_assets_tests.fuzzing.target import Target
from defiyield_assets_tests.sources.samples import WALLET
from defiyield_assets_tests.sources.test_fuzz import PARSERS, document_of, promises
from defiyield_assets_tests.sources.test_receipts import TOKEN, receipt, transaction, transfer

NOON = datetime(2025, 10, 24, 12, tzinfo=UTC)
NEWS_HOST = "news.example"


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def of_vendor(name: str) -> Target:
    """The parser of one vendor's endpoint behind the decoding of its body."""

    def read(data: bytes) -> object:
        rows = PARSERS[name](decode_json(data))
        promises(rows)
        return rows

    return Target(f"vendor_{name}", read, lambda: [encoded(document_of(name))])


def read_transaction(data: bytes) -> object:
    """A transaction and its receipt as a node tells them, into rows of `account_transactions`."""
    told = decode_json(data)
    answer = told if isinstance(told, dict) else {"told": told}
    found = receipts.read_receipt(receipts.proxied(answer.get("told")), receipts.proxied(answer.get("mined")))
    calls = receipts.parse_calls(answer.get("calls"), 1, found.tx_hash)
    frame = account_rows.account_frame(receipts.receipt_rows(found, 1, [WALLET], NOON, calls))
    promises(frame)
    return frame


def transactions() -> list[bytes]:
    mined = receipt(transfer(WALLET, TOKEN, 7), transfer(TOKEN, WALLET, 2**256 - 1), l1Fee="0x5")
    calls = {"status": "0", "message": "No transactions found", "result": []}
    return [encoded({"told": {"result": transaction()}, "mined": {"result": mined}, "calls": calls})]


def read_block(data: bytes) -> object:
    return receipts.read_time(receipts.proxied(decode_json(data)))


def read_news(data: bytes) -> object:
    """A page of news, and what the store would be handed of it."""
    answer = decode_json(data)
    cryptopanic.refuse_error(answer)
    page = cryptopanic.parse_page(answer, [NEWS_HOST])
    merged = merge(page.posts, Stored())
    for article in merged.articles:
        article.title.encode()
        assert "\x00" not in article.title
        assert len(article.title) < 2_000
        assert article.url == "" or article.url.startswith(("http://", "https://"))
    return page


def news() -> list[bytes]:
    post = {
        "id": 7,
        "kind": "news",
        "title": "USDC holds its peg",
        "published_at": "2025-10-23T08:00:00Z",
        "created_at": "2025-10-23T08:00:01Z",
        "url": "https://news.example/7",
        "original_url": "https://paper.example/a?utm_source=x",
        "source": {"title": "Paper", "region": "en", "domain": "paper.example"},
        "votes": {"positive": 3, "negative": 1, "important": 0},
        "currencies": [{"code": "USDC"}],
    }
    return [
        encoded({"count": 1, "next": f"https://{NEWS_HOST}/api/v1/posts/?page=2", "previous": None, "results": [post]})
    ]


def read_model_answer(data: bytes) -> object:
    """What a model said, from the host's answer to the verdict."""
    answer = decode_json(data)
    ollama.refuse_error(answer)
    said = ollama.parse_chat(answer, "m")
    verdict = read_reply(said.content, 100.0)
    assert verdict.signal in ("BUY", "SELL", "HOLD")
    assert verdict.reasoning.isprintable()
    return verdict


def model_answers() -> list[bytes]:
    reply = {"signal": "BUY", "confidence": 0.5, "reasoning": "x", "stop_loss_price": 90.0, "target_price": 120}
    document = {"model": "m", "message": {"role": "assistant", "content": json.dumps(reply)}, "done": True}
    return [encoded(document | {"done_reason": "stop", "total_duration": 5, "eval_count": 3, "prompt_eval_count": 1})]


def read_tags(data: bytes) -> object:
    return ollama.parse_tags(decode_json(data))


def read_slack(data: bytes) -> object:
    said = decode_text(data)
    slack.refuse_error(said)
    assert slack.parse_answer(said) == "ok"
    return said


def read_drift(data: bytes) -> object:
    """The comparison with the known shape reads archived bodies of anybody."""
    return str(drift_of_bodies(Shape({"[].a": "n"}, {"[].b.c": "s"}), [data]))


def many() -> list[Target]:
    """Every target of answers."""
    single: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]]]] = {
        "transaction": (read_transaction, transactions),
        "block_time": (read_block, lambda: [encoded({"result": {"timestamp": "0x68fa1230"}})]),
        "news": (read_news, news),
        "model_tags": (read_tags, lambda: [encoded({"models": [{"name": "m:latest", "digest": "ab" * 32}]})]),
        "slack_words": (read_slack, lambda: [b"ok", b"invalid_payload", b"no_service"]),
    }
    return [
        *(of_vendor(name) for name in sorted(PARSERS)),
        *(Target(name, read, seeds) for name, (read, seeds) in single.items()),
        Target("model_answer", read_model_answer, model_answers, (ReplyError,)),
        Target("drift", read_drift, lambda: [b'[{"a":1,"b":{"c":"x"}}]']),
    ]
