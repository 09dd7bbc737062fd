"""The law of the house, read from the sources: who imports whom, what modules are called, what no module contains.

Not here: the shape of the asset graph (test_graph_snapshot.py).
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "defiyield_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEST_MODULES = sorted((ROOT / "defiyield_assets_tests").rglob("*.py"))
NAMELESS = {"utils", "helpers", "common", "misc", "base", "manager", "util", "helper"}
SECRET = re.compile(
    r"""(?ix)
      hooks\.slack\.com/services/T[0-9A-Z]{6,} | xox[abpr]-[0-9A-Za-z-]{10,} | AKIA[0-9A-Z]{16}
    | gh[pousr]_[0-9A-Za-z]{30,}
    | -----BEGIN[ A-Z]*PRIVATE[ ]KEY----- | (api_?key|secret|password|passwd)\s*[:=]\s*["'][0-9A-Za-z_\-]{20,}["']
    """
)
SECRETS_ARE_SEARCHED_IN = (".py", ".yaml", ".yml", ".toml", ".md", ".txt", ".json", ".j2", ".html", ".cfg", ".ini", "")
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:home|root|work|Users)/[\w.-]+")


def relative(path: Path) -> str:
    """How tests and messages call a file."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def tracked_files() -> list[Path]:
    """Files of the repository; without git, all of the package, tests, docs and settings."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        files = [ROOT / name for name in listed.stdout.splitlines()]
        return [path for path in files if path.is_file()]
    return [*MODULES, *TEST_MODULES, *ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md")]


def test_every_import_contract_is_kept() -> None:
    """In a process of its own: the linter's logging settings disable the loggers of whoever calls it."""
    linted = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


def imports_of(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_only_three_rooms_know_dagster() -> None:
    allowed = ("defiyield_assets/orchestration/", "defiyield_assets/cli/", "defiyield_assets/definitions.py")
    knowing = {relative(path) for path in MODULES if any(name.split(".")[0] == "dagster" for name in imports_of(path))}
    assert {path for path in knowing if not path.startswith(allowed)} == set()


def test_nobody_but_the_front_doors_imports_orchestration() -> None:
    allowed = ("defiyield_assets/orchestration/", "defiyield_assets/cli/", "defiyield_assets/definitions.py")
    for path in MODULES:
        if not relative(path).startswith(allowed):
            assert not {name for name in imports_of(path) if name.startswith("defiyield_assets.orchestration")}, path


@pytest.mark.parametrize("path", sorted((PACKAGE / "domain").rglob("*.py")), ids=relative)
def test_the_domain_knows_no_clock_no_environment_and_no_unseeded_chance(path: Path) -> None:
    forbidden_calls = re.compile(
        r"\.now\(|\.utcnow\(|\.today\(|time\.time\(|os\.environ|os\.getenv|default_rng\(\)|np\.random\.(?!Generator|default_rng|SeedSequence)"
    )
    assert not {name for name in imports_of(path) if name.split(".")[0] in ("random", "secrets", "uuid", "requests")}
    assert not forbidden_calls.search(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_opens_with_what_lives_here(path: Path) -> None:
    text = ast.get_docstring(tree_of(path))
    assert text
    assert len(text) > 20


@pytest.mark.parametrize("path", TEST_MODULES, ids=relative)
def test_test_modules_say_what_they_hold_and_skip_nothing(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree) or not path.name.startswith("test_")
    marks = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "mark"
    }
    assert not marks & {"skip", "skipif", "xfail"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_module_is_named_after_nothing(path: Path) -> None:
    parts = {*path.relative_to(PACKAGE).parts[:-1], path.stem}
    assert not parts & NAMELESS


@pytest.mark.parametrize(
    "path",
    [*sorted((PACKAGE / "orchestration").rglob("*.py")), PACKAGE / "definitions.py"],
    ids=relative,
)
def test_modules_with_assets_evaluate_their_annotations(path: Path) -> None:
    assert "__future__" not in imports_of(path), "Dagster cannot load assets whose annotations are strings"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_is_printed_swallowed_or_built_from_input(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "eval", "exec"), f"{relative(path)}:{node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            assert not (isinstance(node.func.value, ast.Name) and node.func.value.id == "yaml"), "YAML by safe_load"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{relative(path)}:{node.lineno}: bare except"
            assert not all(isinstance(line, ast.Pass) for line in node.body), f"{relative(path)}:{node.lineno}"


HEAVY = ("prophet", "statsforecast", "pulp", "highspy", "ortools", "matplotlib")


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_slow_libraries_are_imported_where_they_are_used(path: Path) -> None:
    top = {
        name
        for node in tree_of(path).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert not {name for name in top if name.split(".")[0] in HEAVY}


def test_loading_the_definitions_loads_no_solver_and_no_forecaster() -> None:
    code = f"import sys, defiyield_assets.definitions; print([name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_no_secret_and_no_path_of_a_machine_is_in_the_repository() -> None:
    found = []
    for path in tracked_files():
        if path.suffix not in SECRETS_ARE_SEARCHED_IN or path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{relative(path)}: {match[0]}" for match in SECRET.finditer(text)]
        found += [f"{relative(path)}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_the_search_for_secrets_finds_some() -> None:
    for text in ('api_key = "0123456789abcdef0123"', "xoxb-1234567890-abc", "password: 'hunter2hunter2hunter2'"):
        assert SECRET.search(text), text
    assert MACHINE_PATH.search("see /home/somebody/x")


def test_pins_are_plain() -> None:
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.!+]+", line), line
