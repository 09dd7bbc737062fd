"""The plan as rows of plain text for the terminal.

Lives here: the summary that the command line prints. Not here: colours and table frames (cli) or the full report
(report.py).
"""

from dataclasses import dataclass

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets.domain.reporting.layout import Content, Fact, Table


@dataclass(frozen=True)
class PlanSummary:
    """The plan of a day: headline, facts, and tables that are None where the day has none.

    All strings are single printable lines without control characters, but not escaped for any markup: print them as
    literal text (rich: `Text(cell)` or `rich.markup.escape`).
    """

    title: str
    status: str
    tone: str
    run_id: str
    messages: tuple[str, ...]
    headline: tuple[Fact, ...]
    holdings: Table | None
    steps: Table | None
    steps_message: str
    why: Table | None
    limits_messages: tuple[str, ...]
    limits: Table | None
    left_out_messages: tuple[str, ...]
    left_out_reasons: tuple[Table, ...]
    left_out: Table | None
    failures: Table | None


def build_plan_summary(inputs: ReportInputs) -> PlanSummary:
    """The parts of the day's report that a reader at the terminal wants: the plan, the steps, what was left out."""
    content = build_content(inputs)
    steps, left_out, limits = (content.section(anchor) for anchor in ("steps", "left-out", "limits"))
    left_out_tables = left_out.tables if left_out is not None else ()
    return PlanSummary(
        title=content.title,
        status=content.status,
        tone=content.tone,
        run_id=content.run_id,
        messages=content.paragraphs,
        headline=content.facts,
        holdings=_only_table(content, "plan"),
        steps=_only_table(content, "steps"),
        steps_message=" ".join(steps.paragraphs) if steps is not None else "",
        why=_only_table(content, "why"),
        limits_messages=limits.paragraphs if limits is not None else (),
        limits=_only_table(content, "limits"),
        left_out_messages=left_out.paragraphs if left_out is not None else (),
        left_out_reasons=tuple(table for table in left_out_tables if table.columns[0].name == "Reason"),
        left_out=next((table for table in left_out_tables if table.columns[0].name == "Pool"), None),
        failures=_failures(content),
    )


def _only_table(content: Content, anchor: str) -> Table | None:
    section = content.section(anchor)
    return section.tables[0] if section is not None and section.tables else None


def _failures(content: Content) -> Table | None:
    """Of the health of the data, only what failed or is partial."""
    section = content.section("health")
    tables = () if section is None else section.tables
    return next((table for table in tables if table.columns[0].name == "Asset"), None)
