"""Figures of a long chart at an address of their own: the same figures, the way there and back, what is not there.

Lives here: pages with links instead of tables. Not here: how the script asks for them (test_browser.py), the tables
themselves (domain/reporting/test_charts.py).
"""

import re
from datetime import timedelta
from html import unescape

import pytest
from starlette.testclient import TestClient

from defiyield_assets.domain.reporting import page as reporting
from defiyield_assets_tests.console.lab_states import HOSTILE, require_harmless
from defiyield_assets_tests.installations import FIRST

DAY = FIRST + timedelta(days=2)
PAGE = f"/?date={DAY}"
LINK = re.compile(r'<p class="figures"><a href="([^"]+)">([^<]+)</a></p>')


def figures(html: str, title: str) -> list[list[str]]:
    """The cells of a chart's table."""
    table = html[html.index(f'aria-label="Table: Figures: {title}') :]
    rows = table[table.index("<tbody") : table.index("</tbody>")].split("<tr")[1:]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


@pytest.fixture(scope="module")
def whole(console: TestClient) -> str:
    """The overview with the figures of all charts in it."""
    return console.get(PAGE).text


@pytest.fixture
def short(console: TestClient, whole: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same where figures of more than two points are elsewhere; under another address, since pages are kept."""
    assert not LINK.search(whole)
    monkeypatch.setattr(reporting, "MOST_FIGURES", 2)
    return console.get(f"{PAGE}&other=1").text


def test_the_link_leads_to_what_stood_in_the_page(console: TestClient, whole: str, short: str) -> None:
    links = LINK.findall(short)
    assert links
    for url, words in links:
        title, rows = re.fullmatch(r"Figures: (.+) \((\d+) rows\)", unescape(words)).groups()
        assert f'aria-label="Table: Figures: {title}' not in short
        answer = console.get(unescape(url))
        assert answer.status_code == 200
        assert figures(answer.text, title) == figures(whole, title)
        assert len(figures(whole, title)) == int(rows)
        assert f"date={DAY}" in url, "figures of the same day, whichever is the newest then"


def test_the_figures_lead_back_and_say_their_day_and_assets(console: TestClient, short: str) -> None:
    page = console.get(unescape(LINK.findall(short)[0][0])).text
    back = re.findall(r'<p><a href="([^"]+)"[^>]*>Back to', page)
    assert [unescape(url) for url in back] == [f"/?date={DAY}&other=1"]
    assert f"As of {DAY} UTC, from" in page


def test_of_a_chart_that_is_not_there_nothing_is_told(console: TestClient) -> None:
    answer = console.get(f"{PAGE}&figures=nav-chart-99")
    assert answer.status_code == 404
    assert "has no chart" in answer.text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_of_a_chart_stays_words(console: TestClient, hostile: str) -> None:
    answer = console.get("/", params={"figures": hostile[:200]})
    assert answer.status_code == 404
    require_harmless(answer.text)


def test_other_parameters_of_any_name_go_along(console: TestClient, short: str) -> None:
    url = unescape(LINK.findall(short)[0][0])
    names = ("page", "words", "path", "parts", "anchor", "cls", "self", "back", "chart_id")
    answer = console.get(f"{url}&{'&'.join(f'{name}=1' for name in names)}")
    assert answer.status_code == 200
    (back,) = re.findall(r'<p><a href="([^"]+)"[^>]*>Back to', answer.text)
    assert all(f"{name}=1" in back for name in names)
