"""Sections that explain one pool: its verdicts, its figures, the limits that concern it, the days before.

Lives here: an explanation as words, tables and units. Not here: what it says (domain/selection/explanation.py), how
the terminal draws it (cli/explain.py).
"""

from typing import Any

from defiyield_assets.domain.reporting.explained_sections import limit_words
from defiyield_assets.domain.reporting.formats import about_usd, clean, percent, usd, worth_words
from defiyield_assets.domain.reporting.layout import Fact, Section, Table, numbers, text
from defiyield_assets.domain.selection.explanation import PASSED, REFUSED, Explanation, Limit, PastVerdict

WIDE = 2_000
"""Characters of a reason that are shown: every reason of a verdict, not the first ones."""
LABELS = {
    "size_usd": "size",
    "last_apy": "last APY",
    "age_days": "days since the first known point",
    "is_held": "held",
    "apy_mean_30d": "mean APY of 30 days",
    "apy_std_30d": "its standard deviation",
    "reward_share": "part paid as rewards",
    "pool_group": "risk group",
    "forecast_apy": "forecast APY",
    "forecast_p10": "forecast, p10",
    "forecast_p90": "forecast, p90",
    "model": "forecast by",
    "value_usd": "value in the plan",
    "share_of_aum": "share of all assets",
    "diluted_apy": "APY with our money in it",
    "gain_usd": "gain over the horizon",
    "cost_usd": "costs",
    "marginal_apy": "its next dollar earns",
    "dollar_apy": "a dollar in the plan earns",
    "break_even_days": "days to earn back",
    "binding_limit": "limit that binds",
}
"""Figure of an explanation -> how it is called in print."""
RATES = (
    *("last_apy", "apy_mean_30d", "apy_std_30d", "reward_share", "forecast_apy", "forecast_p10", "forecast_p90"),
    *("share_of_aum", "diluted_apy", "marginal_apy", "dollar_apy"),
)
STAGE_COLUMNS = text("Stage", "Verdict", "Reasons", "Codes")
LIMIT_COLUMNS = (*text("Limit", "Binds"), *numbers("Limit in USD", "Used", "Worth of more"), *text("More would be"))
PAST_COLUMNS = (*text("Day", "Pre-filter", "Final filter", "Plan"), *numbers("Share"), *text("Reasons against"))


def label_words(name: str) -> str:
    """How a figure is called."""
    return LABELS.get(name, name.replace("_", " "))


def figure_words(name: str, value: Any) -> str:
    """A figure with its unit."""
    if name in RATES:
        return percent(value)
    if name == "size_usd":
        return about_usd(value)
    if name.endswith("_usd"):
        return usd(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if name == "action":
        return str(value).replace("_", " ")
    return clean(value, 120)


def passed_words(is_passed: bool | None) -> str:
    """A past verdict in a word, "" where the day has none."""
    return "" if is_passed is None else PASSED if is_passed else REFUSED


def stages_section(told: Explanation) -> Section:
    """Every verdict of the day, the figures it rests on, and what would have to change."""
    stages = tuple(
        (stage.name, stage.verdict.replace("_", " "), clean(stage.words, WIDE), ", ".join(stage.codes))
        for stage in told.stages
    )
    facts = tuple(
        Fact(_capital(label_words(name)), figure_words(name, value))
        for name, value in told.figures.items()
        if value is not None
    )
    table = Table(STAGE_COLUMNS, stages, caption="Every verdict", fold="never")
    return Section("verdicts", "Why it is in or out", (), facts, (table,))


def changes_section(told: Explanation) -> Section | None:
    """What would have to change, and the limits of the plan that concern the pool; None where nothing is to be said."""
    if not told.changes and not told.limits:
        return None
    limits = tuple(_limit_row(told, limit) for limit in told.limits)
    tables = (Table(LIMIT_COLUMNS, limits, caption="Limits of the plan that concern it", fold="never"),)
    changes = tuple(clean(change, WIDE) for change in told.changes)
    words = () if changes else ("Nothing has to: the limits below do not bind.",)
    title = "What would have to change"
    return Section("changes", title, words, bullets=changes, tables=tables if limits else ())


def past_section(told: Explanation) -> Section:
    """The verdicts of the days before, the newest first."""
    rows = tuple(map(_past_row, told.history))
    words = f"The last {len(rows)} days on which a filter or a plan spoke of it, up to {told.day}."
    return Section("before", "Days before", (words,), tables=(Table(PAST_COLUMNS, rows, caption="Verdicts by day"),))


def _limit_row(told: Explanation, limit: Limit) -> tuple[str, ...]:
    is_own = limit.subject == told.pool.pool_id
    name = limit_words(limit.name if is_own else f"{limit.name} {limit.subject}")
    amounts = ("" if one is None else usd(one) for one in (limit.limit_usd, limit.used_usd))
    worth = "" if limit.worth_usd is None else worth_words(limit.worth_usd, limit.worth_by)
    return (name, "yes" if limit.is_binding else "no", *amounts, worth, clean(limit.relaxation))


def _past_row(past: PastVerdict) -> tuple[str, ...]:
    return (
        str(past.day),
        passed_words(past.is_prefiltered),
        passed_words(past.is_eligible),
        (past.action or "").replace("_", " "),
        "" if past.share_of_aum is None else percent(past.share_of_aum),
        ", ".join(past.codes),
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
