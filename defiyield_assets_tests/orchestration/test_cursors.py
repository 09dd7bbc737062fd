"""How far wallets were read, day by day: a day that is read again asks what it asked before, reset or not.

Not here: what the ledger makes of it (domain/ledger).
"""

from datetime import date
from pathlib import Path

import pandas as pd

from defiyield_assets.orchestration.resources import undo_executions
from defiyield_assets.store import schema
from defiyield_assets_tests.installations import FIRST, Installation, Loop, day_after

MIDDLE = day_after(FIRST, 2)


def questions(installation: Installation, day: date) -> list[str]:
    """What the partition asked Etherscan, first blocks included, in order."""
    rows = installation.rows(schema.raw_fetches)
    return list(rows.loc[(rows["vendor"] == "etherscan") & (rows["partition_date"] == day), "params_json"])


def cursors(installation: Installation) -> pd.DataFrame:
    """The cursors in order of time."""
    return installation.rows(schema.account_cursors).sort_values(["wallet", "read_through"], ignore_index=True)


def test_every_day_leaves_a_cursor_and_none_goes_back(closed_loop: Loop) -> None:
    found = cursors(closed_loop.installation)
    n_wallets = found["wallet"].nunique()
    assert n_wallets >= 2
    assert found.groupby("wallet")["read_through"].apply(list).tolist() == [list(closed_loop.days)] * n_wallets
    assert found.groupby("wallet")["last_block"].is_monotonic_increasing.all()
    assert (found["last_block"] > 0).all()


def test_a_day_that_is_read_again_asks_what_it_asked_before(closed_loop: Loop, tmp_path: Path) -> None:
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    first = questions(installation, MIDDLE)
    assert first != questions(installation, FIRST), "the first day reads from the beginning"
    before = cursors(installation)
    assert installation.run(MIDDLE, ["account_transactions"]).success
    assert questions(installation, MIDDLE) == [*first, *first]
    assert cursors(installation).equals(before)


def test_after_a_reset_only_days_that_the_plans_did_not_touch_are_known_as_read(
    closed_loop: Loop, tmp_path: Path
) -> None:
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    first = questions(installation, day_after(MIDDLE))
    undo_executions(installation.warehouse, (installation.definitions.resources or {})["market"], MIDDLE)
    assert cursors(installation)["read_through"].max() == MIDDLE
    assert installation.run(day_after(MIDDLE), ["account_transactions"]).success
    assert questions(installation, day_after(MIDDLE)) == [*first, *first]
