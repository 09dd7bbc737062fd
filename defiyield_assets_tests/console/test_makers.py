"""Processes that make pages: all of them work, what they raise arrives, dead ones are replaced, they end with their
server.

The functions are a module's, since processes get them by name.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from multiprocessing import popen_fork
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.console.makers import END_SECONDS, PAUSE, START_SECONDS, Makers, NobodyMakes
from defiyield_assets.errors import DefiYieldError, NotFound, NotRecoverable, TransientError, VendorThrottled

PATIENCE = 60.0
MANY = 2_000_000
"""Characters that fill every pipe."""


def build() -> str:
    return "a tool"


def build_nothing() -> str:
    raise ValueError("there is nothing to build with")


def told(tool: str, what: str) -> tuple[str, str, int]:
    """What a process was given, and which one it is; it takes a while, so that others work as well."""
    time.sleep(0.2)
    return tool, what, os.getpid()


def long(_tool: str, many: int) -> str:
    """Something large, after a while."""
    time.sleep(1.5)
    return "x" * many


def build_for_ever() -> None:
    time.sleep(10 * PATIENCE)


def build_or_die(mark: Path) -> str:
    """A tool for who comes first; the others die after a while."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        time.sleep(1.5)
        os.kill(os.getpid(), signal.SIGKILL)
    return "a tool"


def fail(_tool: str, error: Exception) -> None:
    raise error


class TwoWordsError(Exception):
    """An error that cannot be read again."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def fail_with(_tool: str, kind: str) -> None:
    if kind == "of ours":
        raise NotRecoverable("rates", [date(2025, 6, 3)])
    if kind == "may heal":
        raise VendorThrottled("too many", vendor="somebody", status=429)
    raise RuntimeError(TwoWordsError("one", "other"))


def die(_tool: str, before: Path | None) -> str:
    """Die, and where a file is given only as long as it is not there."""
    if before is None or not before.exists():
        if before is not None:
            before.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "made"


@pytest.fixture(scope="module")
def makers() -> Iterator[Makers]:
    made = Makers(2, build)
    made.start()
    yield made
    made.close()


def test_every_process_works_with_a_tool_of_its_own(makers: Makers) -> None:
    with ThreadPoolExecutor(8) as readers:
        answers = list(readers.map(lambda what: makers.run(told, what), "abcdefgh"))
    assert [(tool, what) for tool, what, _ in answers] == [("a tool", what) for what in "abcdefgh"]
    assert len({pid for *_, pid in answers}) == 2
    assert os.getpid() not in {pid for *_, pid in answers}


def test_what_they_raise_is_raised_here(makers: Makers) -> None:
    with pytest.raises(NotFound, match="no such day"):
        makers.run(fail, NotFound("no such day"))


@pytest.mark.parametrize(
    ("kind", "raised", "words"),
    [
        ("of ours", DefiYieldError, "rates of 2025-06-03"),
        ("may heal", TransientError, "too many"),
        ("somebody's", RuntimeError, "RuntimeError: one and other"),
    ],
)
def test_what_cannot_be_sent_is_told_in_words_and_breaks_nothing(
    makers: Makers, kind: str, raised: type[Exception], words: str
) -> None:
    before = pids(makers)
    with pytest.raises(raised, match=words) as told_here:
        makers.run(fail_with, kind)
    assert type(told_here.value) is raised
    assert pids(makers) == before


def test_signals_for_the_server_do_not_end_them(makers: Makers) -> None:
    pid = makers.run(told, "")[2]
    for one in (signal.SIGTERM, signal.SIGINT):
        os.kill(pid, one)
    with ThreadPoolExecutor(8) as readers:
        assert pid in {answer[2] for answer in readers.map(lambda what: makers.run(told, what), "abcdefgh")}


@pytest.mark.parametrize("is_busy", [False, True])
def test_where_one_dies_all_are_replaced_and_their_work_is_done_once_more(*, is_busy: bool) -> None:
    """Nothing of the old ones is left: they end, though they do not listen to the signals of the server's end."""
    made = Makers(2, build)
    made.start()
    first, second = sorted(pids(made))
    with ThreadPoolExecutor(2) as readers:
        answers = [readers.submit(made.run, long, MANY) for _ in range(2 if is_busy else 0)]
        time.sleep(0.5 * is_busy)
        os.kill(first, signal.SIGKILL)
        assert [answer.result() for answer in answers] == ["x" * MANY] * len(answers)
    wait_for(lambda: not is_running(first))
    assert pids(made) & {first, second} == set()
    wait_for(lambda: not is_running(second))
    made.close()


def test_the_work_of_one_that_died_is_done_once_more(makers: Makers, tmp_path: Path) -> None:
    assert makers.run(die, tmp_path / "died") == "made"


def test_work_that_kills_is_given_up_and_keeps_nobody_else_from_theirs(makers: Makers) -> None:
    with pytest.raises(NobodyMakes, match="died twice"):
        makers.run(die, None)
    assert makers.run(told, "a")[:2] == ("a tool", "a")


def test_work_that_kills_fails_nothing_beside_it_however_often_it_is_asked_for(makers: Makers) -> None:
    """Whoever comes first, and though somebody asks for it anew while it is made again."""
    children = set(multiprocessing.active_children())
    with ThreadPoolExecutor(8) as readers:
        before = [readers.submit(makers.run, long, 1)]
        killing = [readers.submit(makers.run, die, None)]
        after = [readers.submit(makers.run, long, many) for many in (2, 3)]
        wait_for(lambda: makers._n_apart > 0)
        killing += [readers.submit(makers.run, die, None)]
        after += [readers.submit(makers.run, long, 4)]
        assert [type(one.exception()) for one in killing] == [NobodyMakes] * 2
        assert [len(one.result()) for one in before + after] == [1, 2, 3, 4]
    wait_for(lambda: len(multiprocessing.active_children()) == len(children))


def test_a_process_whose_end_another_thread_is_taking_note_of_is_dead(
    makers: Makers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one thread is told how a process ended, and until it has written that down the process counts as alive."""
    monkeypatch.setattr(popen_fork.Popen, "poll", lambda *_: None)
    with ThreadPoolExecutor(8) as readers:
        asked = [readers.submit(makers.run, *what) for what in [(long, 1), (die, None), *[(told, "a")] * 6]]
        killed = [one for one in asked if one.exception()]
    assert killed == [asked[1]]


def test_a_server_ends_while_something_is_made_apart() -> None:
    before = set(multiprocessing.active_children())
    made = Makers(2, build)
    made.start()
    with ThreadPoolExecutor(3) as readers:
        asked = [readers.submit(made.run, die, None), *(readers.submit(made.run, long, 1) for _ in range(2))]
        wait_for(lambda: made._n_apart > 0)
        made.close()
        assert {type(one.exception()) for one in asked} <= {NobodyMakes, type(None)}
    wait_for(lambda: set(multiprocessing.active_children()) == before)


def test_a_start_that_takes_too_long_leaves_nobody_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("defiyield_assets.console.makers.START_SECONDS", 1.0)
    before = set(multiprocessing.active_children())
    with pytest.raises(NobodyMakes, match="did not start"):
        Makers(2, build_for_ever).start()
    wait_for(lambda: set(multiprocessing.active_children()) == before)


def test_where_one_dies_at_the_start_nobody_waits_for_it(tmp_path: Path) -> None:
    """Though the other one already did all that was there to do."""
    before, began = set(multiprocessing.active_children()), time.monotonic()
    with pytest.raises(NobodyMakes, match="did not start"):
        Makers(2, partial(build_or_die, tmp_path / "first")).start()
    assert time.monotonic() - began < START_SECONDS / 2
    wait_for(lambda: set(multiprocessing.active_children()) == before)


def test_after_one_died_the_end_waits_for_nothing() -> None:
    """What the dead one takes with it is made no more, and the others, which do not know, would be waited for."""
    made = Makers(2, build)
    made.start()
    os.kill(pids(made).pop(), signal.SIGKILL)
    assert made._pool is not None
    wait_for(lambda: made._pool is not None and made._pool.has_died)
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < END_SECONDS / 2


def test_after_a_failed_replacement_nobody_waits_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Makers(1, build)
    made.start()
    starts = []

    def failing(_self: Makers, _number: int) -> None:
        starts.append(time.monotonic())
        raise NobodyMakes("did not start")

    with monkeypatch.context() as broken, ThreadPoolExecutor(6) as readers:
        broken.setattr(Makers, "_started", failing)
        answers = [readers.submit(made.run, die, tmp_path / "died") for _ in range(6)]
        assert [type(answer.exception()) for answer in answers] == [NobodyMakes] * 6
    assert len(starts) == 1
    monkeypatch.setattr("defiyield_assets.console.makers.monotonic", lambda: time.monotonic() + PAUSE)
    assert made.run(told, "a")[:2] == ("a tool", "a"), "after a pause they are started anew"
    made.close()


def test_processes_that_cannot_start_are_told_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(NobodyMakes, match="did not start"):
        Makers(2, build_nothing).start()
    assert time.monotonic() - began < PATIENCE


def test_none_are_there_before_the_start_and_after_the_end() -> None:
    closed = Makers(1, build)
    with pytest.raises(NobodyMakes, match="not there"):
        closed.run(told, "")
    closed.start()
    pid = closed.run(told, "")[2]
    closed.close()
    assert not is_running(pid)
    with pytest.raises(NobodyMakes, match="not there"):
        closed.run(told, "")


SERVER = """
from defiyield_assets_tests.console.test_makers import build, told, Makers
if __name__ == "__main__":
    makers = Makers(1, build)
    makers.start()
    print(makers.run(told, "")[2], flush=True)
    input()
"""


def test_they_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": root}, **pipes) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        server.kill()
    wait_for(lambda: not is_running(pid))


def test_a_server_of_which_one_died_ends_when_it_is_told_to(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER.replace("Makers(1", "Makers(2").replace("input()", "input(); makers.close()"))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    root = str(Path(__file__).parents[2])
    with subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": root}, **pipes) as server:
        assert server.stdout is not None
        os.kill(int(server.stdout.readline()), signal.SIGKILL)
        time.sleep(0.5)
        server.communicate("\n", timeout=PATIENCE)
    assert server.returncode == 0


def pids(makers: Makers) -> set[int]:
    """Which processes make something now."""
    with ThreadPoolExecutor(4) as readers:
        return {answer[2] for answer in readers.map(lambda what: makers.run(told, what), "abcd")}


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether the process is there and no mere entry of one that ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
