"""What every benchmark prints last: one line of JSON with its key figures and whether the targets were met.

Targets are read from the file that DEFIYIELD_TARGETS names, by default the shared specification beside the clone;
they are
never copied. Without the file nothing is judged. `--check` makes a missed target the exit code.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "spec" / "targets.yaml"


def judge(name: str, figures: Mapping[str, float]) -> bool | None:
    """Whether all figures meet their bounds (`le`, `ge`); None when there is no targets file."""
    path = Path(os.environ.get("DEFIYIELD_TARGETS", DEFAULT))
    if not path.is_file():
        return None
    bounds = yaml.safe_load(path.read_text(encoding="utf-8")).get(name, {})
    met = True
    for figure, bound in bounds.items():
        if figure not in figures:
            continue
        value = figures[figure]
        met &= value <= bound.get("le", float("inf")) and value >= bound.get("ge", float("-inf"))
    return met


def finish(name: str, figures: Mapping[str, float], also: Sequence[str] = ()) -> int:
    """Print the closing JSON line; returns the exit code (1 only with --check and a missed target).

    `also`: other benchmarks whose targets the figures of that name must meet too.
    """
    verdicts = [judge(one, figures) for one in (name, *also)]
    met = None if None in verdicts else all(verdicts)
    print(
        json.dumps({"benchmark": name, **{key: round(value, 4) for key, value in figures.items()}, "targets_met": met})
    )
    return 1 if met is False and "--check" in sys.argv[1:] else 0
