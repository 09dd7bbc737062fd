"""What stands under the headline of a day: what the report says, and what became of its plan once that is known.

Not here: what the report says (domain/reporting/content.py), what became of a plan in words (runs.py, runs_sent.py).
"""

from defiyield_assets.console.pages.day_content import DayContent
from defiyield_assets.console.pages.runs import BECAME, became
from defiyield_assets.console.pages.runs_sent import sent_briefly
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.content import VERDICTS
from defiyield_assets.domain.reporting.plan_sections import records
from defiyield_assets.store import reads, schema

ADVICE_ONLY = "advice_only"
"""Status of a plan of which nobody knows whether it was followed."""


def told_of_plan(view: View, day: DayContent) -> tuple[str, ...]:
    """The paragraphs of the day; a plan that was sent is no longer told to be sent."""
    told, (_, _, to_be_sent) = day.content.paragraphs, VERDICTS["optimal"]
    if not told or told[0] != to_be_sent:
        return told
    own = {"run_id": day.content.run_id}
    known = records(reads.read_all(view.connection, schema.plan_executions, own))
    if not known or known[0]["status"] == ADVICE_ONLY:
        return told
    outcome = became(known[0], sent_briefly(view, known))
    return (f"A plan was found. {BECAME}: {outcome}.", *told[1:])
