"""The ledger's benchmark at a small size: its chain is told completely, and the product books it without a break."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from benchmarks import ledger
from benchmarks.ledger_chain import ACTIONS, FIRST_BLOCK, WALLETS, Facts, PagedChain, Span, last_block, write_chain

TRANSFERS = 600


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    folder = tmp_path_factory.mktemp("chain")
    return write_chain(folder, ledger.tokens(), TRANSFERS, Span(ledger.LAST, ledger.DAYS), seed=1)


def answer(chain: PagedChain, **params: str | int) -> list[dict[str, str]]:
    request = httpx.Request("GET", "https://api.etherscan.io/v2/api", params=params)
    response = asyncio.run(chain.handle_async_request(request))
    found: list[dict[str, str]] = json.loads(response.content)["result"]
    return found


def test_pages_tell_every_row_of_the_day_once_and_none_of_the_next(facts: Facts) -> None:
    chain, head = PagedChain(facts, ledger.FIRST, ledger.LAST), last_block(ledger.FIRST, ledger.LAST)
    transfers = set()
    for wallet in WALLETS:
        for action in ACTIONS:
            asked = {"action": action, "address": wallet, "startblock": 0, "endblock": 999_999_999, "offset": 7}
            rows: list[dict[str, str]] = []
            for number in range(1, 1_000):
                page = answer(chain, page=number, **asked)
                rows += page
                if len(page) < 7:
                    break
            told = facts.told[wallet, action]
            assert [int(row["blockNumber"]) for row in rows] == [block for block in told.blocks if block <= head]
            assert all(wallet in (row["from"], row["to"]) for row in rows)
            transfers |= {json.dumps(row) for row in rows if action == "tokentx"}
    assert len(transfers) < TRANSFERS
    later = [block for told in facts.told.values() for block in told.blocks if block > head]
    assert later
    assert min(min(told.blocks, default=head) for told in facts.told.values()) == FIRST_BLOCK


def test_the_product_books_both_days_of_the_benchmark_without_a_break(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_FACTS", [facts])
    installation = ledger.installation_of(tmp_path)
    ledger.prepare(installation, facts)
    first, second = (ledger.run_day(installation, day) for day in facts.balances)
    assert (first.breaks, second.breaks) == (0, 0)
    assert first.rows[ledger.TRANSFERS] == TRANSFERS
    assert second.rows[ledger.TRANSFERS] == facts.transfers > TRANSFERS
    assert first.rows["ledger_postings"] > 2 * TRANSFERS


def test_a_balance_that_the_chain_tells_otherwise_is_a_break(
    facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_FACTS", [facts])
    installation, day = ledger.installation_of(tmp_path), ledger.LAST
    at, held = next(iter(facts.balances[day].items()))
    ledger.prepare(installation, Facts(**{**vars(facts), "balances": {**facts.balances, day: {at: held + 1}}}))
    assert ledger.run_day(installation, day).breaks > 0
