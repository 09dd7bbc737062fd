"""One vendor fails: its branch stops with a reason, the others go on, tables keep what they had, the next run heals.

The vendors here have no substitute. Not here: those that have one (orchestration/test_degradation.py), how a single
request is retried and classified (sources/test_transport.py), crashes of the store (store/).
"""

import json
from datetime import date
from pathlib import Path

import dagster as dg
import httpx
import pytest

from defiyield_assets.cli.main import main
from defiyield_assets.store import schema
from defiyield_assets_tests.faults.endpoints import downstream
from defiyield_assets_tests.installations import (
    FIRST,
    Installation,
    Loop,
    Meddler,
    day_after,
    failed_steps,
    failing,
    instead_of,
    materialised,
    meddle,
)

pytestmark = pytest.mark.slow

NEXT = day_after(FIRST)
VENDORS = {
    "yields.llama.fi": "pools",
    "api.ethplorer.io": "chain_balances",
    "api.etherscan.io": "account_transactions",
    "api.stlouisfed.org": "macro_series",
}
"""Host -> the asset that is lost when it fails."""


def halved_pools(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
    """`/pools` as a well-formed answer that lacks most pools."""
    if request.url.path != "/pools":
        return response
    rows = json.loads(response.read())["data"]
    return instead_of(response, 200, json.dumps({"status": "success", "data": rows[: len(rows) // 3]}).encode())


@pytest.fixture
def after_first(first_day: Loop, tmp_path: Path) -> Installation:
    """A state on which the first day has run."""
    return first_day.installation.copy_to(tmp_path / "state")


FAST = ("yields.llama.fi",)


@pytest.mark.parametrize(
    "host", [host if host in FAST else pytest.param(host, marks=pytest.mark.nightly) for host in VENDORS]
)
def test_a_dead_vendor_stops_its_own_branch_only(
    after_first: Installation, closed_loop: Loop, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = VENDORS[host]
    before = after_first.fingerprints(FIRST)
    meddle(monkeypatch, failing(host, 500, b"down"))
    result = after_first.run(NEXT, raise_on_error=False)
    assert not result.success
    assert failed_steps(result) == {asset}
    lost = downstream(after_first, asset)
    graph = after_first.definitions.resolve_asset_graph()
    everything = {key.to_user_string() for key in graph.materializable_asset_keys if "daily" in graph.get(key).tags}
    assert materialised(result) == everything - lost, "what does not need the vendor goes on"

    outcomes = after_first.rows(schema.asset_outcomes)
    assert outcomes["asset"].tolist() == [asset]
    row = outcomes.iloc[0]
    assert (row["status"], row["error_class"], bool(row["is_recoverable"])) == ("failed", "VendorUnavailable", True)
    assert "500" in row["reason"]
    assert after_first.rows(schema.metadata.tables[asset], NEXT).empty or asset == "macro_series"
    assert after_first.fingerprints(FIRST) == before, "yesterday stands"

    fine = {name for name in after_first.fingerprints(NEXT) if name in everything - lost}
    restated = closed_loop.installation.restated_since(NEXT)
    healthy, found = (place.fingerprints(NEXT, restated) for place in (closed_loop.installation, after_first))
    independent_of_outcomes = fine - {"daily_report", "slack_notification"}
    assert [name for name in independent_of_outcomes if healthy[name] != found[name]] == []

    monkeypatch.undo()
    assert after_first.run(NEXT).success
    healed = after_first.fingerprints(NEXT, restated)
    assert [name for name in healed if healed[name] != healthy[name]] == [], "as if nothing had happened"


USELESS: dict[str, tuple[Meddler, str]] = {
    "empty": (failing("yields.llama.fi", 200, b'{"status":"success","data":[]}', "/pools"), "VendorEmpty"),
    "truncated": (failing("yields.llama.fi", 200, None, "/pools"), "VendorMalformed"),
    "html": (failing("yields.llama.fi", 200, b"<html>maintenance</html>", "/pools"), "VendorMalformed"),
    "no body": (failing("yields.llama.fi", 200, b"", "/pools"), "VendorMalformed"),
    "throttled": (failing("yields.llama.fi", 429, b"slow down", "/pools"), "VendorThrottled"),
    "forbidden": (failing("yields.llama.fi", 403, b"who are you", "/pools"), "VendorAuthError"),
    "two thirds are missing": (halved_pools, "SuspiciousDataError"),
}
IN_CI = ("empty", "truncated", "two thirds are missing")


@pytest.mark.parametrize(
    ("meddler", "error_class"),
    [
        pytest.param(*told, id=name, marks=[] if name in IN_CI else [pytest.mark.nightly])
        for name, told in USELESS.items()
    ],
)
def test_a_useless_pool_list_never_replaces_a_good_one(
    after_first: Installation, meddler: Meddler, error_class: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = after_first.fingerprints(FIRST)
    meddle(monkeypatch, meddler)
    ran = after_first.run(NEXT, ["policy_snapshot", "pools", "token_registry"], raise_on_error=False)
    assert failed_steps(ran) == {"pools"}
    assert materialised(ran) == {"policy_snapshot"}
    assert after_first.rows(schema.asset_outcomes)["error_class"].tolist() == [error_class]
    assert after_first.rows(schema.pools, NEXT).empty
    again = after_first.run(FIRST, ["pools"], raise_on_error=False)
    if not again.success:  # the first day has no day before, by which a third could be told from a whole
        assert after_first.fingerprints(FIRST)["pools"] == before["pools"]


def test_permanent_errors_are_asked_once_and_transient_ones_again(
    after_first: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempts(result: dg.ExecuteInProcessResult) -> int:
        return 1 + sum(event.is_step_up_for_retry for event in result.all_events)

    meddle(monkeypatch, failing("yields.llama.fi", 403, b"who are you", "/pools"))
    assert attempts(after_first.run(NEXT, ["policy_snapshot", "pools"], raise_on_error=False)) == 1
    meddle(monkeypatch, failing("yields.llama.fi", 500, b"down", "/pools"))
    assert attempts(after_first.run(NEXT, ["policy_snapshot", "pools"], raise_on_error=False)) == 3


def test_a_few_lost_charts_degrade_and_many_fail(after_first: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: set[str] = set()

    share = [0.5]

    def no_chart(day: date, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path.startswith("/chart/") and int(request.url.path[-2:], 16) < 256 * share[0]:
            lost.add(request.url.path)
            return instead_of(response, 500, b"down")
        return response

    def forget_charts() -> None:
        fetches = schema.raw_fetches
        with after_first.engine.begin() as connection:
            connection.execute(schema.pool_histories.delete())
            connection.execute(fetches.delete().where(fetches.c.endpoint == "/chart/{pool}"))

    forget_charts()
    meddle(monkeypatch, no_chart)
    result = after_first.run(FIRST, ["pool_histories"], raise_on_error=False)
    assert failed_steps(result) == {"pool_histories"}
    stored = set(after_first.rows(schema.pool_histories)["pool_id"])
    assert not {path.removeprefix("/chart/") for path in lost} & stored, "a pool whose chart failed has no point at all"

    forget_charts()
    lost.clear()
    share[0] = 0.03
    assert after_first.run(FIRST, ["pool_histories"]).success
    outcome = after_first.rows(schema.asset_outcomes).iloc[0]
    assert (outcome["asset"], outcome["status"]) == ("pool_histories", "degraded")
    assert lost
    assert f"{len(lost)} of " in outcome["reason"]


def test_the_command_line_names_what_failed_and_what_was_skipped(
    after_first: Installation,
    monkeypatch: pytest.MonkeyPatch,
    command_line: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    meddle(monkeypatch, failing("yields.llama.fi", 500, b"down", "/pools"))
    folder = str(after_first.folder)
    code = main(["run", "--date", NEXT.isoformat(), "--market", "simulated", "--state-dir", folder])
    said = capsys.readouterr().out
    assert code == 1
    lines = {words[0]: " ".join(words[1:]) for words in map(str.split, said.splitlines()) if words}
    assert lines["pools"].startswith("failed")
    assert "500" in lines["pools"]
    for asset in downstream(after_first, "pools") - {"pools"}:
        assert lines[asset].startswith("skipped"), asset
    assert f"{NEXT}: failed" in said
    assert "gas_fees_hourly" not in {name for name, text in lines.items() if text.startswith(("failed", "skipped"))}
