"""The runner of the fuzzer: every target in a process of its own, for the same time each; 1 when one breaks.

Lives here: options, and telling what broke. Not here: targets (answers.py, files.py, texts.py), one process
(worker.py). An input that broke something is printed and left in --found; minimised, it belongs into found/NAME/.
"""

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from defiyield_assets_tests.fuzzing.worker import Outcome, fuzz, load_targets


def main(words: list[str]) -> int:
    """Fuzz; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m defiyield_assets_tests.fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=int, default=1, help="of fuzzing for each target; default: 1")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--processes", type=int, default=2, help="side by side; default: 2")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer; default: 1")
    parser.add_argument("--found", type=Path, help="folder for inputs that break something; default: a new one")
    parser.add_argument("--list", action="store_true", help="name the targets")
    chosen = parser.parse_args(words)
    targets = load_targets()
    unknown = sorted(set(chosen.target or []) - set(targets))
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(targets)}")
    if chosen.list:
        sys.stdout.write("\n".join(targets) + "\n")
        return 0
    found = chosen.found or Path(tempfile.mkdtemp(prefix="found-"))
    found.mkdir(parents=True, exist_ok=True)
    names = chosen.target or list(targets)
    with ThreadPoolExecutor(chosen.processes) as pool:
        outcomes = list(pool.map(lambda name: told(fuzz(targets[name], chosen.seconds, found, chosen.seed)), names))
    broken = [outcome.name for outcome in outcomes if outcome.words]
    sys.stdout.write(f"{len(outcomes)} targets, {sum(one.tried for one in outcomes):,} inputs; ")
    sys.stdout.write(f"broken: {', '.join(broken)}; inputs in {found}\n" if broken else "nothing broke\n")
    return 1 if broken else 0


def told(outcome: Outcome) -> Outcome:
    """The outcome, told as soon as it is there."""
    state = "BROKEN" if outcome.words else "ok"
    sys.stdout.write(f"{outcome.name:<28} {outcome.tried:>9,} inputs  {state}\n")
    if outcome.words:
        sys.stdout.write(f"{outcome.words}\ninput: {(outcome.broken_by or b'')[:2_000]!r}\n")
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
