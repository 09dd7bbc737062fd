"""Small inputs that want to become large: packed bodies, nesting, digits, aliases, patterns; each is refused in words.

Not here: inputs that a fuzzer found (fuzzing/test_found.py).
"""

import argparse
import asyncio
import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import httpx
import pytest

from defiyield_assets.cli.parsers import dollars
from defiyield_assets.config.files import MODELS
from defiyield_assets.config.reading import read_file
from defiyield_assets.config.strategy_files import FOLDER, parsed
from defiyield_assets.domain.prices.csv_sources import CsvSource
from defiyield_assets.errors import ConfigurationError, SuspiciousDataError, VendorMalformed
from defiyield_assets.settings import load_settings
from defiyield_assets.sources import transport
from defiyield_assets.sources.csv_bars import read_bars
from defiyield_assets.sources.wire import decode_json

PATIENCE = 300.0
"""Far beyond what any of this takes; a pattern that runs away takes centuries."""


def body_of(content: bytes, packing: str) -> bytes:
    """What the gateway reads of an answer."""
    response = httpx.Response(200, headers={"content-encoding": packing}, stream=httpx.ByteStream(content))
    return asyncio.run(transport._read_body(response))


def test_a_body_that_unpacks_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1_000_000)
    bomb = gzip.compress(b"0" * 10_000_000)
    assert len(bomb) < 12_000
    with pytest.raises(VendorMalformed, match="larger than 1000000 bytes"):
        body_of(bomb, "gzip")
    assert body_of(gzip.compress(b"[]"), "gzip") == b"[]"
    assert body_of(zlib.compress(b"[]"), "Deflate") == b"[]"


@pytest.mark.parametrize("packing", ["gzip, gzip", "gzip,deflate", "br", "zstd", "identity, gzip"])
def test_a_body_that_is_packed_twice_or_strangely_is_not_unpacked(packing: str) -> None:
    with pytest.raises(VendorMalformed, match="packed as"):
        body_of(gzip.compress(gzip.compress(b"0" * 1_000_000)), packing)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"[" + b"9" * 1_000_000 + b"]", "no complete JSON"),
        (b"[NaN]", "NaN"),
    ],
)
def test_json_that_is_a_bomb_is_malformed(body: bytes, words: str) -> None:
    with pytest.raises(VendorMalformed, match=words) as caught:
        decode_json(body)
    assert len(str(caught.value)) < 600


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML_BOMBS = {
    "aliases": LAUGHS,
    "ring": "a: &a [*a]\n",
    "nesting": "[" * 700,
    "mappings": "{a: " * 500,
    "digits": "a: " + "9" * 100_000,
    "hexadecimal": "a: 0x" + "f" * 100_000,
    "no such day": "a: 2025-13-45\n",
    "object": "a: !!python/object/apply:os.system [id]\n",
}


@pytest.mark.parametrize("bomb", YAML_BOMBS.values(), ids=YAML_BOMBS)
def test_yaml_that_is_a_bomb_is_a_wrong_configuration(bomb: str, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / "tokens.yaml").write_text(bomb, encoding="utf-8")
    (tmp_path / FOLDER / "s.yaml").write_text(bomb, encoding="utf-8")
    assert "tokens.yaml" in MODELS
    from defiyield_assets.config.loader import FILES
    from defiyield_assets.config.reading import validate

    with pytest.raises(ConfigurationError, match=r"tokens\.yaml"):
        validate(read_file("tokens.yaml", tmp_path), FILES["tokens.yaml"])
    with pytest.raises(ConfigurationError, match=r"s\.yaml"):
        parsed(read_file(f"{FOLDER}/s.yaml", tmp_path))


def test_a_file_of_the_configuration_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "tokens.yaml").write_bytes(b"#" * (4 * 2**20 + 1))
    with pytest.raises(ConfigurationError, match=r"tokens\.yaml: larger than 4 MiB"):
        read_file("tokens.yaml", tmp_path)


@pytest.mark.parametrize("text", ["1e999999999", "1e16", "-1", "0", "nan", "inf", "1e-999999999999999999"])
def test_an_amount_that_nobody_has_is_wrong_use(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        dollars(text)


def test_a_setting_that_is_a_bomb_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("[" * 100_000, "9" * 100_000, '{"fred": ' * 50_000):
        monkeypatch.setenv("DEFIYIELD_VENDORS", value)
        with pytest.raises(ConfigurationError, match="DEFIYIELD_VENDORS") as caught:
            load_settings()
        assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    "content",
    [
        b"date,open,high,low,close\n" + b"2024-01-01," + b"9" * 2_000_000 + b",1,1,1\n",
        b'date,open,high,low,close\n"' + b"x" * 2_000_000 + b"\n",
        b"date,open,high,low,close\n2024-01-01,1e999999999,1,1,1\n",
        b"date,open,high,low,close\n2024-01-01,\x00,1,1,1\n",
        b",".join([b"c"] * 200_000) + b"\n",
    ],
    ids=["digits", "quote", "exponent", "nul", "columns"],
)
def test_a_file_of_bars_with_a_huge_cell_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(SuspiciousDataError) as caught:
        read_bars("X.csv", content, CsvSource("s", timezone="UTC"))
    assert len(str(caught.value)) < 2_000
    assert str(caught.value).isprintable()


def test_no_pattern_runs_away() -> None:
    """Every compiled expression of the package over texts that make one of nested repeats take for ever."""
    root = Path(__file__).resolve().parents[2]
    paths = (path.relative_to(root).with_suffix("") for path in sorted((root / "defiyield_assets").rglob("*.py")))
    compiled = [
        ".".join(path.parts)
        for path in paths
        if "re.compile(" in (root / path.with_suffix(".py")).read_text(encoding="utf-8")
    ]
    script = """
import importlib, re
pieces = ["0", "a", "A", "9", " ", "-", "_", ".", ":", "/", "0x", "%", "[]", "PT-", "JAN", "\\t", "1e", "www."]
texts = [piece * (5_000 // len(piece)) + end for piece in pieces for end in ("", "!", "\\x00")]
texts += [(a + b) * 1_500 + "!" for a in pieces for b in pieces if a < b]
count = 0
for module in ROOMS:
    for value in list(vars(importlib.import_module(module)).values()):
        if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
            count += 1
            for text in texts:
                value.fullmatch(text)
                value.match(text)
print(count)
"""
    ended = subprocess.run(
        [sys.executable, "-c", f"ROOMS = {compiled!r}\n{script}"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert int(ended.stdout) > 30
