"""Targets: what is typed or set: the command line, the environment, faults, and the headers of answers.

Not here: what vendors answer (answers.py) and files (files.py).
"""

import argparse
import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from urllib.parse import urlsplit

import httpx

from defiyield_assets.addresses import is_database_url, without_secrets
from defiyield_assets.cli.main import build_parser
from defiyield_assets.cli.parsers import Parser, WrongUse, day, dollars
from defiyield_assets.domain.news.canonical_urls import article_id, canonical_url
from defiyield_assets.errors import DefiYieldError
from defiyield_assets.settings import Settings, load_settings, secret_fields
from defiyield_assets.simulator.faults import fault_from_words, parse_fault_rules
from defiyield_assets.sources.wire import Question, require_right_clock, retry_after_seconds, stamp_of
from defiyield_assets_tests.fuzzing.target import Target

NOON = datetime(2025, 10, 24, 12, tzinfo=UTC)
WRONG_WORDS = (argparse.ArgumentTypeError, WrongUse, argparse.ArgumentError)


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@cache
def parser() -> Parser:
    return build_parser()


def read_words(data: bytes) -> object:
    """One word of the command line a line; usage that is wrong is told and ends with 2, help with 0."""
    words = [word for word in text_of(data).split("\n") if "\x00" not in word][:12]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return parser().read(words)
        except SystemExit as stop:
            assert stop.code in (0, 2)  # noqa: PT017 - it may also go well
            return None


def read_day(data: bytes) -> object:
    found = day(text_of(data))
    assert isinstance(found, date)
    assert found.isoformat() == text_of(data)
    return found


def read_dollars(data: bytes) -> object:
    found = dollars(text_of(data))
    assert isinstance(found, Decimal)
    assert int(found) < 10**16
    return found


def read_settings(data: bytes) -> object:
    """Lines of NAME=VALUE as the environment; whatever is wrong is told without the value of a secret."""
    said = [line.partition("=") for line in text_of(data).split("\n")[:8]]
    named = {
        f"DEFIYIELD_{name}".upper(): value for name, _, value in said if name.isidentifier() and "\x00" not in value
    }
    with changed_environment(named):
        try:
            found = load_settings()
            assert isinstance(found, Settings)
            assert len(found.warehouse_url) > 0
        except DefiYieldError as error:
            for field in secret_fields():
                secret = named.get(f"DEFIYIELD_{field.upper()}", "")
                assert len(secret) < 12 or secret not in str(error)  # noqa: PT017 - it may also go well
            raise
    return found


@contextlib.contextmanager
def changed_environment(named: dict[str, str]) -> Iterator[None]:
    """Our settings are these and no others."""
    before = {name: value for name, value in os.environ.items() if name.upper().startswith("DEFIYIELD_")}
    for name in before:
        del os.environ[name]
    try:
        os.environ.update(named)
        yield
    finally:
        for name in named:
            os.environ.pop(name, None)
        os.environ.update(before)


def read_headers(data: bytes) -> object:
    """Date, Retry-After and Age of an answer, one a line."""
    lines = [line for line in data.split(b"\n")[:3] if b"\r" not in line]
    names = (b"date", b"retry-after", b"age")
    headers = httpx.Headers(list(zip(names, lines, strict=False)))
    stamp = stamp_of(headers)
    assert stamp is None or stamp.tzinfo is UTC
    seconds = retry_after_seconds(headers, NOON)
    assert 0.0 <= seconds < 10**10
    require_right_clock(stamp or NOON, headers, NOON)
    return seconds


def read_address(data: bytes) -> object:
    """An address of a database or service as anybody may see it: no password is left."""
    text = text_of(data)
    is_database_url(text)
    shown = without_secrets(text)
    with contextlib.suppress(ValueError):
        password = urlsplit(text).password or ""
        assert len(password) < 6 or password not in shown
    return shown


def read_link(data: bytes) -> object:
    """The canonical address of a news article."""
    found = canonical_url(text_of(data))
    article_id(found)
    assert found == "" or found.startswith(("http://", "https://"))
    return found


def read_path(data: bytes) -> object:
    """An id of strangers in the path of a request stays in its place."""
    path = Question("v", "/chart/{pool}", {"pool": data.decode("utf-8", "replace")}).path
    assert path.startswith("/chart/")
    assert path.count("/") == 2
    assert not set(path) & set("?#\\ \r\n")
    return path


def read_faults(data: bytes) -> object:
    return parse_fault_rules(text_of(data))


def read_fault(data: bytes) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fault_from_words(text_of(data))


def seeds(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def many() -> list[Target]:
    """Every target of texts."""
    words = ("run\n--date\n2025-06-03", "report\nshow\n--json", "strategy\nbacktest\n--capital\n1e5", "run\n--help")
    environment = (
        'MARKET=live\nVENDORS={"fred": {"per_minute": 3}}',
        "FIRST_DAY=2024-01-01\nMARKET_SEED=7\nFRED_API_KEY=0123456789abcdef",
        "DATABASE_URL=postgresql+psycopg://me:password-1@db:5432/house",
    )
    stamps = ("Fri, 24 Oct 2025 12:00:00 GMT\n120\n5", "Fri, 24 Oct 2025 12:00:00 +0000\nFri, 24 Oct 2025 12:01:00 GMT")
    return [
        Target("command_line", read_words, seeds(*words), WRONG_WORDS),
        Target("day", read_day, seeds("2025-06-03"), WRONG_WORDS),
        Target("dollars", read_dollars, seeds("1,000,000.50", "1e6"), WRONG_WORDS),
        Target("settings", read_settings, seeds(*environment)),
        Target("headers", read_headers, seeds(*stamps)),
        Target("address", read_address, seeds("postgresql+psycopg://me:secret-1@db/x?y=z#f", "sqlite:////tmp/x")),
        Target("link", read_link, seeds("https://news.example/a/../b?utm_source=x&id=7#top"), (ValueError,)),
        Target("path", read_path, seeds("747c1d2a-c668-4682-b9f9-296708a3dd90", "../x?y")),
        Target("fault_rules", read_faults, seeds('[{"kind": "throttled", "host": "yields.llama.fi", "rate": 0.2}]')),
        Target("fault_words", read_fault, seeds("throttled:yields.llama.fi/*:0.2")),
    ]
