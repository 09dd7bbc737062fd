"""Faults of the simulated vendors: who is hit, reproducibly, and what is answered instead; in process.

Not here: faults on a real socket (test_server.py), what the ingest makes of them (faults/).
"""

import asyncio
import json
from typing import Any

import httpx
import pytest

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.simulator.fault_answers import duplicated, emptied, with_new_field, with_other_type, without_field
from defiyield_assets.simulator.faults import (
    ON_THE_WIRE,
    FaultKind,
    FaultRule,
    FaultSchedule,
    FaultyTransport,
    fault_from_words,
    parse_fault_rules,
)

CHART = "https://yields.llama.fi/chart/a"
POINTS = {
    "status": "success",
    "data": [{"timestamp": "2025-06-03T00:00:00Z", "apy": 1.0}, {"timestamp": "x", "apy": 2}],
}
DATE = "Wed, 04 Jun 2025 00:30:00 GMT"


def sound(_request: httpx.Request) -> httpx.Response:
    """What the vendors say when nothing is wrong."""
    return httpx.Response(200, json=POINTS, headers={"date": DATE})


def ask(transport: httpx.AsyncBaseTransport, *urls: str) -> list[httpx.Response]:
    """The responses to requests made one after the other."""

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport) as client:
            return [await client.get(url) for url in urls]

    return asyncio.run(run())


def faulty(*rules: FaultRule) -> FaultyTransport:
    return FaultyTransport(httpx.MockTransport(sound), rules)


def statuses(transport: FaultyTransport, *urls: str) -> list[int]:
    return [response.status_code for response in ask(transport, *urls)]


# --- who is hit -----------------------------------------------------------------------------------------------------
def test_the_same_requests_are_hit_whatever_is_asked_of_other_endpoints() -> None:
    rule = FaultRule(kind=FaultKind.SERVER_ERROR, host="*.llama.fi", rate=0.5, seed=3)
    a, b = CHART, "https://yields.llama.fi/chart/b"
    alone = statuses(faulty(rule), *[a] * 40)
    mixed = faulty(rule)
    told = [(url, statuses(mixed, url)[0]) for url in [a, b, b, a, a, b] * 14]
    assert [status for url, status in told if url == a][:40] == alone
    assert 10 <= alone.count(500) <= 30
    assert alone != [status for url, status in told if url == b][:40], "every endpoint has its own luck"
    assert alone != statuses(faulty(rule.model_copy(update={"seed": 4})), *[a] * 40)


def test_a_rate_is_the_share_that_is_hit() -> None:
    schedule = faulty(FaultRule(kind=FaultKind.THROTTLED, rate=0.2))
    told = statuses(schedule, *(f"https://x.y/{n}" for n in range(500)))
    assert 70 <= told.count(429) <= 130
    assert statuses(faulty(FaultRule(kind=FaultKind.THROTTLED, rate=0.0)), CHART) == [200]


def test_the_first_requests_to_each_endpoint_are_hit_after_those_that_are_spared() -> None:
    rule = FaultRule(kind=FaultKind.UNAVAILABLE, first=2, after=1)
    transport = faulty(rule)
    assert statuses(transport, *[CHART] * 5) == [200, 503, 503, 200, 200]
    assert statuses(transport, *["https://yields.llama.fi/chart/b"] * 3) == [200, 503, 503]


def test_host_path_and_text_say_which_endpoint_is_meant() -> None:
    rule = FaultRule(kind=FaultKind.NOT_FOUND, host="api.etherscan.io", path="/v2/*", contains="action=tokentx")
    base = "https://api.etherscan.io/v2/api?module=account&action="
    assert statuses(faulty(rule), f"{base}tokentx", f"{base}txlist", CHART) == [404, 200, 200]
    charts = FaultRule(kind=FaultKind.NOT_FOUND, path="/chart/*")
    assert statuses(faulty(charts), CHART, "https://x.y/pools") == [404, 200]


def test_a_key_makes_no_endpoint_of_its_own() -> None:
    transport = faulty(FaultRule(kind=FaultKind.SERVER_ERROR, first=1))
    assert statuses(transport, "https://x.y/p?apikey=one&q=1", "https://x.y/p?q=1&apiKey=two") == [500, 200]


def test_rules_can_be_replaced_while_it_runs() -> None:
    transport = faulty(FaultRule(kind=FaultKind.SERVER_ERROR))
    assert statuses(transport, CHART) == [500]
    assert transport.schedule.struck == {("server_error", "yields.llama.fi", "/chart/a"): 1}
    transport.schedule.become([])
    assert statuses(transport, CHART) == [200]


def test_a_schedule_counts_on_over_several_transports() -> None:
    schedule = FaultSchedule([FaultRule(kind=FaultKind.SERVER_ERROR, first=1)])
    told = [statuses(FaultyTransport(httpx.MockTransport(sound), schedule), CHART)[0] for _ in range(2)]
    assert told == [500, 200]


# --- what is answered -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        (FaultKind.THROTTLED, 429, b"Too Many"),
        (FaultKind.SERVER_ERROR, 500, b"Internal"),
        (FaultKind.UNAVAILABLE, 503, b"Unavailable"),
        (FaultKind.UNAUTHORISED, 401, b"Unauthorized"),
        (FaultKind.NOT_FOUND, 404, b"Not found"),
        (FaultKind.PLAN_LIMIT, 402, b"Payment Required"),
        (FaultKind.WRONG_CONTENT_TYPE, 200, b"<html>"),
        (FaultKind.EMPTY, 200, b""),
        (FaultKind.EMPTY_LIST, 200, b'"data":[]'),
        (FaultKind.ERROR_IN_200, 200, b'"status":"error"'),
        (FaultKind.NEW_FIELD, 200, b"novelty"),
        (FaultKind.RETYPED_FIELD, 200, b'"timestamp":{"value":'),
    ],
)
def test_each_kind_of_answer(kind: FaultKind, status: int, body: bytes) -> None:
    (response,) = ask(faulty(FaultRule(kind=kind)), CHART)
    assert response.status_code == status
    assert body in response.content
    assert response.headers["date"] == DATE, "the stamp stays the market's"


def test_a_throttled_answer_names_the_pause() -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind.THROTTLED, seconds=7)), CHART)
    assert response.headers["retry-after"] == "7"


def test_a_wrong_page_says_that_it_is_html() -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind.WRONG_CONTENT_TYPE)), CHART)
    assert response.headers["content-type"].startswith("text/html")


def test_malformed_json_cannot_be_read() -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind.MALFORMED_JSON)), CHART)
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_a_field_that_is_missing_is_the_one_named_or_one_that_we_use() -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind.MISSING_FIELD)), CHART)
    assert [sorted(row) for row in response.json()["data"]] == [["apy"], ["apy"]]
    (response,) = ask(faulty(FaultRule(kind=FaultKind.MISSING_FIELD, field="apy")), CHART)
    assert [sorted(row) for row in response.json()["data"]] == [["timestamp"], ["timestamp"]]


def test_rows_stand_twice() -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind.DUPLICATE_ROWS)), CHART)
    assert response.json()["data"] == [row for row in POINTS["data"] for _ in range(2)]


def test_a_wrong_clock_moves_the_stamp_only() -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind.CLOCK_SKEW, seconds=-3600)), CHART)
    assert response.headers["date"] == "Tue, 03 Jun 2025 23:30:00 GMT"
    assert response.json() == POINTS


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.HANG, httpx.ReadTimeout),
        (FaultKind.RESET, httpx.ReadError),
        (FaultKind.TRUNCATED, httpx.RemoteProtocolError),
    ],
)
def test_faults_of_the_connection(kind: FaultKind, error: type[Exception]) -> None:
    with pytest.raises(error, match="simulated"):
        ask(faulty(FaultRule(kind=kind)), CHART)


def test_a_slow_answer_arrives_whole() -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind.SLOW, seconds=0.01)), CHART)
    assert response.json() == POINTS


@pytest.mark.parametrize(
    ("host", "kind", "words"),
    [
        ("pro-api.coinmarketcap.com", "plan_limit", {"error_code": 1010}),
        ("pro-api.coinmarketcap.com", "error_in_200", {"error_code": 1008}),
    ],
)
def test_coinmarketcap_says_it_in_its_own_words(host: str, kind: str, words: dict[str, Any]) -> None:
    (response,) = ask(faulty(FaultRule(kind=FaultKind(kind))), f"https://{host}/v2/cryptocurrency/ohlcv/historical")
    assert response.json()["status"].items() >= words.items()


def test_every_kind_has_an_answer() -> None:
    for kind in set(FaultKind) - ON_THE_WIRE:
        (response,) = ask(faulty(FaultRule(kind=kind)), CHART)
        is_unchanged = response.status_code == 200 and response.content == httpx.Response(200, json=POINTS).content
        assert not is_unchanged or response.headers["date"] != DATE, kind


# --- documents ------------------------------------------------------------------------------------------------------
def test_an_emptied_document_keeps_its_frame() -> None:
    assert emptied({"status": {"error_code": 0}, "data": {"1": {"id": 1}}}) == {"status": {"error_code": 0}, "data": {}}
    assert emptied({"data": {"network": "mainnet", "data": [{"a": 1}]}}) == {"data": {"network": "mainnet", "data": []}}
    assert emptied([{"a": 1}]) == []
    assert emptied({"coins": {"ethereum:0x": {"price": 1}}}) == {"coins": {}}


def test_only_rows_are_doubled() -> None:
    assert duplicated([[1_700_000_000_000, 1, 2]]) == [[1_700_000_000_000, 1, 2]] * 2
    fees = {"result": {"baseFeePerGas": ["0x1", "0x2"], "reward": [["0x1"], ["0x2"]]}}
    assert duplicated(fees) == fees, "two lists that belong together stay as long as each other"


def test_fields_change_in_records_only() -> None:
    coins = {"coins": {"ethereum:0x": {"price": 1, "symbol": "A"}}}
    at = ("coins.llama.fi", "/prices/current/x")
    assert without_field(coins, None, *at) == {"coins": {"ethereum:0x": {"symbol": "A"}}}
    assert with_other_type(coins, "symbol", *at)["coins"]["ethereum:0x"]["symbol"] == {"value": "retyped"}
    grown = with_new_field({"data": [{"a": 1}, 2], "names": ["x"]})
    assert grown == {"data": [{"a": 1, "novelty": {"nested": [1, "two"]}}, 2], "names": ["x"], "novelty": "hello"}


# --- what people write ----------------------------------------------------------------------------------------------
def test_rules_are_read_from_json() -> None:
    (rule,) = parse_fault_rules('[{"kind": "throttled", "host": "yields.llama.fi", "rate": 0.25, "first": 3}]')
    assert rule == FaultRule(kind=FaultKind.THROTTLED, host="yields.llama.fi", rate=0.25, first=3)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nonsense", 'faults: no JSON .*right would be \\[{"kind": "throttled"}\\]'),
        ('{"kind": "reset"}', "the list: Input should be a valid list"),
        ('[{"kind": "flood"}]', "rule 0.kind 'flood' is no kind; kinds are throttled, server_error"),
        ('[{"kind": "reset", "host_pattern": "x"}]', "rule 0.host_pattern is unknown; a rule has kind, host, path"),
        ('[{"kind": "reset", "rate": 2}]', "rule 0.rate: Input should be less than or equal to 1"),
        ('[{"host": "x"}]', "rule 0.kind: Field required"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_in_words(text: str, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=wanted):
        parse_fault_rules(text)


def test_the_command_line_writes_a_rule_in_one_word() -> None:
    assert fault_from_words("hang:yields.llama.fi/chart/*:0.1") == FaultRule(
        kind=FaultKind.HANG, host="yields.llama.fi", path="/chart/*", rate=0.1
    )
    assert fault_from_words("reset:*") == FaultRule(kind=FaultKind.RESET)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("reset", "write KIND:HOST/PATH"),
        ("flood:x.y/", "'flood' is no kind"),
        ("reset:x.y/:often", "fault 'reset:x.y/:often': rule rate"),
    ],
)
def test_one_word_that_cannot_be_meant_is_refused(words: str, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=wanted):
        fault_from_words(words)
