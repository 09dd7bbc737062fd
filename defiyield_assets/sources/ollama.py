"""Ollama: which models a host has, and one model's answer to messages, by `/api/tags` and `/api/chat`.

Lives here: requests, typed answers, words of errors, and the transport to a host that is ours. Not here: what is asked
(domain/signals/prompts.py), what a reply means (domain/signals/replies.py).

An answer is archived under its question and under the digest of the model's weights: a model that was pulled anew
under the same name has answered nothing yet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from defiyield_assets.errors import VendorMalformed, VendorNotFound, VendorUnavailable
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window

VENDOR = "ollama"
LONGEST_CONTENT = 100_000
"""Characters of an answer that are kept; what is longer is no reply anyway."""
LATEST = ":latest"
"""The tag that Ollama leaves out of names or adds to them."""


@dataclass(frozen=True)
class ChatAnswer:
    """What a model said. `content`: its words, nothing that was understood yet; `done_reason`: stop, length, …;
    tokens and seconds as the host counts them, None: not told.
    """

    model: str
    content: str
    done_reason: str | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    seconds: float | None = None


class Ollama:
    """Client of one Ollama host."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def digests(self) -> Fetched[dict[str, str]]:
        """Digest of every model that the host has, by name; `VendorUnavailable` when nobody answers."""
        return await self._gateway.get(VENDOR, "/api/tags", {}, {}, parse_tags, refuse=refuse_error)

    async def digest_of(self, model: str) -> str:
        """Digest of one model; `VendorNotFound` naming what to pull when the host does not have it."""
        told = (await self.digests()).rows
        for name in (model, model + LATEST):
            if name in told:
                return told[name]
        raise VendorNotFound(
            f"the host has no model {model!r}, only {', '.join(sorted(told)) or 'none'}: run `ollama pull {model}`",
            vendor=VENDOR,
            endpoint="/api/tags",
        )

    async def chat(
        self,
        model: str,
        digest: str,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        options: Mapping[str, int],
        *,
        reuse: Window | None = None,
    ) -> Fetched[ChatAnswer]:
        """One answer, whole, in the shape of a JSON Schema as far as the host keeps to it.

        With `reuse` an archived answer of the same weights to the same question stands in. Errors: `VendorNotFound`
        (no such model), `VendorUnavailable` (nobody answers, or not in time), `VendorMalformed` (no chat answer, or
        one of another model).
        """
        payload = {
            "model": model,
            "messages": [dict(one) for one in messages],
            "stream": False,
            "format": dict(schema),
            "options": dict(options),
        }
        return await self._gateway.post_json(
            VENDOR,
            "/api/chat",
            payload,
            lambda answer: parse_chat(answer, model),
            reuse=reuse,
            refuse=refuse_error,
            depends_on={"digest": digest},
        )


def parse_tags(answer: object) -> dict[str, str]:
    """Name -> digest of `/api/tags`; `model` is the name where there is no `name`."""
    rows = fields.records(fields.record(answer, "the answer").get("models"), "models")
    found = {}
    for row in rows:
        name, digest = row.get("name") or row.get("model"), row.get("digest")
        if not isinstance(name, str) or not isinstance(digest, str) or not digest:
            told = f"the name {fields.shown(name)}, digest {fields.shown(digest)}"
            raise VendorMalformed(f"a model of /api/tags has {told}")
        found[name[:200]] = digest[:100]
    return found


def parse_chat(answer: object, model: str) -> ChatAnswer:
    """The answer of `/api/chat` with `stream: false`.

    VendorMalformed for one that is not done, is of another model, or holds no words.
    """
    body = fields.record(answer, "the answer")
    said = body.get("model")
    if not isinstance(said, str) or said.removesuffix(LATEST) != model.removesuffix(LATEST):
        raise VendorMalformed(f"the answer is of the model {fields.shown(said)}, asked was {model!r}")
    if body.get("done") is not True:
        raise VendorMalformed(f"the answer is not done: {fields.shown(body.get('done'))}")
    message = fields.record(body.get("message"), "message")
    content = message.get("content")
    if message.get("role") != "assistant" or not isinstance(content, str):
        raise VendorMalformed(f"the message holds no words of the model: {fields.shown(content)}")
    reason, nanoseconds = body.get("done_reason"), _count(body.get("total_duration"))
    return ChatAnswer(
        said,
        content[:LONGEST_CONTENT].encode("utf-8", errors="replace").decode("utf-8"),
        reason[:40] if isinstance(reason, str) else None,
        _count(body.get("prompt_eval_count")),
        _count(body.get("eval_count")),
        None if nanoseconds is None else nanoseconds / 1e9,
    )


def _count(value: object) -> int | None:
    """A number of the host's bookkeeping: nothing rests on it, so that a wrong one is unknown."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def refuse_error(answer: object) -> None:
    """Raise what `{"error": …}` stands for: a model that is not there, or a host that could not."""
    said = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(said, str):
        return
    if "not found" in said.lower():
        raise VendorNotFound(f"{said[:200]!r}: pull the model (`ollama pull NAME`) or name another")
    raise VendorUnavailable(f"the host says {said[:200]!r}")


class BesideMarket(httpx.AsyncBaseTransport):
    """Sends what is meant for our own model host over the network, everything else to the market.

    A model is no part of a recorded or simulated market: whoever names one wants it asked. Its clock is none of the
    market's, so that answers carry no `Date`: they are stamped with the market's present.
    """

    def __init__(self, market: httpx.AsyncBaseTransport, network: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._market = market
        self._open_network = network
        self._network: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer of the market, or of the host without its clock."""
        if request.extensions.get("vendor") != VENDOR:
            return await self._market.handle_async_request(request)
        if self._network is None:
            self._network = self._open_network()
        response = await self._network.handle_async_request(request)
        for name in ("date", "age"):
            response.headers.pop(name, None)
        return response

    async def aclose(self) -> None:
        """Close both."""
        await self._market.aclose()
        if self._network is not None:
            await self._network.aclose()
