"""Running `bean-check`, the outside judge of exported ledgers, and exporting what the tests booked.

Lives here: how a file is judged. Not here: what is exported (test_beancount.py, cli/test_ledger.py).
"""

import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.balances import daily_balances
from defiyield_assets.domain.ledger.beancount import beancount_lines
from defiyield_assets.domain.ledger.tables import TRIAL_BALANCE, make_frame
from defiyield_assets.domain.ledger.trial_balance import TrialBalance, advance, as_of
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets.domain.policy import Policy

BEAN_CHECK = Path(sys.executable).with_name("bean-check")


def bean_check(text: str, folder: Path) -> list[str]:
    """What `bean-check` has against the text; empty when it accepts it. It is run as a program, never imported."""
    path = folder / "ledger.beancount"
    path.write_text(text, encoding="utf-8")
    checked = subprocess.run([BEAN_CHECK, "--no-cache", path], capture_output=True, text=True, check=False)
    said = [line for line in checked.stderr.splitlines() if line.startswith(("/", "<"))]
    assert (checked.returncode == 0) == (not checked.stderr.strip()), checked.stderr
    assert checked.returncode == 0 or said, checked.stderr
    return said


def trial_balances(postings: pd.DataFrame) -> pd.DataFrame:
    """All rows of `trial_balance` over the postings."""
    books, days = TrialBalance(), sorted(set(postings["date"]))
    frames = [advance(books, postings[postings["date"] == day], day) for day in days]
    return pd.concat(frames, ignore_index=True) if frames else make_frame(TRIAL_BALANCE, [])


def export(
    postings: pd.DataFrame,
    days: DayRange,
    *,
    policy: Policy,
    contracts: pd.DataFrame,
    prices: Prices,
    chain_balances: pd.DataFrame | None = None,
    claimed_symbols: Mapping[tuple[int, str], str] | None = None,
) -> str:
    """The file about the days; without `chain_balances` the chain says what the ledger says."""
    trial = trial_balances(postings)
    shared = {"policy": policy, "contracts": contracts, "prices": prices}
    frames = [daily_balances(as_of(trial, day), day=day, **shared) for day in days]
    balances = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    lines = beancount_lines(
        days,
        postings=postings[(postings["date"] >= days.start) & (postings["date"] <= days.end)],
        carried=as_of(trial, days.start - timedelta(days=1)),
        closing=as_of(trial, days.end),
        balances=balances,
        chain_balances=balances if chain_balances is None else chain_balances,
        prices=prices,
        claimed_symbols=claimed_symbols or {},
        book=AddressBook.of(policy, contracts),
    )
    return "\n".join(lines) + "\n"
