"""What README and docs tell to type: every command is understood, and what CI can run is run.

A command is run on one shared state, the demo day and what earlier commands made of it, or it stands in ONLY_PARSED
with the reason. A new command that fails, or that a parser does not know, fails here.
"""

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from defiyield_assets.cli.main import build_parser, main
from defiyield_assets.settings import Settings, load_settings
from defiyield_assets_tests.docs.pages import ROOT, Command, commands, mentions, named, transcribe, written_pages

if TYPE_CHECKING:
    from defiyield_assets_tests.installations import Loop

MINUTES = "takes minutes: "
ONLY_PARSED = {
    r"defiyield (--help|report open$)": "help ends the process, a page opens in a browser; cli/ tests both",
    r"defiyield console": "a server that runs until Ctrl-C; cli/test_console.py",
    r"defiyield simulator serve": "a server that runs until Ctrl-C; cli/test_serve.py",
    r"defiyield simulator reset": "would undo what the day after rests on; cli/test_main.py, simulator/test_chain.py",
    r"defiyield (restore|plan --state-dir drill)": "end everything else before; cli/test_backup.py",
    r"defiyield desk ": "workflows over days, made of what is run here; cli/test_paper.py",
    r"defiyield paper show --against-backtest": "runs each portfolio's backtest again; cli/test_paper.py",
    r"defiyield assess": f"{MINUTES}cli/test_lab.py",
    r"defiyield migrate --to": "takes away tables that the commands after it read; test_on_postgres.py",
    r"defiyield health": "the wall clock finds the shared state old; cli/test_health.py",
    r"defiyield metrics (show|serve)": "serve runs until Ctrl-C, show wants Dagster's storage; cli/test_metrics.py",
    r"defiyield (scenarios|metrics)": f"{MINUTES}cli/test_lab_runs.py",
    r"defiyield run --from": f"{MINUTES}test_end_to_end.py",
    r"defiyield run --date 2025-06-03$": "the shared state is this day; test_end_to_end.py",
    r"defiyield run --date 2025-06-04 --phases": "parts of the day that is run as a whole",
    r"defiyield rebuild": f"{MINUTES}orchestration/test_rebuild.py",
    r"defiyield backfill": f"{MINUTES}cli/test_backfill.py",
    r"defiyield backtest-policy": f"{MINUTES}cli/test_backtest.py",
    r"defiyield backtest (my_dip|historical_ai_signal|sma_cross)": "years of bars; cli/test_strategy_backtest.py",
    r"defiyield paper run --strategy turtle --from 2025-03-01": "the same over fewer days is run",
    r"defiyield (signals make|news update).* --from 2025-05-\d\d": "the same over fewer days is run",
    r"defiyield (news update|signals (make|show))(?! --from 2025-06)": "without a range; cli/test_news.py",
    r"defiyield signals make .*--model": "needs a host with a model; sources/test_ollama.py",
    r"defiyield run .*--market (live|recorded)": "vendors, or your own folder; test_end_to_end.py",
    r".*(FILE|0x\.\.\.)": "the reader's own file or transaction; cli/",
    r"defiyield config edit lists remove protocol goldfinch": "as `add`, which is run",
    r"defiyield config set (?!.*--dry-run)": "another policy for what is run after it; cli/test_config_versions.py",
    r"defiyield config versions (show|compare|restore)": "of versions that are not written here; the same test",
}
"""Commands that are only parsed, and why."""
OTHERS = {
    r"make [a-z-]+$": "a target of the Makefile",
    r"source \.venv/bin/activate": "the environment that make install makes",
    r"ollama pull ": "another program's",
    r"dagster definitions validate": ".ci/run does it",
    r"dagster asset materialize ": ".ci/run does it",
    r"dagster-webserver |dagster-daemon run": "Dagster's own servers",
    r"deploy/make-secrets.sh$|psql --dbname postgres --file deploy/postgres/roles.sql$": "deploy/test_roles.py",
    r"docker compose --file deploy/compose.yaml |systemctl enable ": "no engine here; deploy/test_files.py",
    r"celery -A defiyield_assets.orchestration.celery_worker worker ": "cluster/test_celery.py starts workers",
    r"dagster instance concurrency set defillama_yields 2$": "cluster/test_vendors_of_workers.py sets it",
    r"kubectl (apply|create|port-forward) |helm (repo|upgrade) ": "no cluster here; cluster/ renders what they take",
    r"mkdir -p /srv/|cp deploy/dagster\.postgres\.yaml /srv/|set -a; \. /srv/": "test_on_postgres.py",
    r"install --mode=600 deploy/postgres\.env /srv/": "test_on_postgres.py",
    r"export [A-Z_]+=": "variables; checked against the settings",
}
"""What is no command of ours."""
ELSEWHERE = {"DAGSTER_HOME", "DEFIYIELD_DAGSTER_PG_HOST", "DEFIYIELD_DAGSTER_PG_USER"} | {
    "DEFIYIELD_DAGSTER_PG_PASSWORD",
    "DEFIYIELD_DAGSTER_PG_DB",
}
"""Variables that Dagster's configuration reads (deploy/dagster.postgres.yaml)."""
ALL = [command for path in written_pages() for command in commands(path)]
OURS = [command for command in ALL if command.words[:1] == ["defiyield"]]


def bare(command: Command) -> str:
    """The command as patterns see it."""
    return shlex.join(command.words).replace("'", "")


def reason(command: Command) -> str | None:
    """Why a command is only parsed."""
    return next((why for pattern, why in ONLY_PARSED.items() if re.match(pattern, bare(command))), None)


TO_RUN = list({command.text: command for command in OURS if reason(command) is None}.values())


@pytest.mark.parametrize("command", OURS, ids=lambda command: f"{command.page}:{command.line}: {command.text}")
def test_the_parser_understands_every_command(command: Command) -> None:
    words = [word.replace("0x...", f"0x{'ab' * 32}") for word in command.words[1:]]
    if words != ["--help"]:
        build_parser().read(words)


def test_the_parser_would_refuse_a_command_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["plann"], ["plan", "--dates", "2025-06-03"], ["plan", "--date", "tomorrow"]):
        with pytest.raises(SystemExit):
            build_parser().read(words)
    assert "did you mean" in capsys.readouterr().err


def test_every_other_command_is_known() -> None:
    strangers = [one for one in ALL if one not in OURS and not any(re.match(each, one.text) for each in OTHERS)]
    assert [(one.page, one.line, one.text) for one in strangers] == []


def test_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = {one.words[1] for one in ALL if one.words[:1] == ["make"]}
    assert told
    assert told <= targets


@pytest.mark.parametrize(
    "command", [one for one in ALL if one.text.startswith("export ")], ids=lambda one: f"{one.page}: {one.text}"
)
def test_exported_variables_are_settings(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    name, value = shlex.split(command.text)[1].split("=", 1)
    if name in ELSEWHERE:
        assert name == "DAGSTER_HOME" or name in (ROOT / "deploy/dagster.postgres.yaml").read_text(encoding="utf-8")
        return
    assert name.removeprefix("DEFIYIELD_").lower() in Settings.model_fields
    monkeypatch.setenv(name, value)
    load_settings()


def test_every_reason_is_still_needed() -> None:
    unused = [pattern for pattern in ONLY_PARSED if not any(re.match(pattern, bare(one)) for one in OURS)]
    assert unused == []


def test_blocks_say_what_they_are() -> None:
    kinds = {
        (named(path), block.line): block.language
        for path in written_pages()
        for block in transcribe.blocks(path.read_text(encoding="utf-8"))
    }
    known = {"console", "text", "yaml", "json", "python", "mermaid", "{toctree}"}
    assert {place: kind for place, kind in kinds.items() if kind not in known} == {}


@pytest.mark.parametrize("path", written_pages(), ids=named)
def test_commands_that_sentences_name_exist(path: Path) -> None:
    """`defiyield ledger lots` in a sentence: its commands exist, and so do its options."""
    for text in mentions(path):
        parser, action = build_parser(), None
        for word in text.replace("[", " ").replace("]", " ").split()[1:]:
            below = next((one for one in parser._actions if one.dest in ("command", "action", "subject")), None)
            if word.startswith("--"):
                assert word.split("=")[0] in parser._option_string_actions, text
                action = word  # no command comes behind an option
            elif below is not None and below.choices and action is None:
                if word in ("COMMAND", "…", "..."):
                    break
                assert word in below.choices, text
                parser = below.choices[word]
            else:
                action = word


@pytest.fixture(scope="module")
def desk(first_day: "Loop", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which all commands are run, on a copy of the demo day; the page's own strategy lies in it."""
    folder = tmp_path_factory.mktemp("docs")
    first_day.installation.copy_to(folder / "state")
    page = (ROOT / "docs/how-to/new-strategy.md").read_text(encoding="utf-8")
    written = next(block.body for block in transcribe.blocks(page) if block.language == "yaml")
    (folder / "my_dip.yaml").write_text(written, encoding="utf-8")
    (folder / "home").mkdir()
    (folder / "home/dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MARKET", "DATABASE_URL", "CONFIG_DIR", "RECORDED_DATA"):
            patch.setenv(f"DEFIYIELD_{name}", "")
        patch.setenv("DEFIYIELD_STATE_DIR", str(folder / "state"))
        patch.setenv("DAGSTER_HOME", str(folder / "home"))
        patch.setenv("COLUMNS", str(transcribe.COLUMNS))
        patch.chdir(folder)
        yield folder


PRINTED: dict[str, str] = {}
"""What the commands of this module printed, for the comparison with the tutorial."""


@pytest.mark.slow
@pytest.mark.parametrize("command", TO_RUN, ids=lambda command: command.text)
def test_a_command_of_the_docs_runs(command: Command, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (desk / "my-config").is_dir() and command.words[1] == "config":
        monkeypatch.setenv("DEFIYIELD_CONFIG_DIR", "my-config")
    told, said = io.StringIO(), io.StringIO()
    with redirect_stdout(told), redirect_stderr(said):
        code = main(command.words[1:])
    PRINTED[command.text] = told.getvalue() + said.getvalue()
    assert code == 0, PRINTED[command.text][-3000:]
    assert PRINTED[command.text].strip(), f"{command.text} says nothing"


TRANSCRIBED = transcribe.transcripts((ROOT / "docs/tutorial.md").read_text(encoding="utf-8"))


def test_the_tutorial_shows_what_its_commands_print() -> None:
    assert len(TRANSCRIBED) >= 6
    assert all(one.printed.strip() for one in TRANSCRIBED), "make docs-transcript writes them"


@pytest.mark.slow
@pytest.mark.parametrize(
    "transcript", [one for one in TRANSCRIBED if one.commands != ("make demo",)], ids=lambda one: one.commands[0]
)
def test_the_transcript_is_what_is_printed(transcript: "transcribe.Transcript", desk: Path) -> None:  # type: ignore[name-defined]
    """Four words of five, in their order; figures, and a pool among pools, may differ: costly models get as long as a
    clock says.
    """
    printed = "".join(PRINTED[command] for command in transcript.commands)
    shown = transcribe.cut(transcribe.shown(printed, desk / "state"), transcript.how)
    now, then = transcribe.normalised(shown), transcribe.normalised(transcript.printed)
    likeness = SequenceMatcher(None, now, then, autojunk=False).ratio()
    assert likeness >= 0.8, f"make docs-transcript writes it anew; now it is\n{shown}"
