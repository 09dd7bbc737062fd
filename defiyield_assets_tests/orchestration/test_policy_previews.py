"""A day under another policy: the stored day again to the last digit, and what a real run of the changed day makes.

Not here: words of a preview (domain/test_policy_preview.py), the command (cli/test_config_versions.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.config import changed_files, changes
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.domain.policy_preview import PolicyPreview
from defiyield_assets.domain.reporting.plan_sections import ACTIONS
from defiyield_assets.errors import ConfigurationError, NotFound
from defiyield_assets.orchestration.policy_previews import day_under, preview_change
from defiyield_assets.orchestration.resources import PolicyResource, market_of
from defiyield_assets.store import schema
from defiyield_assets.store.rows import rows_hash, to_rows
from defiyield_assets_tests.installations import FIRST, Installation, Loop

JUDGED = (
    *("policy_snapshot", "token_registry", "prefiltered_pools", "pool_quality", "pool_metrics", "pool_groups"),
    *("icebox", "icebox_events", "allocation_snapshot", "eligible_pools"),
    *("allocation_runs", "allocations", "allocation_steps", "allocation_limits"),
)
"""What a changed policy makes anew of a day whose histories, forecasts and balances stay."""
SAID = changes.Said("Ada", "test", FIRST)


def texts(values: Mapping[str, Any], base: str | None = None) -> dict[str, str]:
    """policy.yaml with other values."""
    text = base or (SHIPPED / "policy.yaml").read_text(encoding="utf-8")
    for name, value in values.items():
        text = changes.set_parameter(text, name, value, SAID)
    return {"policy.yaml": text}


def preview(
    installation: Installation, changed: Mapping[str, str], day: date | None = None, in_force: Path | None = None
) -> PolicyPreview:
    with changed_files.trial_folder(in_force, changed) as trial:
        market = market_of(installation.settings)
        return preview_change(installation.warehouse, market, in_force=in_force, changed=trial, day=day)


def content(table: sa.Table, frame: pd.DataFrame) -> str:
    timeless = frame.assign(solver_seconds=0.0) if "solver_seconds" in frame else frame
    return rows_hash(table, to_rows(table, timeless))


def require_reproduced(installation: Installation, day: date) -> None:
    made = day_under(installation.warehouse, day, installation.warehouse.policy(day))
    for table, frame in {
        schema.prefiltered_pools: made.prefiltered,
        schema.eligible_pools: made.eligible,
        schema.allocation_runs: made.plan.runs,
        schema.allocations: made.plan.allocations,
        schema.allocation_steps: made.plan.steps,
    }.items():
        assert content(table, frame) == content(table, installation.rows(table, day)), table.name


def test_with_unchanged_files_every_planned_day_is_reproduced_exactly(closed_loop: Loop) -> None:
    """The first day begins the icebox, the last one stands on what four plans before it did."""
    installation = closed_loop.installation
    for day in (closed_loop.days[0], closed_loop.days[-1]):
        require_reproduced(installation, day)
        told = preview(installation, {}, day)
        assert told.is_without_effect
        assert told.caveats == ()
        assert told.day == day
    assert preview(installation, {}).day == closed_loop.days[-1], "the newest unless told"


@pytest.mark.parametrize(
    "values",
    [
        {"pool_tvl_min_usd": 20_000_000.0},
        {"stuck_days": 2, "gap_days": 1, "pool_apy_min": 0.03, "max_pool_share": 0.1, "chains": ["Ethereum"]},
    ],
)
def test_what_is_foretold_is_what_a_real_run_of_the_day_makes(
    values: dict[str, Any], first_day: Loop, tmp_path: Path
) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    before = installation.fingerprints()
    passed_before = _passed(installation)
    told = preview(installation, texts(values))
    assert installation.fingerprints() == before, "nothing is written"
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "policy.yaml").write_text(texts(values)["policy.yaml"], encoding="utf-8")
    real = replace(installation, overrides={"policy": PolicyResource(config_dir=str(folder))})
    assert real.run(FIRST, JUDGED).success
    passed = _passed(real)
    assert passed != passed_before, "the change does something"
    assert {one.pool_id for one in told.dropped} == passed_before - passed
    assert {one.pool_id for one in told.let_in} == passed - passed_before
    assert told.eligible_after == len(passed)
    assert told.prefiltered_after == int(real.rows(schema.prefiltered_pools, FIRST)["is_passed"].sum())
    run = real.rows(schema.allocation_runs, FIRST).iloc[0]
    after = told.after
    assert (after.status, after.message) == (run["status"], run["message"])
    assert after.projected_apy == run["projected_apy"]
    assert (after.gain_usd, after.n_steps) == (float(run["gain_usd"]), run["n_steps"])
    refused = real.rows(schema.eligible_pools, FIRST).set_index("pool_id")
    for one in told.dropped:
        if one.pool_id in refused.index:
            assert one.reason_codes == refused.loc[one.pool_id, "reason_codes"]
            assert one.reasons == refused.loc[one.pool_id, "reasons"]


def _passed(installation: Installation) -> set[str]:
    rows = installation.rows(schema.eligible_pools, FIRST)
    return set(rows.loc[rows["is_passed"], "pool_id"])


def test_rows_of_lists_count_and_the_manual_word_bars_at_once(first_day: Loop) -> None:
    installation = first_day.installation
    rules = (SHIPPED / "policy.yaml").read_text(encoding="utf-8")
    usdc = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
    barred = changes.add_listed(rules, "icebox", [usdc], SAID, fields={"barred": True})
    told = preview(installation, {"policy.yaml": barred})
    assert told.dropped
    assert all("USDC" in one.reasons for one in told.dropped)
    slugs = (SHIPPED / "protocols.yaml").read_text(encoding="utf-8")
    gone = preview(installation, {"protocols.yaml": changes.end_listed(slugs, "protocol", "aave-v3", SAID)})
    assert {one.protocol for one in gone.dropped} == {"aave-v3"}


USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
CHANGES: Mapping[str, tuple[str, str, dict[str, Any] | None]] = {
    "a protocol ends": ("protocol", "aave-v3", None),
    "a token ends": ("token", USDC, None),
    "the icebox bars": ("icebox", USDC, {"barred": True}),
    "the blacklist bars": ("blacklist", USDC, {"symbol": "USDC"}),
}
"""What takes pools out: kind of row, its name, and the fields of a new row (None: the row that is there ends)."""


@pytest.mark.parametrize("name", CHANGES)
def test_rows_that_count_from_the_next_day_act_in_a_preview_both_ways(
    name: str, first_day: Loop, tmp_path: Path
) -> None:
    """As they are written: with the first day from which they count, whatever the clock says. Taken back, they do the
    reverse."""
    installation, (kind, key, fields_of_row) = first_day.installation, CHANGES[name]
    file, said = changes.KINDS[kind].file, replace(SAID, day=FIRST + timedelta(days=1))
    text = (SHIPPED / file).read_text(encoding="utf-8")
    if fields_of_row is None:
        after = changes.end_listed(text, kind, key, said)
    else:
        after = changes.add_listed(text, kind, [key], said, fields=fields_of_row)
    told = preview(installation, {file: after})
    assert told.dropped
    assert "drop" in told.words
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / file).write_text(after, encoding="utf-8")
    if fields_of_row is None:
        more = {"symbol": "USDC", "decimals": 6, "issuer": "Circle"} if kind == "token" else {}
        back = changes.add_listed(after, kind, [key], said, fields=more)
    else:
        back = changes.end_listed(after, kind, key, said)
    again = preview(installation, {file: back}, in_force=folder)
    assert {one.pool_id for one in again.let_in} == {one.pool_id for one in told.dropped}
    assert again.dropped == ()


def test_what_held_pools_become_and_what_was_sent_since_is_told_of_the_day(first_day: Loop, tmp_path: Path) -> None:
    installation = first_day.installation.copy_to(tmp_path / "state")
    (sent,) = installation.rows(schema.plan_executions, FIRST).to_dict("records")
    assert sent["status"] == "executed"
    slugs = (SHIPPED / "protocols.yaml").read_text(encoding="utf-8")
    gone = {"protocols.yaml": changes.end_listed(slugs, "protocol", "aave-v3", SAID)}
    told = preview(installation, gone)
    assert told.n_sent == sent["n_transactions"] > 0
    assert "It has been carried out since" in told.basis
    rows = installation.rows(schema.allocations, FIRST)
    actions = dict(zip(rows["pool_id"], rows["action"], strict=True))
    assert {one.now for one in told.dropped} <= {"", *ACTIONS.values()}
    for one in told.dropped:
        assert one.now == ACTIONS.get(actions.get(one.pool_id, ""), "")
    with installation.warehouse.engine.begin() as connection:
        connection.execute(sa.update(schema.plan_executions).values(status="advice_only", n_transactions=0))
    assert preview(installation, gone).n_sent is None
    with installation.warehouse.engine.begin() as connection:
        connection.execute(sa.delete(schema.plan_executions))
    assert preview(installation, gone).n_sent is None


@pytest.mark.parametrize(("name", "value"), [("max_pool_share", 0.0), ("max_pool_share", 0.003)])
def test_caps_that_leave_no_room_are_told_as_a_sale_of_everything(name: str, value: float, closed_loop: Loop) -> None:
    told = preview(closed_loop.installation, texts({name: value}))
    assert "make the plan sell everything and hold no pool instead of" in told.words
    assert "a rebalance" not in told.words
    assert (told.after.n_pools, told.after.projected_apy) == (0, 0.0)


def test_rows_that_count_later_than_the_next_day_do_not_act_yet(first_day: Loop) -> None:
    slugs = (SHIPPED / "protocols.yaml").read_text(encoding="utf-8")
    later = changes.end_listed(slugs, "protocol", "aave-v3", replace(SAID, day=FIRST + timedelta(days=2)))
    assert preview(first_day.installation, {"protocols.yaml": later}).is_without_effect


def test_facts_and_names_of_pools_count_at_once(first_day: Loop) -> None:
    """Overrides and aliases say from when they count in the policy itself."""
    installation = first_day.installation
    passed = installation.rows(schema.eligible_pools, FIRST)
    pool_id = passed.loc[passed["is_passed"], "pool_id"].iloc[0]
    rules = (SHIPPED / "policy.yaml").read_text(encoding="utf-8")
    said = replace(SAID, day=FIRST + timedelta(days=1))
    locked = changes.add_listed(rules, "override", [pool_id], said, fields={"exit_days": 400})
    assert pool_id in {one.pool_id for one in preview(installation, {"policy.yaml": locked}).dropped}


def test_the_whole_day_is_read_as_it_is_at_one_moment(first_day: Loop) -> None:
    """A run may rewrite the day meanwhile."""
    installation, begun = first_day.installation, list[int]()
    engine = installation.warehouse.engine

    def count(_connection: sa.Connection) -> None:
        begun.append(1)

    sa.event.listen(engine, "begin", count)
    try:
        preview(installation, texts({"stuck_days": 2, "pool_tvl_min_usd": 2e7}))
    finally:
        sa.event.remove(engine, "begin", count)
    assert len(begun) == 1


def test_a_change_is_compared_with_what_is_in_force_and_not_with_earlier_changes(
    first_day: Loop, tmp_path: Path
) -> None:
    """The files were changed after the day was made, and nothing was made with them yet."""
    installation, folder = first_day.installation, tmp_path / "own"
    folder.mkdir()
    (folder / "policy.yaml").write_text(texts({"pool_tvl_min_usd": 2e7})["policy.yaml"], encoding="utf-8")
    same = preview(installation, {}, in_force=folder)
    assert same.is_without_effect
    made_again = f"The files in force are not those that {FIRST} was made with: it was made again under both."
    assert same.caveats == (made_again,)
    both = texts({"pool_tvl_min_usd": 2e7, "max_pool_share": 0.1})
    told = preview(installation, both, in_force=folder)
    assert told.dropped == ()
    assert told.after.projected_apy < told.before.projected_apy
    alone = preview(installation, both)
    assert alone.dropped != ()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"icebox_low_depth": 0.03}, "under the old icebox_low_depth: earlier days are not judged again"),
        ({"horizon_days": 60}, "Pools are forecast over 1, 7, 30 days, not over 60"),
        ({"apy_plausible_max": 5.0}, "not made again under the new apy_plausible_max"),
        ({"confirmations": 3}, "a change of confirmations acts from the next day on"),
        (
            {"pool_tvl_min_usd": 1000.0, "token_market_cap_min_usd": 0.0},
            "that nobody followed on 2025-06-03: nothing is forecast",
        ),
    ],
)
def test_what_cannot_be_known_is_said(values: dict[str, Any], words: str, first_day: Loop) -> None:
    told = preview(first_day.installation, texts(values))
    assert any(words in one for one in told.caveats), told.caveats


def test_days_without_a_plan_and_files_that_do_not_load_are_refused(first_day: Loop, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="holds no plan of 2025-06-01; the newest is of 2025-06-03"):
        preview(first_day.installation, {}, date(2025, 6, 1))
    with pytest.raises(ConfigurationError, match="max_pool_share"):
        preview(first_day.installation, texts({"max_pool_share": 7}))
    fresh = Installation(tmp_path / "fresh")
    fresh.warehouse.migrate()
    with pytest.raises(NotFound, match="holds no plan yet"):
        preview(fresh, {})
