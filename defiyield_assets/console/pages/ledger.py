"""The ledger of a day: what is held, whether the books add up, and whether the chain agrees.

Lives here: putting the panels together. Not here: the panels (ledger_books.py, ledger_holdings.py), single postings
(ledger_postings.py).
"""

from defiyield_assets.console.layout import Inner, Page, address
from defiyield_assets.console.pages.day_content import content_of
from defiyield_assets.console.pages.ledger_books import checks_panel, lots_panel, nav_panel, trial_panel
from defiyield_assets.console.pages.ledger_holdings import balances_panel, chain_panel, positions_panel
from defiyield_assets.console.questions import Question
from defiyield_assets.console.views import View
from defiyield_assets.domain.reporting.formats import number


def ledger(view: View, _question: Question) -> Page:
    """The page."""
    day = content_of(view)
    broken = sum(bool(check.violations) for check in day.inputs.checks)
    return Page(
        title="Ledger",
        here="ledger",
        headline=_headline(broken, len(day.inputs.checks)),
        tone="bad" if broken else "good" if day.inputs.checks else "warn",
        day=view.day,
        paragraphs=(
            Inner("Postings of the day, and of every account and transaction", "ledger", "postings", date=view.day),
        ),
        panels=(
            nav_panel(view),
            checks_panel(view, day),
            balances_panel(view, day.names),
            positions_panel(view, day.names),
            chain_panel(view, day.names),
            *day.panels("unexplained"),
            trial_panel(view, day.names),
            lots_panel(view, day.names),
        ),
        downloads=(("Postings of the day as CSV", address("ledger", "postings.csv", date=view.day)),),
    )


def _headline(broken: int, judged: int) -> str:
    if not judged:
        return "The ledger of the day is not complete: no rule was judged"
    if broken:
        return f"{number(broken)} of {number(judged)} rules of the ledger are broken"
    return f"The books add up: all {number(judged)} rules hold"
