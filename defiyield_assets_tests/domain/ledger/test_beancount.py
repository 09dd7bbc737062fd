"""The exported ledger before its outside judge: what `bean-check` accepts, and every kind of error that it must refuse.

Not here: the command that writes the file (cli/test_ledger.py).
"""

import re
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defiyield_assets.cli import beancount_plugin
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import NATIVE
from defiyield_assets.domain.ledger.beancount import PLUGIN, account_name, commodity, quoted
from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets_tests.domain.ledger import recorded_chain
from defiyield_assets_tests.domain.ledger.bean_check import bean_check, export
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    DAI,
    FAKE_USDC,
    START,
    STRANGER,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
    golden_chain,
    make_contracts,
    make_policy,
    make_prices,
    usd,
)

POLICY, CONTRACTS = make_policy(), make_contracts()
PRICES = make_prices(POLICY)
FIRST = DayRange.of(START)
MOST = 2**256 - 1
SPAM = "0x" + "5a" * 20


def booked(chain: Chain) -> pd.DataFrame:
    """Postings of a chain of the tests."""
    return build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=PRICES)


def exported(chain: Chain, days: DayRange = FIRST, **options: object) -> str:
    """The file about a chain of the tests."""
    return export(booked(chain), days, policy=POLICY, contracts=CONTRACTS, prices=PRICES, **options)  # type: ignore[arg-type]


def told(*rows: tuple[str, str, int], day: date = START) -> pd.DataFrame:
    """`chain_balances` of a day: (wallet, token, balance)."""
    return pd.DataFrame(
        [(day, 1, wallet, token, balance, 18, "test", None) for wallet, token, balance in rows],
        columns=["date", "chain_id", "wallet", "token_address", "balance", "decimals", "source", "observed_at"],
    )


GOLDEN = exported(golden_chain())
USD_ = commodity(1, USDC)


# --- the golden case ------------------------------------------------------------------------------------------------
def test_bean_check_accepts_the_golden_case(tmp_path: Path) -> None:
    assert bean_check(GOLDEN, tmp_path) == []
    after = START + timedelta(days=1)
    for account, wanted in (
        (f"Assets:Wallet:{COLD}", "1000.000000"),
        (f"Assets:Wallet:{WARM}", "4000.000000"),
        (f"Assets:Pool:P-vault:{WARM}", "4000.000000"),
        (f"Assets:Pool:P-other:{WARM}", "1000.000000"),
    ):
        assert f"{after} balance {account}  {wanted} {USD_}  ;" in GOLDEN
    roots = {line.split()[2].split(":")[0] for line in GOLDEN.splitlines() if " open " in line}
    assert roots == {"Assets", "Equity", "Expenses"}
    assert GOLDEN.count("\n2025-06-02 * ") == 7


def changed(pattern: str, replacement: str, count: int = 1) -> str:
    """The golden file with something changed; it must be there."""
    text, found = re.subn(pattern, replacement, GOLDEN, count=count, flags=re.MULTILINE)
    assert found, pattern
    return text


@pytest.mark.parametrize(
    ("pattern", "replacement", "wanted"),
    [
        (rf"10000\.000000 {USD_}", f"10000.000001 {USD_}", "does not balance"),
        (r"-0\.000021000000000000 TNATIVE", "-0.000021000000000001 TNATIVE", "does not balance"),
        (rf"^  Equity:External:{BANK}  -10000.*\n", "", "does not balance"),
        (r"^  Expenses:Gas.*\n", "", "does not balance"),
        (rf"balance (\S+)  1000\.000000 {USD_}", rf"balance \1  1000.000001 {USD_}", "Balance failed"),
        (r"0\.999937000000000000 TNATIVE", "0.999937000000000001 TNATIVE", "Balance failed"),
        (r"balance (\S+)  3800\.0{18}", r"balance \1  3799." + "9" * 18, "Balance failed"),
        (rf"^2025-06-02 open Assets:Wallet:{COLD}\n", "", "unknown account"),
        (r'symbol: "USDC"', 'symbol: "US"DC"', "Invalid token"),
        (r'symbol: "USDC"', 'symbol: "US\\\\"', "syntax error"),
    ],
)
def test_bean_check_refuses_a_file_with_an_error(pattern: str, replacement: str, wanted: str, tmp_path: Path) -> None:
    said = bean_check(changed(pattern, replacement), tmp_path)
    assert any(wanted in line for line in said), said


def test_an_error_that_balances_itself_is_found_by_the_assertions(tmp_path: Path) -> None:
    """Both legs of a transfer one unit off: the transaction balances, the chain does not agree."""
    text = changed(rf"9000\.000000 {USD_}", f"8999.999999 {USD_}", count=2)
    said = bean_check(text, tmp_path)
    assert said
    assert all("Balance failed" in line for line in said)


def test_without_the_option_beancount_would_let_one_unit_pass(tmp_path: Path) -> None:
    text = changed(r"0\.999937000000000000 TNATIVE", "0.999937000000000001 TNATIVE")
    lax = text.replace('option "tolerance_multiplier" "0"\n', "")
    assert lax != text
    assert bean_check(lax, tmp_path) == []
    assert bean_check(text, tmp_path)


# --- what the chain says ----------------------------------------------------------------------------------------------
def test_assertions_are_the_chains_word(tmp_path: Path) -> None:
    chain = Chain()
    chain.send((USDC, BANK, COLD, usd(5)))
    chain.send((FAKE_USDC, STRANGER, COLD, usd(7)))
    fine = exported(chain, chain_balances=told((COLD, USDC, usd(5)), (COLD, FAKE_USDC, 1)))
    assert bean_check(fine, tmp_path) == []
    assert f"7.000000 {commodity(1, FAKE_USDC)}  ; ledger" in fine, "what an untrusted token says is no evidence"
    for wrong in (
        told((COLD, USDC, usd(5) + 1)),
        told((COLD, DAI, 1), (COLD, USDC, usd(5))),
        told((WARM, USDC, usd(5))),
    ):
        assert bean_check(exported(chain, chain_balances=wrong), tmp_path)


def test_a_chain_that_nobody_asked_is_no_witness(tmp_path: Path) -> None:
    """Nobody at all, on another day, or about another chain."""
    elsewhere = told((COLD, USDC, 1)).assign(chain_id=10)
    for nothing in (told(), told((COLD, USDC, 1), day=START - timedelta(days=1)), elsewhere):
        text = exported(golden_chain(), chain_balances=nothing)
        assert "; chain" not in text
        assert bean_check(text, tmp_path) == []


# --- numbers ----------------------------------------------------------------------------------------------------------
def largest_chain() -> Chain:
    """An untrusted token of 256 bits that comes in two parts, one of which goes again, and a trusted one beside."""
    chain = golden_chain()
    chain.send((FAKE_USDC, STRANGER, COLD, MOST - 1))
    chain.send((FAKE_USDC, STRANGER, COLD, 1))
    chain.send((SPAM, STRANGER, COLD, MOST // 3))
    chain.send((SPAM, COLD, STRANGER, MOST // 3 - 7), sender=COLD)
    chain.send((DAI, BANK, WARM, 10**40 + 1))
    return chain


def test_amounts_of_256_bits_are_exact(tmp_path: Path) -> None:
    text = exported(largest_chain())
    whole = f"{MOST // 10**6}.{MOST % 10**6:06d}"
    assert f"balance Assets:Wallet:{COLD}  {whole} {commodity(1, FAKE_USDC)}" in text
    assert bean_check(text, tmp_path) == []
    for at in (whole, f"1{'0' * 22}.{'0' * 17}1", f"0.{'0' * 17}7"):
        last = re.escape(at)
        off = re.sub(rf"(balance \S+  ){last[:-1]}\d", rf"\g<1>{at[:-1]}9", text)
        assert off != text
        assert bean_check(off, tmp_path), at


def test_beancount_alone_would_round_them(tmp_path: Path) -> None:
    text = exported(largest_chain())
    assert bean_check(text.replace(f'plugin "{PLUGIN}"\n', ""), tmp_path)


def test_files_whose_numbers_fit_need_no_plugin() -> None:
    assert "plugin" not in GOLDEN
    edge, over = Chain(), Chain()
    edge.send((DAI, BANK, COLD, (10**28 - 1) // 3))
    over.send((DAI, BANK, COLD, 10**28 // 3 + 1))
    assert "plugin" not in exported(edge)
    assert f'plugin "{PLUGIN}"' in exported(over)


def test_the_plugin_is_where_the_file_says() -> None:
    assert beancount_plugin.__name__ == PLUGIN
    assert beancount_plugin.PRECISION >= 60
    assert all(callable(getattr(beancount_plugin, name)) for name in beancount_plugin.__plugins__)


@given(amount=st.integers(1, MOST), decimals=st.integers(0, 255))
def test_every_digit_is_written(amount: int, decimals: int) -> None:
    chain = Chain()
    chain.send((FAKE_USDC, STRANGER, COLD, amount), claimed_decimals=decimals)
    line = next(line for line in exported(chain).splitlines() if line.startswith("  Equity:External"))
    written = line.split()[1]
    assert re.fullmatch(r"-[0-9]+(\.[0-9]+)?", written)
    assert len(written.partition(".")[2]) == decimals
    assert int(written.replace(".", "")) == -amount


# --- hostile names ----------------------------------------------------------------------------------------------------
HOSTILE = [
    'US"DC',
    "\\",
    '\\"',
    "a\nb",
    "\r\n2025-01-01 open Assets:Mine",
    "\x00\x1b[31m",
    "\u202egpj.exe",
    "=cmd|' /C calc'!A0",
    "<script>",
    "💰" * 40,
    "x" * 10_000_000,
    ";",
    "\ud800",
    "",
    " ",
]


def test_hostile_symbols_stay_in_their_strings(tmp_path: Path) -> None:
    chain, names = golden_chain(), {}
    for at, name in enumerate(HOSTILE):
        token = f"0x{at + 1:040x}"
        chain.send((token, STRANGER, COLD, 10**18 + at))
        names[1, token] = name
    text = exported(chain, claimed_symbols=names)
    assert bean_check(text, tmp_path) == []
    assert len(text) < 100_000
    assert not set(re.findall(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text))
    assert "open Assets:Mine" not in re.findall(r"^\S.*", text, flags=re.MULTILINE)
    claims = [line for line in text.splitlines() if line.startswith("  symbol-claimed: ")]
    assert len(claims) == len(HOSTILE)


@given(text=st.text())
def test_a_string_literal_ends_where_it_should(text: str) -> None:
    literal = quoted(text)
    assert re.fullmatch(r'"([^\\"\n]|\\[\\"])*"', literal)
    if text.isprintable() and len(text) <= 200:
        assert literal[1:-1].replace('\\"', '"').replace("\\\\", "\\") == text


ACCOUNT = re.compile(r"(Assets|Equity|Income|Expenses)(:[A-Z0-9][A-Za-z0-9-]*)+")


@given(pool_id=st.text(max_size=100), other=st.text(max_size=100))
def test_pools_of_any_name_have_accounts_of_their_own(pool_id: str, other: str) -> None:
    for prefix in ("assets:pool:", "equity:shares:", "income:yield:"):
        named = account_name(prefix + pool_id, WARM)
        assert ACCOUNT.fullmatch(named)
        assert ":P-" in named
        assert (named == account_name(prefix + other, WARM)) == (pool_id == other)


def test_accounts_keep_their_names_under_the_five_roots() -> None:
    pool = "aa70268e-4b52-42bf-a116-608b370f9501"
    assert {
        name: account_name(name, None)
        for name in (
            f"assets:wallet:{WARM}",
            f"equity:shares:{pool}",
            f"equity:external:{BANK}",
            "equity:external:",
            "equity:opening",
            "equity:conversions",
            "equity:unexplained",
            f"income:yield:{pool}",
            f"income:yield:{USDC}",
            "income:yield:native",
            "income:rewards",
            "expenses:gas",
            "expenses:conversion",
        )
    } == {
        f"assets:wallet:{WARM}": f"Assets:Wallet:{WARM}",
        f"equity:shares:{pool}": f"Equity:Shares:P-{pool}",
        f"equity:external:{BANK}": f"Equity:External:{BANK}",
        "equity:external:": "Equity:External:E3b0c44298fc",
        "equity:opening": "Equity:Opening",
        "equity:conversions": "Equity:Conversions",
        "equity:unexplained": "Equity:Unexplained",
        f"income:yield:{pool}": f"Income:Yield:P-{pool}",
        f"income:yield:{USDC}": f"Income:Yield:{USDC}",
        "income:yield:native": "Income:Yield:Native",
        "income:rewards": "Income:Rewards",
        "expenses:gas": "Expenses:Gas",
        "expenses:conversion": "Expenses:Conversion",
    }
    assert account_name(f"assets:pool:{pool}", WARM) == f"Assets:Pool:P-{pool}:{WARM}"
    assert commodity(1, NATIVE) == "TNATIVE"
    assert commodity(10, USDC) == f"T0X{USDC[2:].upper()}-10"


# --- several days ---------------------------------------------------------------------------------------------------
def several_days() -> Chain:
    """The golden case, then yield, a loss, a swap, a reward and money out on later days."""
    chain = golden_chain()
    chain.send((USDC, VAULT, WARM, usd(2_100)), burn(VAULT_SHARE, WARM, 1_900 * 10**18), sender=WARM, day=2)
    chain.send((USDC, WARM, BANK, usd(10)), sender=WARM, day=3)
    chain.send((USDC, WARM, VAULT, usd(100)), (DAI, VAULT, WARM, 99 * 10**18), sender=WARM, day=3)
    chain.send((USDC, VAULT, WARM, usd(1_900)), burn(VAULT_SHARE, WARM, 1_900 * 10**18), sender=WARM, day=5)
    return chain


def test_any_part_of_the_days_is_a_file_of_its_own(tmp_path: Path) -> None:
    chain, end = several_days(), START + timedelta(days=6)
    whole = exported(chain, DayRange(START, end))
    assert bean_check(whole, tmp_path) == []
    last = [line for line in whole.splitlines() if line.startswith(f"{end + timedelta(days=1)} balance")]
    assert len(last) > 4
    for offset in (1, 2, 3, 5, 6):
        part = exported(chain, DayRange(START + timedelta(days=offset), end))
        assert bean_check(part, tmp_path) == []
        assert [line for line in part.splitlines() if line in set(last)] == last
        assert '"Balances brought forward"' in part
    assert '"Balances brought forward"' not in whole


def test_each_transaction_says_what_it_is_and_what_it_corrects(tmp_path: Path) -> None:
    chain = several_days()
    chain.send((USDC, STRANGER, WARM, usd(1)), (DAI, STRANGER, WARM, 1), sender=WARM, day=5)
    postings = booked(chain)
    first, last = postings["tx_hash"].min(), postings["tx_hash"].max()
    postings.loc[postings["tx_hash"] == last, "corrects"] = first
    postings.loc[postings["tx_hash"] == last, "is_pending"] = True
    postings.loc[postings["tx_hash"] == last, "tx_hash"] = f"correction:2025-06-07:{first}"
    text = export(
        postings, DayRange(START, START + timedelta(days=5)), policy=POLICY, contracts=CONTRACTS, prices=PRICES
    )
    assert bean_check(text, tmp_path) == []
    entry = text[text.index(f'  tx: "correction:2025-06-07:{first}"') :].splitlines()[:4]
    assert entry[2:] == [f'  corrects: "{first}"', "  pending: TRUE"]
    assert '2025-06-07 ! "' in text


def test_nothing_at_all_is_a_file_too(tmp_path: Path) -> None:
    assert bean_check(exported(Chain()), tmp_path) == []


# --- recorded transactions ------------------------------------------------------------------------------------------
def exported_history(frame: pd.DataFrame, wallets: set[tuple[int, str]]) -> str:
    """The file about everything in an `account_transactions` frame, by the shipped list of tokens."""
    days = DayRange(min(frame["date"]), max(frame["date"]))
    policy = recorded_chain.policy_of(wallets)
    prices = recorded_chain.prices_of(policy, set(days))
    shared = {"policy": policy, "contracts": recorded_chain.NO_CONTRACTS, "prices": prices}
    claims = frame[frame["symbol_claimed"].notna()]
    named = zip(claims["chain_id"], claims["token_address"], claims["symbol_claimed"], strict=True)
    symbols = {(int(chain_id), token): symbol for chain_id, token, symbol in named}
    postings = build_postings(frame, **shared)
    return export(postings, days, claimed_symbols=symbols, **shared)


@pytest.mark.recorded
@pytest.mark.parametrize("chain_id", [1, 10])
def test_bean_check_accepts_the_recorded_account(recorded_data: Path, chain_id: int, tmp_path: Path) -> None:
    wallets = {(chain_id, recorded_chain.ACCOUNT)}
    frame = recorded_chain.held_before(recorded_chain.recorded_account(recorded_data, chain_id), wallets)
    text = exported_history(frame, wallets)
    assert text.count("  tx: ") > 20
    assert bean_check(text, tmp_path) == []


@pytest.mark.recorded
def test_bean_check_accepts_every_recorded_transaction(recorded_data: Path, tmp_path: Path) -> None:
    """All of them in one ledger, each sender one of our wallets, on every chain that was recorded."""
    recorded = recorded_chain.recorded_transactions(recorded_data)
    wallets = {(one.chain_id, one.wallet) for one in recorded}
    frame = merge_views([one.frame for one in recorded])
    text = exported_history(recorded_chain.held_before(frame, wallets), wallets)
    assert bean_check(text, tmp_path) == []
    hashes = set(re.findall(r'^  tx: "(0x[0-9a-f]{64})"$', text, flags=re.MULTILINE))
    assert set(frame["tx_hash"]) <= hashes
    legs = re.findall(r"^(  \S+  -?\d+\.?\d*)(\d) (T\S+)$", text, flags=re.MULTILINE)
    line = "".join(legs[len(legs) // 2][:2])
    wrong = text.replace(line, line[:-1] + str((int(line[-1]) + 1) % 10), 1)
    assert bean_check(wrong, tmp_path)
