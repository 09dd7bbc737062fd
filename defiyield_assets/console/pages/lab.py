"""The strategy lab: how strategies rank, and what they did in each family of scenarios.

Lives here: these panels and the stored page of the assessment as a file. Not here: which rows belong together
(lab_tables.py), single scenarios (lab_scenarios.py), one strategy (lab_strategy.py).
"""

from typing import Any

from defiyield_assets.console.layout import Inner, Page, Panel, address
from defiyield_assets.console.pages.lab_tables import NOT_KEPT, AssessmentTables, empty_lab, read_assessment
from defiyield_assets.console.questions import Question
from defiyield_assets.console.serving import Download
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import clean, is_missing, number
from defiyield_assets.domain.reporting.layout import Section, Table, numbers, text
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.domain.strategies.cells import written
from defiyield_assets.domain.strategies.ranking import WEIGHTS
from defiyield_assets.domain.strategies.tear_sheet import EVIDENCE
from defiyield_assets.errors import NotFound
from defiyield_assets.store import reads, schema

RANKING_COLUMNS = (
    *text("Strategy"),
    *numbers("Rank", "Score", *(name.capitalize() for name in WEIGHTS)),
    *numbers("Spread of scores", "Scenarios", "Round trips"),
    *text("Worst scenario"),
    *numbers("Return there"),
    *text("Against a rank"),
)
FAMILIES = "Families of scenarios"
EVIDENCE_COLUMNS = (*text("Strategy"), *numbers(*(label for label, _, _ in EVIDENCE)))


def lab(view: View, question: Question) -> Page:
    """The page."""
    told = read_assessment(view, question)
    if told is None:
        return empty_lab(view, "Strategy lab")
    best = told.ranking.iloc[0]
    scope = scope_words(told.scope)
    is_ranked = not is_missing(best["rank"])
    return Page(
        title="Strategy lab",
        here="lab",
        headline=f"{clean(best['strategy_id'], 60)} ranks first in {scope}" if is_ranked else "No strategy has a rank",
        day=view.day,
        paragraphs=(
            f"Assessment as of {told.as_of}: {number(len(told.ranking))} strategies in {scope}, "
            f"{number(best['n_trials'])} ever tried. Ranks are no advice: the second table says how likely luck is.",
            *(() if told.kept is None else (_every_scenario(told, question),)),
        ),
        panels=(_ranking(told, question), _families(told)),
        downloads=(
            ("The assessment's page as a file", address("lab", "assessment.html", date=view.day, scope=told.scope)),
        ),
        template="lab.html.j2",
        extra={"scopes": [(scope, scope_words(scope)) for scope in told.scopes], "scope": told.scope},
    )


def _every_scenario(told: AssessmentTables, question: Question) -> Inner:
    return Inner("Every scenario", "lab", "scenarios", date=question.day(), scope=told.scope)


def scope_words(scope: str) -> str:
    """A scope as people say it."""
    return "all universes" if scope == "all" else clean(scope, 40).replace("_", " ")


def strategy_link(strategy_id: Any, question: Question, *, is_wrapped: bool = False) -> str:
    """The strategy as a cell that leads to its page; `is_wrapped` where its words may stand below each other."""
    name = clean(strategy_id, 60)
    words = name.replace("_", " ") if is_wrapped else name
    return Inner(words, "lab", "strategies", str(strategy_id), date=question.day())


def _ranking(told: AssessmentTables, question: Question) -> Panel:
    rows = tuple(_ranking_row(row, told, question) for row in records(told.ranking))
    weights = ", ".join(f"{name} {weight:.0%}" for name, weight in WEIGHTS.items())
    words = (
        f"The score is the weighted mean of the percentiles behind it ({weights}), each among the strategies, averaged "
        "inside families of scenarios and then across. 1 is best, 0 is worst."
    )
    evidence = tuple(
        (clean(row["strategy_id"], 60), *(written(row[name], kind) for _, name, kind in EVIDENCE))
        for row in records(told.ranking)
    )
    tables = (
        Table(RANKING_COLUMNS, rows, caption="Ranks", fold="never"),
        Table(EVIDENCE_COLUMNS, evidence, caption="How likely luck is", fold="never"),
    )
    section = Section("ranking", "Ranking", (words,), tables=tables)
    return Panel(section, ("strategy_rankings",), told.as_of)


def _ranking_row(row: dict[str, Any], told: AssessmentTables, question: Question) -> tuple[str, ...]:
    flags = [clean(flag, 40).replace("_", " ") for flag in str(row["eligibility_flags"]).split(",") if flag]
    return (
        strategy_link(row["strategy_id"], question),
        "none" if is_missing(row["rank"]) else number(row["rank"]),
        written(row["score"], "ratio"),
        *(written(row[f"{name}_percentile"], "ratio") for name in WEIGHTS),
        written(row["dispersion"], "ratio"),
        number(row["n_scenarios"]),
        number(row["n_trades"]),
        "" if is_missing(row["worst_scenario"]) else told.name(row["worst_scenario"]),
        written(row["worst_return"], "signed"),
        ", ".join(flags),
    )


def _families(told: AssessmentTables) -> Panel:
    """Median total return of each strategy in each family of the scenarios that it is ranked over."""
    if told.kept is None:
        words = f"{NOT_KEPT} The assessment's page as a file has what each strategy did in each family."
        return Panel(Section("families", FAMILIES, (words,)), ("strategy_rankings",), told.as_of)
    runs = told.kept.ranked[told.scope]
    medians = runs.groupby(["strategy_id", "family"])["total_return"].median().to_dict()
    families = sorted(set(runs["family"]))
    rows = tuple(
        (clean(name, 60), *(_median(medians, (name, family)) for family in families))
        for name in told.ranking["strategy_id"]
    )
    columns = (*text("Strategy"), *numbers(*(clean(family, 40).replace("_", " ") for family in families)))
    words = "Median total return over the scenarios of a family that are ranked, all costs paid."
    section = Section("families", FAMILIES, (words,), tables=(Table(columns, rows, fold="never"),))
    return Panel(section, ("backtest_results", "scenarios"), told.as_of)


def _median(medians: dict[Any, float], key: tuple[Any, Any]) -> str:
    """Empty where the strategy takes no part in the family."""
    return written(medians[key], "signed") if key in medians else ""


def assessment_file(view: View, question: Question) -> Download:
    """The page that the assessment stored, as a file to keep: it is never shown inside the console."""
    told = read_assessment(view, question)
    where = None if told is None else {"as_of": told.as_of, "scope": told.scope}
    stored = reads.read_all(view.connection, schema.assessment_report, where) if where else None
    if told is None or stored is None or stored.empty:
        raise NotFound(f"there is no report of an assessment up to {view.day}")
    return Download(f"assessment-{told.as_of}-{told.scope}.html", "text/html", str(stored.iloc[0]["page_html"]))
