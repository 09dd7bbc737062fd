"""The report as Markdown.

Lives here: CommonMark with GitHub tables; every text escaped. Not here: what is said (content.py), the page (page.py),
how Markdown is escaped (formats.py).
"""

from defiyield_assets.domain.reporting.charts import figures_table
from defiyield_assets.domain.reporting.formats import escape_markdown
from defiyield_assets.domain.reporting.layout import Chart, Content, Fact, Link, Section, Table


def render_markdown(content: Content) -> str:
    """The content as CommonMark with GitHub tables; every text escaped. Of a chart its summary and its figures."""
    blocks = [f"# {escape_markdown(content.title)}"]
    blocks += [_told(paragraph) for paragraph in content.paragraphs]
    blocks += _facts(content.facts)
    for section in content.all_sections():
        blocks += _section(section)
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"## {escape_markdown(section.title)}"]
    blocks += [_told(paragraph) for paragraph in section.paragraphs]
    blocks += _facts(section.facts)
    for chart in section.charts:
        blocks += _chart(chart)
    for table in section.tables:
        blocks += _captioned(table)
    if section.bullets:
        blocks.append("\n".join(f"- {_told(bullet)}" for bullet in section.bullets))
    return blocks


def _chart(chart: Chart) -> list[str]:
    told = [f"**{escape_markdown(chart.title)}**", _told(chart.summary)]
    return told if chart.is_tabled else [*told, *_captioned(figures_table(chart))]


def _captioned(table: Table) -> list[str]:
    caption = [f"**{escape_markdown(table.caption)}**"] if table.caption else []
    return [*caption, _table(table)]


def _facts(facts: tuple[Fact, ...]) -> list[str]:
    if not facts:
        return []
    lines = []
    for fact in facts:
        remark = f" ({_told(fact.remark)})" if fact.remark else ""
        lines.append(f"- {escape_markdown(fact.name)}: **{_told(fact.value)}**{remark}")
    return ["\n".join(lines)]


def _table(table: Table) -> str:
    heading = _row(tuple(column.name for column in table.columns))
    rule = "|" + "|".join(" ---: " if column.is_number else " --- " for column in table.columns) + "|"
    return "\n".join([heading, rule, *(_row(row) for row in table.rows)])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_told(cell) for cell in cells) + " |"


def _told(words: str) -> str:
    """Escaped words, with their address where they have one."""
    escaped = escape_markdown(words)
    return f"[{escaped}](<{words.url}>)" if isinstance(words, Link) and words.url else escaped
