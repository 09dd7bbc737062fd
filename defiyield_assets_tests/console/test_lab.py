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
from defiyield_assets_tests.console.lab_states import (
    HOSTILE,
    STRATEGIES,
    Treasury,
    assess,
    insert,
    rank,
    require_harmless,
    run,
    scenario,
)
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
        assert "The command defiyield assess makes" in own.words(path)
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
    assert "Total return: 1 scenario, 3 strategies" in words
    assert "whole, evidence only 2020-02-01" in words
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


def test_runs_that_are_not_ranked_change_no_page(own: Treasury) -> None:
    """Of an engine before this one, over other bars, and over a scenario that a set of the same day superseded."""
    day = own.days[0]
    assess(own, day)
    paths = ("/lab", "/lab/scenarios", "/lab/strategies/steady")
    before = [own.page(path) for path in paths]
    insert(own, schema.scenarios, [{**scenario("s9", "superseded", "crisis", True, day), "is_current": False}])
    more = [{**run(place, name, "s9", day), "family": "crisis"} for place, name in enumerate(STRATEGIES)]
    for key, changed in (("engine", {"engine_version": "1"}), ("bars", {"paths_hash": "other bars"})):
        more += [{**run(0, "steady", one, day), **changed, "run_key": f"{key} {one}"} for one in ("s1", "s2")]
    insert(own, schema.backtest_results, [{**row, "total_return": -0.9} for row in more])
    assert [own.page(path) for path in paths] == before


def test_a_scope_has_the_scenarios_that_it_is_ranked_over(own: Treasury) -> None:
    """All universes over what all took part in, a universe over its own; a strategy's page lists every run."""
    day = own.days[0]
    assess(own, day)
    insert(own, schema.scenarios, [scenario("s3", "only crypto", "crisis", True, day)])
    alone = [{**run(place, name, "s3", day), "family": "crisis"} for place, name in enumerate(STRATEGIES[:2])]
    insert(own, schema.backtest_results, [{**row, "total_return": 9.0} for row in alone])
    own.change(
        sa.update(schema.backtest_results)
        .where(schema.backtest_results.c.strategy_id == STRATEGIES[2])
        .values(universe="stocks")
    )
    counts = {"scope": "crypto", "n_scenarios": 2, "n_trades": 240}
    insert(
        own,
        schema.strategy_rankings,
        [{**rank(place, name, day), **counts} for place, name in enumerate(STRATEGIES[:2])],
    )
    everywhere, crypto = own.words("/lab"), own.words("/lab?scope=crypto")
    assert "steady +12.50%" in everywhere[everywhere.index("Median total return") :]
    assert "steady +456.25%" in crypto[crypto.index("Median total return") :]
    everywhere, crypto = own.words("/lab/scenarios"), own.words("/lab/scenarios?scope=crypto")
    assert "Total return: 1 scenario, 3 strategies" in everywhere
    assert "only crypto" not in everywhere
    assert "Total return: 2 scenarios, 2 strategies" in crypto
    assert "only crypto 2020-02-01" in crypto
    words = own.words("/lab/strategies/steady")
    assert "only crypto crisis in its universe" in words
    assert "covid crisis yes" in words


@pytest.mark.parametrize("taken", ["a newer set", "the same set half made again", "another set of the day"])
def test_an_assessment_whose_runs_are_gone_says_so_and_keeps_its_ranks(own: Treasury, taken: str) -> None:
    """No figure of other runs stands beside its ranks; its page as a file stays."""
    day, scenarios, runs = own.days[0], schema.scenarios, schema.backtest_results
    assess(own, day)
    if taken == "a newer set":
        later = day + timedelta(days=1)
        own.change(sa.update(scenarios).where(scenarios.c.scenario_id == "s1").values(as_of=later))
        own.change(sa.update(runs).where(runs.c.scenario_id == "s1").values(total_return=7.0))
        own.change(sa.update(scenarios).where(scenarios.c.scenario_id == "s2").values(is_current=False))
        insert(own, schema.strategy_rankings, [rank(place, name, later) for place, name in enumerate(STRATEGIES)])
    elif taken == "the same set half made again":
        own.change(sa.delete(runs).where(runs.c.run_key == "bold/s1"))
    else:
        own.change(sa.update(scenarios).where(scenarios.c.scenario_id == "s1").values(is_current=False))
        insert(own, scenarios, [scenario("s9", "another seed", "crisis", True, day)])
        insert(
            own, runs, [{**run(place, name, "s9", day), "total_return": 7.0} for place, name in enumerate(STRATEGIES)]
        )
    for path in ("/lab", "/lab/scenarios", "/lab/strategies/steady"):
        words = own.words(f"{path}?date={day}")
        assert "no longer kept as it ranked them" in words
        assert "+700.00%" not in words
        assert "Median total return" not in words
    assert "steady 1 0.75" in own.words(f"/lab?date={day}")
    assert "covid" in own.words(f"/lab?date={day}"), "the worst scenario keeps its name"
    assert "all universes 1 0.75" in own.words(f"/lab/strategies/steady?date={day}")
    own.page(f"/lab/assessment.html?date={day}")
    own.page(f"/lab/strategies/steady/sheet.html?date={day}", 404)
    own.page(f"/lab/strategies/nobody?date={day}", 404)


def test_later_ranks_change_no_earlier_page(own: Treasury) -> None:
    """Noise in the ranks of a later assessment."""
    day = own.days[0]
    assess(own, day)
    paths = [f"{path}?date={day}" for path in ("/lab", "/lab/scenarios", "/lab/strategies/bold")]
    before = [own.page(path) for path in paths]
    later = day + timedelta(days=1)
    noise = [{**rank(place, name, later), "score": 0.01} for place, name in enumerate(STRATEGIES)]
    insert(own, schema.strategy_rankings, noise)
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
