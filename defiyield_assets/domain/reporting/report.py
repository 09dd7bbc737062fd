"""The page that the analyst reads in the morning, as one self-contained HTML file and as Markdown.

Lives here: rendering for these two media. Not here: what is said (content.py), Slack (slack.py) or the terminal
(plan_text.py).
"""

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.formats import escape_markdown
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Content, Fact, Section, Table


@dataclass(frozen=True)
class Report:
    """A report in its two forms, equal in content; the columns of `daily_report`."""

    title: str
    markdown: str
    html: str


def build_report(inputs: ReportInputs) -> Report:
    """The report of the day. Vendors' strings are shortened and escaped; the page loads nothing and runs no script."""
    content = build_content(inputs)
    return Report(content.title, render_markdown(content), _template().render(content=content))


@cache
def _template() -> Template:
    loader = PackageLoader("defiyield_assets.domain.reporting", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2")


def render_markdown(content: Content) -> str:
    """The content as CommonMark with GitHub tables; every text escaped."""
    blocks = [f"# {escape_markdown(content.title)}"]
    blocks += [escape_markdown(paragraph) for paragraph in content.paragraphs]
    blocks += _facts(content.facts)
    for section in content.sections:
        blocks += _section(section)
    blocks += ["## About this page", *_facts(content.provenance)]
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"## {escape_markdown(section.title)}"]
    blocks += [escape_markdown(paragraph) for paragraph in section.paragraphs]
    blocks += _facts(section.facts)
    for table in section.tables:
        if table.caption:
            blocks.append(f"**{escape_markdown(table.caption)}**")
        blocks.append(_table(table))
    if section.bullets:
        blocks.append("\n".join(f"- {escape_markdown(bullet)}" for bullet in section.bullets))
    return blocks


def _facts(facts: tuple[Fact, ...]) -> list[str]:
    if not facts:
        return []
    lines = []
    for fact in facts:
        remark = f" ({escape_markdown(fact.remark)})" if fact.remark else ""
        lines.append(f"- {escape_markdown(fact.name)}: **{escape_markdown(fact.value)}**{remark}")
    return ["\n".join(lines)]


def _table(table: Table) -> str:
    heading = _row(tuple(column.name for column in table.columns))
    rule = "|" + "|".join(" ---: " if column.is_number else " --- " for column in table.columns) + "|"
    return "\n".join([heading, rule, *(_row(row) for row in table.rows)])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"
