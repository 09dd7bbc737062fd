"""The console in a real browser: every page at three widths, with and without scripts, and the analyst's journeys."""

import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn

from defiyield_assets.cli.console import build_desk
from defiyield_assets.console.app import build_app
from defiyield_assets.console.desk import Desk
from defiyield_assets.console.freshness import ASKED_EVERY
from defiyield_assets.domain.days import end_of
from defiyield_assets.settings import load_settings
from defiyield_assets.store import console_audit, schema
from defiyield_assets_tests.browser import chromium
from defiyield_assets_tests.console.desks import NOW, desk_over
from defiyield_assets_tests.installations import Loop, day_after

pytestmark = pytest.mark.slow
WIDTHS = (390, 768, 1400)
PATIENCE = 60.0
PAGES = {
    "overview": "/",
    "plan": "/plan",
    "pools": "/pools",
    "a pool": "/pools/{pool}",
    "figures": "/pools/{pool}?figures=history-chart-1",
    "forecasts": "/forecasts",
    "runs": "/runs",
    "a run": "/runs/{run}",
    "ledger": "/ledger",
    "postings": "/ledger/postings",
    "icebox": "/icebox",
    "lab": "/lab",
    "scenarios": "/lab/scenarios",
    "settings": "/settings",
    "audit log": "/settings/audit",
    "an error": "/pools/nothing-of-this-name",
}
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def address(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A console over five days, on a port of its own."""
    folder = tmp_path_factory.mktemp("console")
    installation = closed_loop.installation.copy_to(folder / "state")
    for name in ("Ada", "x" * 300, "<b>Eve</b> " * 30):
        told = console_audit.Deed(name, name, console_audit.WRITE, name, "done", console_audit.recorded(2))
        console_audit.record_deed(installation.engine, told, NOW)
    yield from serving(desk_over(installation.engine, folder))


def serving(desk: Desk) -> Generator[str, None, None]:
    """The address of a console that answers until the generator is closed."""
    server = uvicorn.Server(uvicorn.Config(build_app(desk), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while not server.started:
        assert time.monotonic() < deadline
        assert thread.is_alive()
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def names(closed_loop: Loop) -> dict[str, str]:
    """A pool that the newest plan holds, and the run that made it."""
    with closed_loop.installation.engine.connect() as connection:
        newest = sa.select(sa.func.max(schema.allocation_runs.c.date)).scalar_subquery()
        run = connection.execute(
            sa.select(schema.allocation_runs.c.run_id).where(schema.allocation_runs.c.date == newest)
        ).scalar_one()
        held = connection.execute(
            sa.select(schema.allocations.c.pool_id)
            .where(schema.allocations.c.run_id == run, schema.allocations.c.share_of_aum > 0.05)
            .where(schema.allocations.c.pool_id != "IDLE")
        ).scalars()
        return {"run": run, "pool": sorted(held)[0]}


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    """A real browser."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(address: str, chrome: Any) -> Open:
    """`opened(path, width, ...)`: a page in the browser, with what it asked for and complained of."""

    def page(path: str, width: int = 1400, scheme: str = "light", *, has_script: bool = True) -> Any:
        context = chrome.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=has_script
        )
        tab = context.new_page()
        tab.asked, tab.told = [], []
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.on("console", lambda message: tab.told.append(message.text))
        tab.on("pageerror", lambda error: tab.told.append(str(error)))
        tab.goto(address + path)
        return tab

    return page


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_asks_nobody_else_and_is_accessible(
    opened: Open, address: str, names: dict[str, str], name: str, width: int, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    scheme = "dark" if width == WIDTHS[1] else "light"
    page = opened(PAGES[name].format(**names), width, scheme)
    page.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)
    assert all(url.startswith(f"{address}/") for url in page.asked)
    assert [words for words in page.told if "404" not in words or name != "an error"] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    broken = axe.run(page).response["violations"]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]][:5]) for rule in broken] == []
    page.context.close()


@pytest.mark.parametrize("name", [name for name in PAGES if name != "an error"])
def test_every_page_says_the_same_without_scripts(opened: Open, names: dict[str, str], name: str) -> None:
    path = PAGES[name].format(**names)
    said = []
    for has_script in (True, False):
        page = opened(path, has_script=has_script)
        said.append(page.inner_text("main"))
        page.context.close()
    assert len(said[0]) > 60
    assert said[0] == said[1]


def test_every_panel_says_its_day_and_leads_to_its_assets(opened: Open, names: dict[str, str]) -> None:
    page = opened(PAGES["a pool"].format(**names))
    sources = page.locator("section p.source").all()
    assert len(sources) >= 3
    for source in sources:
        assert re.search(r"As of \d{4}-\d{2}-\d{2} UTC, from|From ", source.inner_text())
        for link in source.locator("a").all():
            assert "/assets/" in link.get_attribute("href")
    page.context.close()


def test_the_plan_leads_to_the_explanation_of_a_pool(opened: Open, names: dict[str, str]) -> None:
    page = opened("/")
    page.get_by_role("link", name="The plan with all its reasons").click()
    assert page.url.split("?")[0].endswith("/plan")
    page.get_by_label("Explain any pool").fill(names["pool"])
    page.get_by_role("button", name="Find it").click()
    rows = page.locator("main table tbody tr")
    assert rows.count() == 1
    rows.first.locator("a").first.click()
    assert names["pool"] in page.url
    assert "Verdicts" in page.inner_text("main")
    page.context.close()


def test_pools_are_found_filtered_sorted_and_paged_by_keyboard(opened: Open) -> None:
    page = opened("/pools")
    everything = page.inner_text("main")
    page.get_by_role("searchbox").first.fill("usdc")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    found = page.locator("main table tbody tr")
    assert found.count() > 0
    assert all("usdc" in row.inner_text().lower() for row in found.all())
    assert page.inner_text("main") != everything
    heading = page.locator("main table thead a").nth(1)
    heading.focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "q=usdc" in page.url
    assert page.locator("main table thead th[aria-sort]").count() == 1
    page.context.close()


def test_a_chart_tells_its_figures_to_the_pointer_and_to_arrow_keys(opened: Open) -> None:
    page = opened("/")
    figure = page.locator("#nav figure").first
    plot = figure.locator("svg.plot")
    plot.focus()
    page.keyboard.press("End")
    told = figure.locator(".tip")
    assert told.is_visible()
    newest = told.inner_text()
    page.keyboard.press("ArrowLeft")
    assert told.inner_text() != newest
    page.keyboard.press("Escape")
    assert not told.is_visible()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert told.inner_text() == newest
    page.context.close()


def test_figures_of_a_long_chart_are_asked_for_once_by_who_wants_them(opened: Open, names: dict[str, str]) -> None:
    page = opened(f"/pools/{names['pool']}")
    figure = page.locator("#history figure").first
    link = figure.locator("xpath=..").locator(".figures a")
    asked = [url for url in page.asked if "figures=" in url]
    assert asked == []
    plot, told = figure.locator("svg.plot"), figure.locator(".tip")
    plot.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")  # whether the figures are there yet or not
    told.wait_for(state="visible")
    before = told.inner_text()
    page.keyboard.press("End")
    newest = told.inner_text()
    assert before != newest
    assert len([url for url in page.asked if "figures=" in url]) == 1
    with page.expect_navigation():
        link.click()
    day, apy, *_ = page.locator("main table tbody tr").last.locator("th, td").all_inner_texts()
    assert newest.split("\n")[0] == day
    assert apy in newest
    assert page.told == []
    page.context.close()


LATER = "fetch('/healthz').then(answer => answer.text())"
"""Until an answer that was asked for now is there, and so what came of those before it."""


def test_figures_that_did_not_come_are_asked_for_again_after_a_while(opened: Open, names: dict[str, str]) -> None:
    page = opened(f"/pools/{names['pool']}")
    page.clock.install()
    page.reload()
    figure = page.locator("#history figure").first
    plot, told = figure.locator("svg.plot"), figure.locator(".tip")
    page.route("**/*figures=*", lambda route: route.fulfill(status=503, body="Try again."))
    plot.focus()
    with page.expect_response("**/*figures=*"):
        page.keyboard.press("End")
    page.evaluate(LATER)
    page.unroute("**/*figures=*")
    page.keyboard.press("End")
    page.evaluate(LATER)
    assert len([url for url in page.asked if "figures=" in url]) == 1, "not at once"
    assert not told.is_visible()
    page.clock.fast_forward(10_000)
    page.keyboard.press("End")
    told.wait_for(state="visible")
    assert len([url for url in page.asked if "figures=" in url]) == 2
    assert all("503" in words for words in page.told)
    page.context.close()


def test_the_first_tab_skips_the_navigation(opened: Open) -> None:
    page = opened("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.context.close()


def test_a_limit_is_changed_and_seen_in_the_next_materialisation(
    closed_loop: Loop, chrome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The analyst's whole way: a parameter, the preview, author and reason, the version, the next day's plan."""
    installation = closed_loop.installation.copy_to(tmp_path / "state")
    monkeypatch.setenv("DEFIYIELD_STATE_DIR", str(installation.folder))
    day = day_after(closed_loop.days[-1])
    desk = replace(build_desk(load_settings(), "secret of a test"), now=lambda: end_of(day))
    server = serving(desk)
    address = next(server)
    page = chrome.new_page()
    page.goto(f"{address}/settings")
    page.get_by_role("link", name="max_pool_share", exact=True).click()
    page.get_by_label("New value").fill("much")
    page.get_by_role("button", name="Preview").click()
    assert "max_pool_share" in page.get_by_role("alert").inner_text()
    page.get_by_label("New value").fill("0.2")
    page.get_by_role("button", name="Preview").click()
    assert re.search(r"This change would .*projected APY", page.inner_text("main"))
    page.get_by_label("Author").fill("Ada <b>")
    page.get_by_label("Reason").fill("no pool may sink us")
    page.get_by_role("button", name="Write it as a new version").click()
    assert "no pool may sink us" in page.inner_text("main")
    assert "max_pool_share" in page.inner_text("main")
    assert "Ada <b>" in page.inner_text("main")
    page.goto(f"{address}/settings")
    page.get_by_role("link", name="Audit log").click()
    assert re.search(r"Ada <b>.*write a version: max_pool_share.*done", page.inner_text("main"), re.DOTALL)

    with ThreadPoolExecutor(1) as thread:  # the browser's own loop runs in this one
        assert thread.submit(installation.run, day).result().success
    plans = installation.rows(schema.allocation_runs, day)
    shares = installation.rows(schema.allocations, day).groupby("pool_id")["share_of_aum"].sum()
    assert shares.drop("IDLE", errors="ignore").max() <= 0.2 + 1e-9
    time.sleep(ASKED_EVERY)
    page.goto(f"{address}/runs/{plans.iloc[0]['run_id']}")
    told = page.inner_text("main")
    assert re.search(r"max_pool_share\s+0\.25\s+0\.2", told), told
    page.close()
    server.close()
