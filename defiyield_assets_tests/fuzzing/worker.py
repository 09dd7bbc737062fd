"""Fuzzing one target in a process of its own, forked from one that has imported and instrumented everything once.

Not here: choosing targets and telling of them (__main__.py).
"""

import hashlib
import multiprocessing
import os
import re
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import atheris

from defiyield_assets_tests.fuzzing.target import Target

LONGEST_INPUT = 16_384
HANG_SECONDS = 60
MEGABYTES = 6_144
PATIENCE_SECONDS = 60.0
"""Beyond fuzzing time and one hang: then the process is ended."""


@dataclass(frozen=True)
class Outcome:
    """What became of one target: inputs tried, and the words and input of what broke."""

    name: str
    tried: int
    words: str = ""
    broken_by: bytes | None = None


def load_targets() -> dict[str, Target]:
    """All targets by name, the parsers instrumented; nothing of the product may have been imported before."""
    with atheris.instrument_imports(include=["defiyield_assets.", "json.", "email."]):
        from defiyield_assets_tests.fuzzing import answers, files, texts
    return {target.name: target for target in sorted((*answers.many(), *files.many(), *texts.many()), key=_name)}


def _name(target: Target) -> str:
    return target.name


def fuzz(target: Target, seconds: int, found: Path, seed: int) -> Outcome:
    """Fuzz for some seconds, or until something breaks; the input that did it is left in `found`."""
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        corpus, said = Path(folder, "corpus"), Path(folder, "said")
        corpus.mkdir()
        for number, good in enumerate(target.seeds()):
            (corpus / f"seed-{number}").write_bytes(good)
        options = [f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEGABYTES}"]
        artifacts = f"{found.resolve()}/{target.name}-"
        options += [f"-artifact_prefix={artifacts}", f"-max_len={LONGEST_INPUT}", f"-seed={seed}"]
        words = ["fuzzing", str(corpus), *options]
        told = (target, words, said, folder, artifacts)
        process = multiprocessing.get_context("fork").Process(target=_work, args=told)
        process.start()
        process.join(seconds + HANG_SECONDS + PATIENCE_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        output = said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""
    tried = max((int(number) for number in re.findall(r"^#(\d+)\s", output, re.MULTILINE)), default=0)
    if process.exitcode == 0 and tried:
        return Outcome(target.name, tried)
    inputs = sorted(found.glob(f"{target.name}-*"), key=lambda path: path.stat().st_mtime)
    start = max(output.find("=== Uncaught"), 0)
    why = output[start:][-4_000:] or f"ended with {process.exitcode} and said nothing"
    if process.exitcode == -signal.SIGKILL:
        why = f"did not end in time\n{why}"
    return Outcome(target.name, tried, why, inputs[-1].read_bytes() if inputs else None)


def _work(target: Target, words: list[str], said: Path, folder: str, artifacts: str) -> None:
    """The forked process: libFuzzer writes to standard error, and ends the process itself."""
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    tempfile.tempdir = folder  # what the target writes goes with the corpus

    def run(data: bytes) -> None:
        try:
            target.try_one(data)
        except BaseException:
            Path(f"{artifacts}{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            raise

    atheris.Setup(words, run)
    atheris.Fuzz()
