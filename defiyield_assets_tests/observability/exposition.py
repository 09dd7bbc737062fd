"""What tests of figures share: samples as a mapping, the text of Prometheus read back, promtool.

Lives here: reading. Not here: tests.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from defiyield_assets.observability.families import Sample
from defiyield_assets_tests.programs import find_program

Values = dict[tuple[str, tuple[str, ...]], float]


def values_of(samples: Iterable[Sample]) -> Values:
    """(family, labels) -> value; each at most once."""
    found: Values = {}
    for sample in samples:
        assert (sample.family, sample.labels) not in found, sample
        found[sample.family, sample.labels] = sample.value
    return found


def read_text(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Name -> labels -> value, of an exposition that prometheus_client can read."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def promtool(*arguments: str, folder: Path | None = None, stdin: str | None = None) -> str:
    """What Prometheus' own tool says; without it the test is skipped, or fails where it is required."""
    program = find_program("promtool", "prometheus")
    done = subprocess.run(
        [program, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
