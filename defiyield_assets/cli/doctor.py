"""`defiyield doctor`: every check of an installation side by side, each with a time limit, and what to do.

Lives here: running the checks, so that none hangs or takes the others down, and drawing. Not here: the checks
(doctor_checks.py).
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from defiyield_assets.cli import doctor_checks
from defiyield_assets.cli.doctor_checks import Looked
from defiyield_assets.cli.output import write_json
from defiyield_assets.cli.state_checks import BROKEN, DOUBTFUL, GOOD, NOTE, Finding
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.observability.secrets import redactor

TONES = {GOOD: "green", NOTE: "dim", DOUBTFUL: "yellow", BROKEN: "bold red"}
ASKED_OVER_NETWORK = ("database", "dagster", "ollama", "slack", "vendors")
LOCAL_SECONDS = 60.0
"""Longest wait of a check that asks nobody: it only computes, on however busy a machine."""
LONGEST = 1_000
"""Characters of a finding."""
Check = Callable[[Looked], list[Finding]]


def examine(console: Console, timeout: float, *, is_offline: bool, is_json: bool) -> int:
    """Run all checks; 1 when something is broken, 0 otherwise."""

    hide = redactor()
    looked = doctor_checks.look([], timeout, is_offline=is_offline)
    checks: dict[str, Check] = {**doctor_checks.CHECKS, **doctor_checks.vendor_checks(looked)}
    found = [doctor_checks.as_told(finding, hide) for finding in run_checks(checks, looked)]
    is_broken = any(item["state"] == BROKEN for item in found)
    if is_json:
        write_json({"is_healthy": not is_broken, "findings": found})
    else:
        _draw(found, console)
    return 1 if is_broken else 0


def run_checks(checks: dict[str, Check], looked: Looked) -> list[Finding]:
    """What every check found, in their order; one that fails or does not come back is a finding itself.

    A check that does not come back is left behind in a thread that ends with the process.
    """
    answers: dict[str, list[Finding]] = {}

    def run(name: str, check: Check) -> None:
        try:
            answers[name] = check(looked)
        except Exception as error:  # noqa: BLE001 - a check that breaks tells of what it looked at
            what = f"cannot be looked at: {type(error).__name__}: {error}"
            answers[name] = [Finding(_area(name), BROKEN, what, "mend what it says, then run doctor again")]

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    started, found = time.monotonic(), []
    for name, thread in zip(checks, threads, strict=True):
        patience = looked.timeout + 1.0 if _area(name) in ASKED_OVER_NETWORK else LOCAL_SECONDS
        thread.join(max(0.0, started + patience - time.monotonic()))
        words = f"{name} did not answer within {looked.timeout:g} seconds"
        late = Finding(_area(name), BROKEN, words, "look at the host that it needs, or give it longer: --timeout")
        found += answers.get(name, [late])
    return found


def _area(name: str) -> str:
    return "vendors" if name.startswith("vendor") else name


def _draw(found: list[dict[str, Any]], console: Console) -> None:
    for item in found:
        words = Text(f"{item['state']:<9}", style=TONES[item["state"]])
        words.append(f"{item['area']:<14}", style="bold").append(clean(item["what"], LONGEST))
        console.print(words, soft_wrap=True)
        if item["advice"]:
            console.print(Text(f"{'':<23}-> {clean(item['advice'], LONGEST)}", style="cyan"), soft_wrap=True)
    counts = {state: sum(item["state"] == state for item in found) for state in (BROKEN, DOUBTFUL)}
    if counts[BROKEN]:
        console.print(f"[bold red]{counts[BROKEN]} broken[/], {counts[DOUBTFUL]} doubtful")
    else:
        console.print(f"[green]nothing is broken[/], {counts[DOUBTFUL]} doubtful")
