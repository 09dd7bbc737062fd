"""What a vendor's answer says when it is wrong: documents that are emptied, doubled or retyped, and vendors' own words.

Lives here: changes to a decoded answer. Not here: when they happen and faults of the connection (faults.py).
"""

import fnmatch
from collections.abc import Callable
from typing import Any

_FIRST_TIMESTAMP = 1_000_000_000
_USED_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("yields.llama.fi", "/pools", "tvlUsd"),
    ("yields.llama.fi", "/chart/*", "timestamp"),
    ("yields.llama.fi", "/lendBorrow", "pool"),
    ("yields.llama.fi", "/chartLendBorrow/*", "timestamp"),
    ("coins.llama.fi", "/chart/*", "prices"),
    ("coins.llama.fi", "/prices/*", "price"),
    ("*.coinmarketcap.com", "/v2/*", "quote"),
    ("*.coinmarketcap.com", "*", "quote"),
    ("*.coingecko.com", "*/market_chart", "prices"),
    ("*.coingecko.com", "*", "id"),
    ("www.ethgastracker.com", "*", "period"),
    ("www.alphavantage.co", "*", "4. close"),
    ("api.stlouisfed.org", "/fred/series", "frequency_short"),
    ("api.stlouisfed.org", "*", "date"),
    ("api.etherscan.io", "*", "hash"),
    ("api.ethplorer.io", "/getAddressInfo/*", "ETH"),
    ("api.ethplorer.io", "*", "operations"),
    ("api-v2.pendle.finance", "*", "expiry"),
    ("cryptopanic.com", "*", "published_at"),
    ("ethereum-rpc.*", "*", "result"),
)
"""(host, path, a field of that answer which we cannot do without)."""


def _used_field(host: str, path: str) -> str | None:
    for host_pattern, path_pattern, name in _USED_FIELDS:
        if fnmatch.fnmatchcase(host, host_pattern) and fnmatch.fnmatchcase(path, path_pattern):
            return name
    return None


def _is_map_of_records(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(inner, dict) for inner in value.values())


def emptied(document: Any) -> Any:
    """The same well-formed answer without a row: every list empty, every mapping of ids to records too."""
    if isinstance(document, list):
        return []
    if not isinstance(document, dict):
        return document
    return {name: {} if _is_map_of_records(value) else emptied(value) for name, value in document.items()}


def _is_row(value: Any) -> bool:
    """A record, or a point [timestamp, values …]."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], int | float) and value[0] > _FIRST_TIMESTAMP
    return isinstance(value, dict)


def duplicated(document: Any) -> Any:
    """The same answer in which every row stands twice."""
    if isinstance(document, dict):
        return {name: duplicated(value) for name, value in document.items()}
    if isinstance(document, list) and document and all(_is_row(row) for row in document):
        return [row for row in document for _ in range(2)]
    return document


def _with_records(document: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """The document in which every record, however deep, is what `change` makes of it."""
    if isinstance(document, list):
        return [_with_records(item, change) for item in document]
    if isinstance(document, dict):
        return change({name: _with_records(value, change) for name, value in document.items()})
    return document


def with_new_field(document: Any) -> Any:
    """Every record of a list has a field more, which nobody has heard of."""

    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: grown(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [{**item, "novelty": {"nested": [1, "two"]}} if isinstance(item, dict) else item for item in value]
        return value

    changed = grown(document)
    return {**changed, "novelty": "hello"} if isinstance(changed, dict) and not _is_map_of_records(changed) else changed


def without_field(document: Any, field: str | None, host: str, path: str) -> Any:
    """No record has the field; without a name, one that we cannot do without."""
    name = field or _used_field(host, path)
    return _with_records(document, lambda record: {key: value for key, value in record.items() if key != name})


def with_other_type(document: Any, field: str | None, host: str, path: str) -> Any:
    """Every record holds something of another type in the field: `{"value": …}` where there was a value."""
    name = field or _used_field(host, path)

    def retyped(record: dict[str, Any]) -> dict[str, Any]:
        return {key: {"value": "retyped"} if key == name else value for key, value in record.items()}

    return _with_records(document, retyped)


def error_words(host: str) -> Any:
    """How the vendor says "try again later" in an answer of status 200."""
    if host.endswith("coinmarketcap.com"):
        said = "You've exceeded your API Key's HTTP request rate limit. Rate limits reset every minute."
        return {"status": {"error_code": 1008, "error_message": said, "credit_count": 0}}
    if host.endswith("coingecko.com"):
        return {"status": {"error_code": 429, "error_message": "You've exceeded the Rate Limit."}}
    if host == "www.alphavantage.co":
        return {"Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute."}
    if host == "cryptopanic.com":
        return {"status": "api_error", "info": "Rate limit exceeded, try again in a moment"}
    if host == "api.etherscan.io":
        return {"status": "0", "message": "NOTOK", "result": "Max calls per sec rate limit reached (3/sec)"}
    if host == "api.ethplorer.io":
        return {"error": {"code": 133, "message": "API is temporarily unavailable"}}
    if host.startswith("ethereum-rpc."):
        return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "limit exceeded"}}
    if host == "api.stlouisfed.org":
        return {"error_code": 429, "error_message": "Too Many Requests.  Exceeded Rate Limit"}
    return {"status": "error", "message": "Internal error, try again later"}


def plan_limit_words(host: str) -> tuple[int, Any]:
    """Status and body of the vendor whose plan is used up for the day or month."""
    if host.endswith("coinmarketcap.com"):
        said = "You've exceeded your API Key's monthly rate limit."
        return 429, {"status": {"error_code": 1010, "error_message": said, "credit_count": 0}}
    if host == "www.alphavantage.co":
        return 200, {"Information": "Thank you for using Alpha Vantage! Our rate limit is 25 requests per day."}
    if host == "api.etherscan.io":
        return 200, {
            "status": "0",
            "message": "NOTOK",
            "result": "Max daily rate limit reached. 110000 (100%) of 100000",
        }
    return 402, {"message": "Payment Required: the plan's calls are used up"}
