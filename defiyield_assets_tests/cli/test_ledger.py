"""`defiyield ledger explain` and `unexplained`: what is stored, what is asked for, and errors in one line.

Not here: the rules (domain/ledger) or the export.
"""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from defiyield_assets.cli import ledger
from defiyield_assets.cli.main import main
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.unexplained import unexplained_transactions
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.domain.ledger.facts import (
    CRV,
    START,
    STRANGER,
    USDC,
    WARM,
    Chain,
    burn,
    golden_chain,
    make_contracts,
    make_policy,
    make_prices,
    mint,
    usd,
)

pytestmark = pytest.mark.usefixtures("command_line")
REAL_USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
POLICY = make_policy()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Everything printed, in one line of words."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


def closings(day: object) -> pd.DataFrame:
    return pd.DataFrame([{"date": day, "transactions": 1, "address_book": "x", "is_overtaken": False}])


def stored(chain: Chain) -> pd.DataFrame:
    """The chain's facts as the warehouse takes them: exact integers."""
    exact = {name: pd.Series([row[name] for row in chain.rows], dtype=object) for name in ("gas_used", "gas_price_wei")}
    return chain.frame().assign(**exact)


@pytest.fixture
def books(tmp_path: Path) -> tuple[Path, str]:
    """A warehouse with one day of the ledger in which money went into a pool that nobody listed, and its hash."""
    folder = tmp_path / "state"
    assert main(["migrate", "--market", "simulated", "--state-dir", str(folder)]) == 0
    chain = golden_chain()
    tx = chain.send((USDC, WARM, STRANGER, usd(100)), mint(CRV, WARM, 5), sender=WARM)
    chain.rows[-1]["symbol_claimed"] = "[red]=cmd|x"
    frame, contracts = stored(chain), make_contracts()
    postings = build_postings(frame, policy=POLICY, contracts=contracts, prices=make_prices(POLICY))
    rows = unexplained_transactions(START, postings=postings, policy=POLICY, contracts=contracts)
    engine = WarehouseResource(market="simulated", url=f"sqlite:///{folder / 'warehouse.sqlite'}").engine
    for table, content in (
        (schema.account_transactions, frame),
        (schema.ledger_postings, postings),
        (schema.ledger_closings, closings(START)),
        (schema.ledger_closings, closings(START + timedelta(days=1))),
        (schema.unexplained_transactions, rows),
    ):
        writes.upsert(engine, table, content)
    return folder, tx


def run(folder: Path, *arguments: str) -> int:
    return main(["ledger", *arguments, "--market", "simulated", "--state-dir", str(folder)])


def test_a_stored_transaction_is_shown_with_its_rows_kind_and_legs(
    books: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, tx = books
    assert run(folder, "explain", "--tx", tx.upper().replace("0X", "0x")) == 0
    words = said(capsys)
    assert "booked as: unlisted_deposit" in words
    assert f"assets:wallet:{WARM}" in words
    assert "equity:unexplained" in words
    assert STRANGER in words
    assert "2025-06-02 12:00:00 UTC" in words
    assert "cmd" not in words


def test_what_is_unexplained_is_listed_with_its_hint_and_a_quiet_day_says_so(
    books: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, tx = books
    assert run(folder, "unexplained", "--date", START.isoformat()) == 0
    words = said(capsys)
    assert f"Unexplained on {START}: 1 transactions" in words
    assert tx in words
    assert "-100.00" in words
    assert "pool_contracts" in words
    assert words.index("USDC") < words.index(CRV)
    assert run(folder, "unexplained") == 0
    assert f"{START + timedelta(days=1)}: everything is explained" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["unexplained", "--date", "2024-01-01"], "the warehouse holds no ledger of 2024-01-01; the newest day is"),
        (["explain", "--tx", "0x" + "ab" * 32], "the warehouse holds no transaction 0xabab"),
        (["explain", "--tx", "0x" + "ab" * 32, "--chain", "10"], "on chain 10"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    books: tuple[Path, str], capsys: pytest.CaptureFixture[str], arguments: list[str], wanted: str
) -> None:
    capsys.readouterr()
    assert run(books[0], *arguments) == (1 if "unexplained" in arguments else 2)
    assert wanted in said(capsys)


def test_without_a_ledger_the_command_to_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["migrate", "--market", "simulated", "--state-dir", str(tmp_path / "state")])
    capsys.readouterr()
    assert run(tmp_path / "state", "unexplained") == 1
    assert "defiyield run --date D" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["ledger"], "required: ACTION"),
        (["ledger", "explain"], "required: --tx"),
        (["ledger", "explain", "--tx", "0x12"], "'0x12' is no transaction hash"),
        (["ledger", "explain", "--tx", "0x" + "ab" * 32, "--wallet", "0x1"], "'0x1' is no address"),
        (["ledger", "explain", "--tx", "0x" + "ab" * 32, "--chain", "7"], "invalid choice: 7"),
        (["ledger", "unexplained", "--date", "today"], "'today' is no date"),
    ],
)
def test_wrong_arguments_are_refused_in_words(
    arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert wanted in said(capsys)


def test_a_transaction_that_is_asked_for_is_booked_alone(
    books: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain()
    tx = chain.send((REAL_USDC, STRANGER, WARM, usd(100)), burn(CRV, WARM, 5), sender=WARM)
    monkeypatch.setattr(ledger, "_ask", lambda *_: chain.frame())
    assert run(books[0], "explain", "--tx", tx, "--wallet", WARM) == 0
    words = said(capsys)
    assert "booked as: unlisted_withdrawal" in words
    assert "USDC" in words


def test_live_without_a_key_names_the_variable_and_with_one_asks_the_vendor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEFIYIELD_ETHERSCAN_API_KEY", raising=False)
    where = ["--market", "live", "--state-dir", str(tmp_path / "state")]
    assert main(["migrate", *where]) == 0
    assert main(["ledger", "explain", "--tx", "0x" + "ab" * 32, *where]) == 2
    assert "set DEFIYIELD_ETHERSCAN_API_KEY to ask Etherscan for it" in said(capsys)


def test_what_was_stored_is_read_back_as_unexplained(books: tuple[Path, str]) -> None:
    """The asset's own reading: only one account's postings, through the database's types."""
    folder, tx = books
    engine = WarehouseResource(market="simulated", url=f"sqlite:///{folder / 'warehouse.sqlite'}").engine
    days, only = DayRange(START, START + timedelta(days=1)), {"account": "equity:unexplained"}
    postings = reads.read_days(engine, schema.ledger_postings, days, where=only)
    rows = unexplained_transactions(days.end, postings=postings, policy=POLICY, contracts=make_contracts())
    stored = reads.read_all(engine, schema.unexplained_transactions)
    assert set(rows["tx_hash"]) == {tx}
    assert rows.drop(columns="date").to_dict("records") == stored.drop(columns="date").to_dict("records")
