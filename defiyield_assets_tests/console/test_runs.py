"""Plans in the console: the list, one run, its files.

Lives here: figures against the tables, files against the tables, hostile texts, days to come. Not here: how plans come
about (domain/allocation).
"""

import csv
import hashlib
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.config.changes import Said, set_parameter
from defiyield_assets.config.versions import texts_in_force
from defiyield_assets.console.exports import csv_cell, csv_text
from defiyield_assets.domain.policy_differences import Difference, policy_differences
from defiyield_assets.domain.reporting.plan_sections import count_approvals, count_steps
from defiyield_assets.store import schema
from defiyield_assets.store.policy_versions import NewVersion, record
from defiyield_assets.store.types import BaseUnits, ExactDecimal
from defiyield_assets_tests.console.lab_states import HOSTILE, Treasury, insert, require_harmless, words_of
from defiyield_assets_tests.installations import Loop

PARTS = {"steps": schema.allocation_steps, "allocations": schema.allocations, "limits": schema.allocation_limits}


@pytest.fixture(scope="module")
def treasury(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Treasury:
    """Read only."""
    return Treasury(closed_loop, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def own(closed_loop: Loop, tmp_path: Path) -> Treasury:
    """To be changed."""
    return Treasury(closed_loop, tmp_path)


def test_all_plans_are_listed_newest_first_with_what_became_of_them(treasury: Treasury) -> None:
    """Every day's plan, its money and its execution, as the tables have them."""
    words = treasury.words("/runs")
    table = words[words.index("What became of it") :]
    places = [table.index(str(day)) for day in treasury.days]
    assert places == sorted(places, reverse=True)
    for run in treasury.rows(schema.allocation_runs).to_dict("records"):
        gain = round(run["gain_usd"] - run["hold_gain_usd"], 2)
        assert f"{'-' if gain < 0 else '+' if gain else ''}${abs(gain):,.2f}" in words
        assert f"${run['aum_usd']:,.2f}" in words
        assert run["policy_hash"][:8] in words
        assert run["input_hash"][:8] in words
    for execution in treasury.rows(schema.plan_executions).to_dict("records"):
        assert f"{execution['status'].replace('_', ' ')}: {execution['message']}" in words


def test_the_list_ends_with_the_chosen_day(treasury: Treasury) -> None:
    """A day knows no later plan."""
    ids = dict(treasury.rows(schema.allocation_runs)[["date", "run_id"]].itertuples(index=False, name=None))
    page = treasury.page(f"/runs?date={treasury.days[1]}")
    assert ids[treasury.days[0]] in page
    assert ids[treasury.days[1]] in page
    assert ids[treasury.days[2]] not in page
    treasury.page(f"/runs/{ids[treasury.days[2]]}?date={treasury.days[1]}", 404)


def test_the_list_is_paged_on_the_server(own: Treasury) -> None:
    """Every plan stands on exactly one page; a page behind the last is refused."""
    (run,) = own.rows(schema.allocation_runs).head(1).to_dict("records")
    older = [own.days[0] - timedelta(days=back) for back in range(1, 121)]
    insert(own, schema.allocation_runs, [{**run, "run_id": f"{day}-old", "date": day} for day in older])
    pages = [own.page(f"/runs?page={number}") for number in (1, 2, 3)]
    for day in older:
        assert sum(f"/runs/{day}-old" in page for page in pages) == 1
    assert f"51 to 100 of {120 + len(own.days)}, page 2 of 3" in pages[1]
    assert "page=1" in pages[1]
    assert "page=3" in pages[1]
    own.page("/runs?page=4", 400)
    own.page("/runs?page=0", 400)


def test_a_run_tells_everything_that_is_stored_of_it(treasury: Treasury) -> None:
    """Every column with its meaning, hashes in full."""
    for run in treasury.rows(schema.allocation_runs).to_dict("records"):
        words = treasury.words(f"/runs/{run['run_id']}")
        for column in schema.allocation_runs.columns:
            value = run[column.name]
            assert column.name in words
            assert " ".join(column.comment.split()) in words
            if value is not None:
                assert (f"{value:f}" if isinstance(value, Decimal) else str(value)) in words
        assert f"/plan?date={run['date']}" in treasury.page(f"/runs/{run['run_id']}")


def test_what_became_of_a_plan_is_told_as_later_than_its_day(treasury: Treasury) -> None:
    """Wherever it stands: it was sent on the day after."""
    for run in treasury.rows(schema.allocation_runs).to_dict("records"):
        words = treasury.words(f"/runs/{run['run_id']}")
        assert "What became of it the day after, as known by now: " in words
    for path in ("/", "/runs"):
        assert "What became of it the day after, as known by now" in treasury.words(f"{path}?date={treasury.days[1]}")


def test_doing_nothing_is_told_on_all_assets(treasury: Treasury) -> None:
    """Idle cash counts, at 0."""
    run = treasury.rows(schema.allocation_runs).iloc[-1]
    words = treasury.words(f"/runs/{run['run_id']}")
    assert f"Doing nothing {run['hold_apy']:.2%} APY on all assets; idle cash counts as 0" in words


def test_a_run_that_is_not_the_plan_of_its_day_says_so(own: Treasury) -> None:
    """It shows no steps, and says where they are."""
    run = own.rows(schema.allocation_runs).iloc[-1].to_dict()
    insert(own, schema.allocation_runs, [{**run, "run_id": f"{run['date']}-0-earlier"}])
    words = own.words(f"/runs/{run['date']}-0-earlier")
    assert f"Steps Another run is the plan of {run['date']}, so the steps of this one are not shown" in words
    assert f"/runs/{run['run_id']}" in own.page(f"/runs/{run['date']}-0-earlier")
    assert "Another run is the plan" not in own.words(f"/runs/{run['run_id']}")


def test_a_run_tells_which_parameters_differ_from_the_run_before(own: Treasury) -> None:
    """A changed parameter before and after, a token that came: both by name."""
    day = own.days[1]
    (text,) = own.rows(schema.policy_snapshot).query("date == @day")["policy_json"]
    policy = json.loads(text)
    policy["parameters"]["max_pool_share"] = 0.123
    policy["parameters"]["gas_units"]["swap"] = 180_001
    policy["blacklist"].append({"symbol": "<script>EVIL", "chain": "Ethereum", "address": None})
    changed = json.dumps(policy, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(changed.encode()).hexdigest()
    later = [one for one in own.days if one >= day]
    for table, values in (
        (schema.policy_snapshot, {"policy_json": changed, "policy_hash": digest}),
        (schema.allocation_runs, {"policy_hash": digest}),
    ):
        own.change(sa.update(table).where(table.c.date.in_(later)).values(**values))
    ids = dict(own.rows(schema.allocation_runs)[["date", "run_id"]].itertuples(index=False, name=None))
    words = own.words(f"/runs/{ids[day]}")
    assert "max_pool_share 0.25 0.123" in words
    assert "gas_units.swap 180000 180001" in words
    assert "blacklist not listed chain Ethereum, symbol <script>EVIL" in words
    assert f"Compared with the run of {own.days[0]}" in words
    assert "The policy is the same." in own.words(f"/runs/{ids[own.days[2]]}")
    assert "There is no run before it." in own.words(f"/runs/{ids[own.days[0]]}")
    assert "<script>EVIL" not in own.page(f"/runs/{ids[day]}")


def test_a_changed_policy_names_who_changed_it_when_and_why(own: Treasury) -> None:
    """The version that set the value, with hostile words escaped; not one that set another."""
    day, files = own.days[1], texts_in_force(own.folder / "nowhere")
    changed = _with_pool_share(own, day, 0.123)
    said = [("Ada", "less in one pool <script>EVIL", changed), ("Bob", "swaps cost more", "gas_units.swap")]
    versions = [NewVersion("files", "found", "files", "as it was", files)]
    for author, reason, name in said:
        value = 0.123 if name == changed else 190_000
        text = set_parameter(versions[-1].files["policy.yaml"], name, value, Said(author, reason, day))
        after = {**versions[-1].files, "policy.yaml": text}
        versions.append(NewVersion(author, reason, "console", f"{name} set to {value}", after))
    run_id = own.rows(schema.allocation_runs).query("date == @day")["run_id"].iloc[0]
    assert "No version of the policy made this change" in own.words(f"/runs/{run_id}")
    record(own.engine, versions, 0, datetime(2025, 6, 4, 7, 30, tzinfo=UTC))
    own.browser = own.on_market("simulated")
    page = own.page(f"/runs/{run_id}")
    told = words_of(page)
    assert "The policy differs in 1 entry. The version below changed it." in told
    assert "2 2025-06-04 07:30 Ada max_pool_share set to 0.123 less in one pool <script>EVIL" in told
    assert "<script>EVIL" not in page
    assert "Bob" not in told
    assert 'href="/settings/versions/2' in page


def test_two_versions_that_make_the_same_change_are_both_named(own: Treasury) -> None:
    """Nobody is called its author for certain."""
    day, files = own.days[1], texts_in_force(own.folder / "nowhere")
    name = _with_pool_share(own, day, 0.123)
    after = {**files, "policy.yaml": set_parameter(files["policy.yaml"], name, 0.123, Said("x", "y", day))}
    states = [("files", files), ("Ada", after), ("Bob", files), ("Cleo", after)]
    record(
        own.engine,
        [NewVersion(who, f"why {who}", "console", "changed", texts) for who, texts in states],
        0,
        datetime(2025, 6, 4, tzinfo=UTC),
    )
    own.browser = own.on_market("simulated")
    run_id = own.rows(schema.allocation_runs).query("date == @day")["run_id"].iloc[0]
    words = own.words(f"/runs/{run_id}")
    assert "why Ada" in words
    assert "why Cleo" in words
    assert "why Bob" not in words
    assert "the run does not tell which of them it was made with" in words


def _with_pool_share(own: Treasury, day: date, value: float) -> str:
    """Let max_pool_share be another from a day on, as the days stored it; returns its name."""
    rows = own.rows(schema.policy_snapshot)
    policy = json.loads(rows[rows["date"] == own.days[0]]["policy_json"].item())
    policy["parameters"]["max_pool_share"] = value
    changed = json.dumps(policy, sort_keys=True, separators=(",", ":"))
    values = {"policy_hash": hashlib.sha256(changed.encode()).hexdigest()}
    for table, more in ((schema.policy_snapshot, {"policy_json": changed}), (schema.allocation_runs, {})):
        own.change(sa.update(table).where(table.c.date >= day).values(**values, **more))
    return "max_pool_share"


def test_more_transactions_than_steps_are_explained(treasury: Treasury) -> None:
    """Approvals and failed calls, as the chain tells them by the names of the functions that were called."""
    execution = treasury.rows(schema.plan_executions).query("status == 'executed'").iloc[0]
    run = treasury.rows(schema.allocation_runs).query("run_id == @execution.run_id").iloc[0]
    after = run["date"] + timedelta(days=1)
    chain = treasury.rows(schema.account_transactions).query("date == @after").drop_duplicates("tx_hash")
    approvals = chain["function_name"].str.startswith("approve").sum()
    failed = (~chain["is_success"].astype(bool)).sum()
    assert len(chain) == execution["n_transactions"] == run["n_steps"] + approvals + failed > run["n_steps"]
    assert approvals > 1
    assert failed > 1
    words = treasury.words(f"/runs/{run['run_id']}")
    assert (
        f"Of the {len(chain)} transactions {run['n_steps']} are the steps of the plan; {approvals} are approvals, one "
        f"of each token that a CONVERT or DEPOSIT spends; {failed} failed on the chain and were sent again"
    ) in words
    plan = treasury.words(f"/plan?date={run['date']}")
    assert f"the tokens are approved that they spend: {approvals} more transactions" in plan
    before = treasury.words(f"/runs/{run['run_id']}?date={run['date']}")
    assert f"what the other {failed} were is known once {after} is made" in before


def test_a_plan_that_was_sent_is_not_told_to_be_sent_and_its_transactions_are_counted(treasury: Treasury) -> None:
    """Failed ones are told once the day looked at knows them."""
    execution = treasury.rows(schema.plan_executions).query("status == 'executed'").iloc[0]
    day, after = execution["date"], execution["date"] + timedelta(days=1)
    steps = treasury.rows(schema.allocation_steps).query("run_id == @execution.run_id")
    planned = count_steps(steps.to_dict("records")) + count_approvals(steps.to_dict("records"))
    more = execution["n_transactions"] - planned
    assert more > 1
    sent = f"executed: {execution['message']} ({planned} of the plan with its approvals, and {more} more"
    for path in (f"/?date={day}", f"/plan?date={day}"):
        head = treasury.words(path).split(" As of ")[0]
        assert f"A plan was found. What became of it the day after, as known by now: {sent})." in head
        assert "send the steps below" not in head
    for path in (f"/?date={after}", f"/runs?date={after}"):
        assert f"{sent} that failed on the chain and were sent again)" in treasury.words(path)
    assert f"{sent})" in treasury.words(f"/runs?date={day}")


@pytest.mark.parametrize(
    ("n_transactions", "words"),
    [
        (20, "(the plan needs 24 with its approvals)"),
        (24, "(those of the plan with its approvals)"),
        (30, "(24 of the plan with its approvals, and 6 more)"),
    ],
)
def test_a_count_that_failures_do_not_explain_is_only_told(own: Treasury, n_transactions: int, words: str) -> None:
    executions = schema.plan_executions
    run_id = own.rows(executions).query("status == 'executed'").iloc[0]["run_id"]
    of_run = sa.update(executions).where(executions.c.run_id == run_id)
    own.change(of_run.values(n_transactions=n_transactions))
    assert words in own.words("/runs")


def test_a_plan_that_was_only_advised_is_still_to_be_sent(own: Treasury) -> None:
    """Nobody knows what became of it."""
    executions = schema.plan_executions
    row = own.rows(executions).query("status == 'executed'").iloc[0]
    of_run = sa.update(executions).where(executions.c.run_id == row["run_id"])
    own.change(of_run.values(n_transactions=0, status="advice_only", message="nothing was sent"))
    assert "A plan was found: send the steps below in their order." in own.words(f"/plan?date={row['date']}")


def test_transactions_that_nothing_explains_are_said_to_be_so(own: Treasury) -> None:
    """A number that does not fit is never explained away."""
    executions = schema.plan_executions
    run_id = own.rows(executions).query("status == 'executed'").iloc[0]["run_id"]
    own.change(sa.update(executions).where(executions.c.run_id == run_id).values(n_transactions=30))
    assert "the other 6 are not explained: 2 transactions failed then" in own.words(f"/runs/{run_id}")


def test_differences_are_parameters_and_rows_of_lists() -> None:
    """Against differences written by hand; equal policies have none."""
    old = {"parameters": {"a": 1, "gas": {"x": 2}}, "tokens": [{"s": "A"}, {"s": "B"}], "names": {"o": "n"}}
    new = {"parameters": {"a": 1, "gas": {"x": 3}}, "tokens": [{"s": "B"}, {"s": "C"}], "names": {}}
    assert policy_differences(json.dumps(old), json.dumps(new)) == (
        Difference("parameters", "gas.x", 2, 3),
        Difference("names", "", {"old": "o", "new": "n"}, None),
        Difference("tokens", "", {"s": "A"}, None),
        Difference("tokens", "", None, {"s": "C"}),
    )
    assert policy_differences(json.dumps(old), json.dumps(old)) == ()


def test_the_json_file_is_the_tables_to_the_last_digit(treasury: Treasury) -> None:
    """Exact amounts are strings with every digit, nothing is missing, the policy hashes to its hash."""
    for run in treasury.rows(schema.allocation_runs).to_dict("records"):
        answer = treasury.browser.get(f"/runs/{run['run_id']}/plan.json")
        assert answer.headers["content-disposition"].startswith("attachment")
        told = json.loads(answer.text)
        assert answer.text == json.dumps(told, sort_keys=True, separators=(",", ":"))
        assert_same([told["run"]], schema.allocation_runs, treasury, run["run_id"])
        for name, table in PARTS.items():
            assert_same(told[name], table, treasury, run["run_id"])
        policy = json.dumps(told["policy"], sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(json.dumps(policy).encode()).hexdigest() == run["policy_hash"]


def assert_same(told: list[dict[str, object]], table: sa.Table, treasury: Treasury, run_id: str) -> None:
    """Rows of a file are those of the table, value by value."""
    stored = treasury.rows(table).query("run_id == @run_id").to_dict("records")
    keys = [column.name for column in table.primary_key.columns]
    by_key = {tuple(row[name] for name in keys): row for row in told}
    assert len(by_key) == len(told) == len(stored) > 0
    for row in stored:
        found = by_key[tuple(row[name] for name in keys)]
        assert set(found) == {column.name for column in table.columns}
        for column in table.columns:
            value = row[column.name]
            if value is None:
                assert found[column.name] is None
            elif isinstance(column.type, BaseUnits | ExactDecimal):
                assert isinstance(found[column.name], str)
                assert Decimal(found[column.name]) == Decimal(value)
            elif isinstance(column.type, sa.Date):
                assert found[column.name] == value.isoformat()
            else:
                assert found[column.name] == value


def test_the_csv_file_has_steps_and_holdings_to_the_last_digit(treasury: Treasury) -> None:
    """Read back by the csv module."""
    run_id = treasury.rows(schema.allocation_runs)["run_id"].iloc[0]
    answer = treasury.browser.get(f"/runs/{run_id}/plan.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    told = list(csv.DictReader(io.StringIO(answer.text)))
    for table in (schema.allocation_steps, schema.allocations):
        stored = treasury.rows(table).query("run_id == @run_id")
        rows = [row for row in told if row["table"] == table.name]
        assert len(rows) == len(stored)
        for column in table.columns:
            if isinstance(column.type, BaseUnits | ExactDecimal):
                expected = sorted(Decimal(value) for value in stored[column.name] if value is not None)
                assert sorted(Decimal(row[column.name]) for row in rows if row[column.name]) == expected
    steps = [(int(row["seq"]), int(row["leg"])) for row in told if row["table"] == "allocation_steps"]
    assert steps == sorted(steps)


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", HOSTILE[-1]])
def test_words_never_begin_a_formula(start: str) -> None:
    """They get an apostrophe; what can be printed of them stays."""
    (row,) = list(csv.reader(io.StringIO(csv_text(["a"], [{"a": start}]))))[1:]
    assert row[0].startswith("'")
    assert start.strip() in row[0]


def test_numbers_stay_numbers_in_csv() -> None:
    """A negative amount is no formula, and has every digit."""
    assert csv_cell(-(10**40)) == f"-{10**40}"
    assert csv_cell(Decimal("-1E-30")) == "-0.000000000000000000000000000001"
    assert csv_cell(None) == ""


@pytest.mark.parametrize("run_id", ["nope", "%3Dcmd", "%00", "%3Cscript%3E", "x" * 5_000, "..%5C..%5Cetc", "%E2%80%AE"])
def test_no_such_run_is_not_found(treasury: Treasury, run_id: str) -> None:
    """Whatever stands in the address."""
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/plan.csv", f"/runs/{run_id}/plan.json"):
        require_harmless(treasury.page(path, 404))


def test_hostile_texts_stay_text(own: Treasury) -> None:
    """In messages, reasons and the words of a solver."""
    run_id = own.rows(schema.allocation_runs)["run_id"].iloc[0]
    of_run, pools = schema.allocation_runs.c.run_id == run_id, own.rows(schema.allocations)["pool_id"].unique()
    for text, pool_id in zip(HOSTILE, pools, strict=False):
        own.change(sa.update(schema.allocations).where(schema.allocations.c.pool_id == pool_id).values(why=text))
    for text in HOSTILE:
        own.change(sa.update(schema.allocation_runs).where(of_run).values(message=text, solver=text))
        own.change(sa.update(schema.plan_executions).values(message=text))
        require_harmless(own.page("/runs"))
        assert json.loads(own.browser.get(f"/runs/{run_id}/plan.json").text)["run"]["message"] == text
    require_harmless(own.page(f"/runs/{run_id}"))
    told = list(csv.DictReader(io.StringIO(own.browser.get(f"/runs/{run_id}/plan.csv").text)))
    assert f"'{HOSTILE[-1]}" in {row["why"] for row in told}
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for row in told for cell in row.values())


def test_later_days_change_no_earlier_run(own: Treasury) -> None:
    """Noise in every later row leaves the page of a run as it was."""
    day = own.days[0]
    run_id = own.rows(schema.allocation_runs).query("date == @day")["run_id"].iloc[0]
    paths = (f"/runs?date={day}", f"/runs/{run_id}", f"/runs/{run_id}/plan.json", f"/runs/{run_id}/plan.csv")
    before = [own.page(path) for path in paths]
    for table, values in (
        (schema.allocation_runs, {"message": "noise", "policy_hash": "f" * 64, "gain_usd": Decimal(7)}),
        (schema.policy_snapshot, {"policy_json": "{}"}),
        (schema.allocations, {"why": "noise"}),
        (schema.allocation_steps, {"value_usd": Decimal(7)}),
        (schema.daily_bars, {"close": 7.0}),
        (schema.pool_positions, {"value_usd": Decimal(7)}),
    ):
        own.change(sa.update(table).where(table.c.date > day).values(**values))
    assert [own.page(path) for path in paths] == before
