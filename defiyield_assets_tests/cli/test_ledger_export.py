"""`defiyield ledger export`, `balances`, `lots` and `gains` on a closed loop: files that `bean-check` accepts, tables.

Not here: the lines of the file (domain/ledger/test_beancount.py), `explain` and `unexplained` (test_ledger.py).
"""

import re
import stat
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from defiyield_assets.cli.ledger_export import write_privately
from defiyield_assets.cli.main import main
from defiyield_assets.domain.ledger.beancount import commodity
from defiyield_assets.domain.reporting.formats import token_amount, usd
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.domain.ledger.bean_check import bean_check
from defiyield_assets_tests.installations import FIRST, LOOP_DAYS, Installation, Loop, day_after

pytestmark = pytest.mark.usefixtures("command_line")
LAST = day_after(FIRST, LOOP_DAYS - 1)


@pytest.fixture
def after_loop(closed_loop: Loop, tmp_path: Path) -> Installation:
    """A copy of the state after the closed loop."""
    return closed_loop.installation.copy_to(tmp_path / "state")


def ledger(installation: Installation, *arguments: str) -> int:
    """Run a command of the group on that state."""
    return main(["ledger", *arguments, "--state-dir", str(installation.folder)])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Everything printed, in one line of words."""
    captured = capsys.readouterr()
    return " ".join((captured.out + captured.err).split())


# --- export -----------------------------------------------------------------------------------------------------------
def test_bean_check_accepts_the_closed_loop(after_loop: Installation, tmp_path: Path) -> None:
    path = tmp_path / "books.beancount"
    assert ledger(after_loop, "export", "--format", "beancount", "--to", f"{LAST}", "--output", str(path)) == 0
    text = path.read_text(encoding="utf-8")
    assert bean_check(text, tmp_path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    postings = after_loop.rows(schema.ledger_postings)
    legs = [line for line in text.splitlines() if re.match(r"  (Assets|Equity|Income|Expenses):", line)]
    assert len(legs) == len(postings)
    assert set(postings["tx_hash"]) == set(re.findall(r'^  tx: "(.*)"$', text, flags=re.MULTILINE))


def test_the_export_asserts_what_the_chain_says_each_day(after_loop: Installation, tmp_path: Path) -> None:
    path = tmp_path / "books.beancount"
    ledger(after_loop, "export", "--output", str(path))
    text = path.read_text(encoding="utf-8")
    shares = set(after_loop.rows(schema.pool_contracts)["share_token"])
    asserted = {
        (date.fromisoformat(day), wallet, name): number
        for day, wallet, number, name in re.findall(
            r"^(\S+) balance \S+:(0x[0-9a-f]{40})  (\S+) (T\S+)  ; chain$", text, flags=re.MULTILINE
        )
    }
    seen = 0
    for row in after_loop.rows(schema.chain_balances).to_dict("records"):
        at = (row["date"] + timedelta(days=1), row["wallet"], commodity(row["chain_id"], row["token_address"]))
        if at in asserted:
            assert int(asserted[at].replace(".", "")) == row["balance"]
            seen += 1
    assert seen == len(asserted) > 5 * LOOP_DAYS
    assert {commodity(1, share) for share in shares} & {name for _, _, name in asserted}


def test_bean_check_refuses_the_loop_with_one_digit_changed(after_loop: Installation, tmp_path: Path) -> None:
    path = tmp_path / "books.beancount"
    ledger(after_loop, "export", "--output", str(path))
    text = path.read_text(encoding="utf-8")
    places = [found.end(1) - 1 for found in re.finditer(r"^(?:  [AEI]\S+|\S+ balance \S+)  (-?\d+\.\d+) T", text, re.M)]
    for at in (places[0], places[len(places) // 3], places[len(places) // 2], places[-1]):
        wrong = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
        assert bean_check(wrong, tmp_path), text[at - 80 : at + 60]


def test_a_part_of_the_days_brings_the_balances_forward(after_loop: Installation, tmp_path: Path) -> None:
    path = tmp_path / "part.beancount"
    first, last = day_after(FIRST, 2), day_after(FIRST, 3)
    assert ledger(after_loop, "export", "--from", f"{first}", "--to", f"{last}", "--output", str(path)) == 0
    text = path.read_text(encoding="utf-8")
    assert bean_check(text, tmp_path) == []
    assert f'{day_after(first, -1)} * "Balances brought forward"' in text
    dated = {date.fromisoformat(day) for day in re.findall(r"^(\d{4}-\d\d-\d\d) [*!] ", text, flags=re.MULTILINE)}
    assert dated == {day_after(first, -1), first, last}


def test_without_an_output_the_file_lies_in_the_state_folder(
    after_loop: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ledger(after_loop, "export") == 0
    path = after_loop.folder / f"ledger-{LAST}.beancount"
    assert path.is_file()
    assert f"bean-check {path}" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["--to", "2020-01-01"],
            f"the ledger runs from 2025-04-19 to {LAST}; --to 2020-01-01 is not one of these days",
        ),
        (["--from", "2030-01-01"], "--from 2030-01-01 must lie in 2025-04-19..2025-06-07"),
        (["--output", "nowhere/at/all"], "--output nowhere/at/all is no place for a file"),
        (["--output", "."], "--output . is no place for a file"),
    ],
)
def test_what_cannot_be_exported_is_one_clear_error(
    arguments: list[str], wanted: str, after_loop: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ledger(after_loop, "export", *arguments) == 2
    assert wanted in said(capsys)
    assert [path for path in after_loop.folder.iterdir() if "beancount" in path.name] == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "books.beancount"
    write_privately(path, ["old"])

    def lines() -> "list[str]":
        raise RuntimeError("the disk is full")

    def broken():  # type: ignore[no-untyped-def]
        yield "new"
        yield from lines()

    with pytest.raises(RuntimeError):
        write_privately(path, broken())
    assert path.read_text(encoding="utf-8") == "old\n"
    assert [path for path in tmp_path.iterdir() if "beancount" in path.name] == [path]


def test_hostile_claims_of_the_chain_stay_in_their_strings(after_loop: Installation, tmp_path: Path) -> None:
    rows = after_loop.rows(schema.account_transactions)
    own = rows[(rows["kind"] == "token") & rows["symbol_claimed"].notna()].assign(
        symbol_claimed='US"DC\\\n2025-06-04 open Assets:Mine'
    )
    assert len(own)
    writes.upsert(after_loop.engine, schema.account_transactions, own)
    path = tmp_path / "books.beancount"
    ledger(after_loop, "export", "--output", str(path))
    text = path.read_text(encoding="utf-8")
    assert "symbol-claimed" in text
    assert bean_check(text, tmp_path) == []


# --- tables -----------------------------------------------------------------------------------------------------------
def test_balances_are_shown_exactly(after_loop: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger(after_loop, "balances", "--date", f"{FIRST}") == 0
    shown = said(capsys)
    held = after_loop.rows(schema.daily_balances, FIRST)
    held = held[held["is_trusted"].astype(bool)]
    pools = after_loop.rows(schema.pool_positions, FIRST)
    for row in held.to_dict("records"):
        assert token_amount(row["balance"], row["decimals"]) in shown
    for row in pools.to_dict("records"):
        assert token_amount(row["underlying_amount"], row["decimals"]) in shown
    nav = after_loop.rows(schema.nav_daily, FIRST).iloc[0]["nav_usd"]
    assert f"together {usd(nav)}" in shown


def test_lots_are_shown_with_cost_and_value(after_loop: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger(after_loop, "lots") == 0
    shown = said(capsys)
    lots = after_loop.rows(schema.open_lots, LAST)
    for row in lots.to_dict("records"):
        assert row["lot_id"] in shown
        assert token_amount(row["amount"], row["decimals"]) in shown
    assert f"{len(lots)} lots, taken first in, first out" in shown
    assert ledger(after_loop, "lots", "--token", "usdc", "--date", f"{FIRST}") == 0
    some = said(capsys)
    assert "USDC" in some
    assert "USDT" not in some


def test_gains_add_up(after_loop: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    first = day_after(FIRST)
    assert ledger(after_loop, "gains", "--from", f"{first}", "--token", "native") == 0
    shown = said(capsys)
    gains = after_loop.rows(schema.realised_gains)
    own = gains[(gains["date"] >= first) & (gains["token_address"] == "native")]
    assert len(own) > 5
    known = sum((gain for gain in own["gain_usd"] if gain is not None), Decimal(0))
    unknown = int(own["gain_usd"].isna().sum())
    assert f"gain in sum {'+' if known >= Decimal('0.01') else ''}{usd(known)}" in shown
    assert (f"{unknown} disposals whose gain is not known" in shown) == bool(unknown)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["balances", "--date", "2024-01-01"], f"no ledger of 2024-01-01; the newest one is of {LAST}"),
        (["lots", "--token", "XYZ"], "--token XYZ: there is none of it; there are DAI, ETH,"),
        (["gains", "--from", "2025-07-01"], f"--from 2025-07-01 is after --to {LAST}"),
        (["gains", "--to", "2025-07-01"], "no ledger of 2025-07-01"),
    ],
)
def test_wrong_questions_get_one_clear_error(
    arguments: list[str], wanted: str, after_loop: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    is_no_such_day = wanted.startswith("no ledger of")
    assert ledger(after_loop, *arguments) == (1 if is_no_such_day else 2)
    assert wanted in said(capsys)


@pytest.mark.parametrize("command", ["export", "balances", "lots", "gains"])
def test_without_a_ledger_the_command_says_what_to_do(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "empty"
    assert main(["migrate", "--state-dir", str(state)]) == 0
    assert main(["ledger", command, "--state-dir", str(state)]) == 1
    assert "the warehouse holds no ledger yet: run `defiyield run --date D`" in said(capsys)
