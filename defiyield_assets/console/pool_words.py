"""What is told of one pool in the words of its page: limits and metrics by what they mean, not by their names.

Lives here: putting words for names in an explanation. Not here: the explanation (domain/selection/explanation.py), its
sections (domain/reporting/explanation_sections.py), what limits are called (domain/reporting/explained_sections.py).
"""

import re
from dataclasses import replace

from defiyield_assets.domain.reporting.explained_sections import limit_words
from defiyield_assets.domain.selection.explanation import Explanation, Stage

RATED = "risk group"
"""The stage whose reasons name metrics."""
METRICS = {
    "apy_change_1d": "change of APY in a day of {:.2f} percentage points",
    "apy_std_7d": "deviation of 7 days of {:.2f}%",
    "apy_std_30d": "deviation of 30 days of {:.2f}%",
}
"""Metric that a risk group is judged by -> its words around a hundred times its figure."""
METRIC = re.compile(rf"\b({'|'.join(METRICS)}) ([0-9]+\.[0-9]+)")


def in_words(told: Explanation) -> Explanation:
    """The explanation with words where it has names."""
    binding = told.figures.get("binding_limit")
    return replace(
        told,
        stages=tuple(map(_stage, told.stages)),
        figures={**told.figures, "binding_limit": None if binding is None else limit_words(binding)},
        changes=tuple(_change(told, change) for change in told.changes),
    )


def _stage(stage: Stage) -> Stage:
    return replace(stage, words=METRIC.sub(_metric, stage.words)) if stage.name == RATED else stage


def _metric(found: re.Match[str]) -> str:
    """A metric's figure, a fraction in the reason."""
    return METRICS[found[1]].format(float(found[2]) * 100)


def _change(told: Explanation, change: str) -> str:
    """What would have to change; it begins with the name of a limit where one binds."""
    for limit in told.limits:
        is_own = limit.subject == told.pool.pool_id
        named = f"{limit.name} of {'the pool' if is_own else limit.subject} binds: "
        if change.startswith(named):
            words = limit_words(limit.name if is_own else f"{limit.name} {limit.subject}")
            return f"the limit on “{words}” binds: {change.removeprefix(named)}"
    return change
