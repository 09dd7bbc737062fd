"""The strategy lab in the console: ranking, scenarios, one strategy, files.

Lives here: figures against rows written by hand (lab_states.py), empty labs, hostile names, days to come. Not here: how
an assessment is made (orchestration/lab).
"""

from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import sqlalchemy as sa

from defiyield_assets.console.pages.lab_curves import MOST_MARKS, shown_marks
from defiyield_assets.store import schema
from defiyield_assets_tests.console.lab_states import HOSTILE, STRATEGIES, Treasury, assess, require_harmless
from defiyield_assets_tests.installations import Loop


@pytest.fixture(scope="module")
def treasury(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Treasury:
    """With an assessment of the second day; read only."""
    made = Treasury(closed_loop, tmp_path_factory.mktemp("lab"))
    assess(made, made.days[1])
    return made


@pytest.fixture
def own(closed_loop: Loop, tmp_path: Path) -> Treasury:
    """Without an assessment, to be changed."""
    return Treasury(closed_loop, tmp_path)


def test_an_empty_lab_says_how_to_fill_it(own: Treasury) -> None:
    """On every page."""
    for path in ("/lab", "/lab/scenarios", "/lab/strategies/steady"):
        assert "defiyield assess" in own.words(path)
    own.page("/lab/assessment.html", 404)
    own.page("/lab/strategies/steady/sheet.html", 404)


def test_strategies_are_listed_by_rank(treasury: Treasury) -> None:
    """With scores; every one leads to its page."""
    page, words = treasury.page("/lab"), treasury.words("/lab")
    table = words[words.index("Against a rank") :]
    for place, name in enumerate(STRATEGIES):
        assert f"{name} {place + 1} {0.75 - 0.25 * place:.2f}" in table
        assert f'href="/lab/strategies/{quote(name, safe="")}"' in page
    assert table.index("steady 1") < table.index("bold 2")
    assert "steady ranks first" in words


def test_the_matrix_has_a_figure_of_every_run(treasury: Treasury) -> None:
    """Rows and columns have headers, colours repeat the sign."""
    page, words = treasury.page("/lab/scenarios"), treasury.words("/lab/scenarios")
    assert "covid 2020-02-01 to 2020-05-01 89 +12.50% -12.50% -37.50%" in words
    assert page.count('scope="rowgroup"') == 2
    assert page.count('scope="row"') == 2
    assert page.count('scope="col"') == 3 + len(STRATEGIES)
    assert '<td class="number down-3">-37.50%</td>' in page
    assert '<td class="number up-2">+12.50%</td>' in page
    assert "covid 2020-02-01 to 2020-05-01 89 1.50 1.50 1.50" in treasury.words("/lab/scenarios?figure=sharpe")
    treasury.page("/lab/scenarios?figure=run_key", 400)
    treasury.page("/lab/scenarios?scope=nowhere", 400)


def test_a_strategy_shows_the_run_with_a_curve(treasury: Treasury) -> None:
    """Figures, deepest fall, scenarios, regimes; trades paged, newest first."""
    words = treasury.words("/lab/strategies/bold")
    assert "-12.50% over covid" in words
    assert "The deepest fall is -43.75%" in words
    assert "whole full cycle evidence only" in words
    assert "calm all universes 1.25 +50.00% 1" in words
    trades = [treasury.words(f"/lab/strategies/bold?page={number}") for number in (1, 2, 3)]
    for number in range(120):
        assert sum(f"crypto:T{number} long" in page for page in trades) == 1
    assert trades[0].index("crypto:T119 long") < trades[0].index("crypto:T118 long")
    assert "119.25" in trades[0]
    treasury.page("/lab/strategies/bold?page=4", 400)


def test_a_run_without_a_curve_says_so(treasury: Treasury) -> None:
    """And has no tear sheet."""
    assert "is not stored" in treasury.words("/lab/strategies/bold?scenario=s2")
    treasury.page("/lab/strategies/bold/sheet.html?scenario=s2", 404)
    treasury.page("/lab/strategies/bold?scenario=nowhere", 404)


def test_stored_pages_are_files_and_never_shown(treasury: Treasury) -> None:
    """A browser keeps them, and opens none of them inside the console."""
    for path in ("/lab/assessment.html", "/lab/strategies/bold/sheet.html"):
        answer = treasury.browser.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/lab", "/lab/scenarios", "/lab/strategies/bold"):
        require_harmless(treasury.page(path))


def test_a_day_knows_no_later_assessment(treasury: Treasury) -> None:
    """It says that there is one."""
    words = treasury.words(f"/lab?date={treasury.days[0]}")
    assert f"The newest one is as of {treasury.days[1]}, after the day shown" in words


def test_later_assessments_change_no_earlier_page(own: Treasury) -> None:
    """Noise in rows of a later assessment, runs among them."""
    day = own.days[0]
    assess(own, day)
    paths = [f"{path}?date={day}" for path in ("/lab", "/lab/scenarios", "/lab/strategies/bold")]
    before = [own.page(path) for path in paths]
    later = day + timedelta(days=1)
    with own.engine.connect() as connection:
        ranks = connection.execute(sa.select(schema.strategy_rankings)).mappings().all()
        runs = connection.execute(sa.select(schema.backtest_results)).mappings().all()
    own.change(sa.insert(schema.strategy_rankings), [{**row, "as_of": later, "score": 0.01} for row in ranks])
    noise = [{**row, "as_of": later, "run_key": f"later {row['run_key']}", "total_return": 7.0} for row in runs]
    own.change(sa.insert(schema.backtest_results), noise)
    assert [own.page(path) for path in paths] == before


def test_hostile_names_stay_text(own: Treasury) -> None:
    """Of strategies, scenarios, instruments and families of words."""
    assess(own, own.days[0])
    tables = (schema.strategy_rankings, schema.backtest_results, schema.regime_performance, schema.strategies)
    for text in (*HOSTILE[:3], *HOSTILE[4:]):
        own.change(sa.update(schema.scenarios).values(name=text))
        own.change(sa.update(schema.backtest_trades).values(instrument_id=text, exit_reason=text))
        own.change(sa.update(schema.strategies).values(description=text))
        old = own.rows(schema.strategy_rankings).query("rank == 2")["strategy_id"].iloc[0]
        for table in tables:
            own.change(sa.update(table).where(table.c.strategy_id == old).values(strategy_id=text))
        for path in ("/lab", "/lab/scenarios"):
            require_harmless(own.page(path))
        if text.isprintable() and "/" not in text:
            require_harmless(own.page(f"/lab/strategies/{quote(text, safe='')}"))
    own.page("/lab/strategies/%00", 404)
    own.page(f"/lab/strategies/{'x' * 300}", 400)


def test_drawn_marks_keep_the_ends_and_the_deepest_fall() -> None:
    """Of a long curve few marks are drawn, of a short one all."""
    drawdown = np.zeros(10_000)
    drawdown[7_777] = -0.5
    marks = shown_marks(drawdown)
    assert len(marks) <= MOST_MARKS
    assert {0, 7_777, 9_999} <= set(marks)
    assert marks == sorted(marks)
    assert shown_marks(np.zeros(5)) == [0, 1, 2, 3, 4]
