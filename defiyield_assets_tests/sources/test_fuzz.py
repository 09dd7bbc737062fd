"""Whatever a vendor sends, a parser gives a frame that keeps its promises or a typed error, never anything else."""

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import DayRange
from defiyield_assets.errors import VendorError
from defiyield_assets.sources import (
    account_rows,
    alpha_vantage,
    coingecko,
    coinmarketcap,
    defillama_coins,
    defillama_yields,
    erc4626,
    ethereum_node,
    etherscan,
    ethgastracker,
    ethplorer,
    fred,
    pendle,
    slack,
)
from defiyield_assets_tests.sources.samples import USDC, WALLET, sample

NAMED = {f"ethereum:{USDC}": ("Ethereum", USDC)}
DAYS = DayRange(date(2025, 10, 1), date(2025, 10, 31))
Parser = Callable[[Any], Any]


def refused(refuse: Callable[[object], None], parse: Parser) -> Parser:
    """A parser as the gateway runs it: the vendor's own errors first."""

    def run(answer: Any) -> Any:
        refuse(answer)
        return parse(answer)

    return run


FETCHED_AT = datetime(2025, 10, 24, 0, 35, tzinfo=UTC)


def candle_days(answer: Any) -> pd.DataFrame:
    """UTC days of an answer of four-hourly candles."""
    return coingecko.days_of_candles(coingecko.parse_candles(answer), coingecko.FOUR_HOURS, FETCHED_AT)


def node_hours(answer: Any) -> pd.DataFrame:
    """Hours of an answer about two blocks."""
    history = ethereum_node.parse_fee_history(answer, 2000, 2001)
    end = datetime(2025, 10, 24, tzinfo=UTC)
    marks = [ethereum_node.Block(2000, end - timedelta(seconds=24)), ethereum_node.Block(2002, end)]
    return ethereum_node.hours_of_blocks([history], marks, DAYS)


PARSERS: dict[str, Parser] = {
    "chart_lend_borrow": defillama_yields.parse_chart_lend_borrow,
    "coin_markets": refused(coingecko.refuse_error, coingecko.parse_markets),
    "shares": refused(alpha_vantage.refuse_error, lambda answer: alpha_vantage.parse_daily_adjusted(answer, "MSFT")),
    "earnings": refused(alpha_vantage.refuse_error, lambda answer: alpha_vantage.parse_earnings(answer, "MSFT")),
    "candles": refused(coingecko.refuse_error, candle_days),
    "daily_chart": refused(coingecko.refuse_error, coingecko.parse_daily_chart),
    "block": refused(ethereum_node.refuse_error, lambda answer: ethereum_node.parse_block(answer).number),
    "fee_history": refused(ethereum_node.refuse_error, node_hours),
    "call": refused(
        ethereum_node.refuse_call_error, lambda answer: erc4626.quantity_of(ethereum_node.parse_call(answer).data) or 0
    ),
    "pendle": lambda answer: pendle.parse_markets(answer, 1),
    "pendle_page": lambda answer: pendle.parse_page(answer, 1).markets,
    "token_shares": refused(
        ethplorer.refuse_error,
        lambda answer: ethplorer.token_shares(ethplorer.parse_operations(answer), WALLET),
    ),
    "pools": defillama_yields.parse_pools,
    "lend_borrow": defillama_yields.parse_lend_borrow,
    "chart": defillama_yields.parse_chart,
    "closes": lambda answer: defillama_coins.parse_closes(answer, NAMED, DAYS),
    "prices": lambda answer: defillama_coins.parse_prices(answer, NAMED),
    "ohlcv": refused(coinmarketcap.refuse_error_code, coinmarketcap.parse_ohlcv),
    "quotes": refused(coinmarketcap.refuse_error_code, coinmarketcap.parse_quotes),
    "gas": ethgastracker.parse_hourly,
    "address_info": refused(ethplorer.refuse_error, ethplorer.parse_address_info),
    "operations": refused(
        ethplorer.refuse_error, lambda answer: account_rows.account_frame(ethplorer.parse_operations(answer))
    ),
    "txlist": refused(
        etherscan.refuse_error,
        lambda answer: account_rows.account_frame(etherscan.parse_transactions(answer, 1, WALLET).rows),
    ),
    "txlistinternal": refused(
        etherscan.refuse_error, lambda answer: account_rows.account_frame(etherscan.parse_internal(answer, 1).rows)
    ),
    "tokentx": refused(
        etherscan.refuse_error,
        lambda answer: account_rows.account_frame(etherscan.parse_token_transfers(answer, 1).rows),
    ),
    "balance": refused(etherscan.refuse_error, etherscan.parse_balance),
    "block_number": refused(etherscan.refuse_error, etherscan.parse_quantity),
    "series": refused(fred.refuse_error, lambda answer: fred.parse_series(answer, "DGS1")),
    "fred": refused(fred.refuse_error, lambda answer: fred.parse_observations(answer).observations),
}
SAMPLE_OF = {"token_shares": "operations"}
"""Parsers that read the documented answer of another one."""


def document_of(name: str) -> Any:
    """The documented answer that a parser reads."""
    return sample(SAMPLE_OF.get(name, name))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**250, 2**260),
    st.just(10**400),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            "0",
            "1",
            "1e999",
            "-0",
            "NaN",
            "9" * 500,
            "0x",
            WALLET,
            "2025-10-23",
            "9999-12-31",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999-14:00",
            "\x00",
            "\ud800",
            "No transactions found",
            "NOTOK",
            "A" * 2_000,
        ]
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=5), st.sampled_from(["data", "status", "coins", "result", "quotes"])),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of every value inside a document."""
    found = [path] if path else []
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, name: str) -> Any:
    """A documented answer in which up to three values are replaced, removed or repeated."""
    document = document_of(name)
    for _ in range(draw(st.integers(1, 3))):
        paths = places(document)
        if not paths:
            break
        *above, last = draw(st.sampled_from(paths))
        holder = document
        for key in above:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "repeat"]))
        if change == "replace" or (change == "repeat" and not isinstance(holder, list)):
            holder[last] = draw(JSON)
        elif change == "remove":
            del holder[last]
        else:
            holder.append(holder[last])
    return document


def promises(rows: Any) -> None:
    """What every frame promises: no infinity, no text that a database refuses, integers within 256 bits."""
    if isinstance(rows, int):
        assert 0 <= rows < 2**256
        return
    assert isinstance(rows, pd.DataFrame)
    assert isinstance(rows.index, pd.RangeIndex)
    for name in rows.columns:
        for value in rows[name]:
            if isinstance(value, float):
                assert not math.isinf(value)
            elif isinstance(value, str):
                value.encode()
                assert "\x00" not in value
                assert len(value) <= 1_000
            elif isinstance(value, int):
                assert 0 <= value < 2**256


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_documented_answers_keep_the_promises(name: str) -> None:
    promises(PARSERS[name](document_of(name)))


@pytest.mark.parametrize("name", sorted(PARSERS))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_changed_answers_are_frames_or_typed_errors(name: str, data: st.DataObject) -> None:
    answer = data.draw(mutated(name))
    try:
        rows = PARSERS[name](answer)
    except VendorError as error:
        assert len(str(error)) < 600  # noqa: PT017 - it may also go well
    else:
        promises(rows)


@pytest.mark.parametrize("name", sorted(PARSERS))
@settings(max_examples=60, deadline=None)
@given(answer=JSON)
def test_any_json_is_a_frame_or_a_typed_error(name: str, answer: Any) -> None:
    try:
        promises(PARSERS[name](answer))
    except VendorError as error:
        assert len(str(error)) < 600  # noqa: PT017 - it may also go well


@given(st.text(max_size=50))
def test_any_word_of_slack_is_ok_or_a_typed_error(said: str) -> None:
    try:
        slack.refuse_error(said)
        assert slack.parse_answer(said) == "ok"
    except VendorError:
        assert said != "ok"


def test_the_samples_are_json() -> None:
    assert all(json.loads(json.dumps(document_of(name))) == document_of(name) for name in PARSERS)
