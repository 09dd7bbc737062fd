"""What no line of the package does: SQL from text, objects from YAML, code from data, shells, TLS that looks away.

Read from the sources, so that a new line cannot forget the rule. Not here: what the program does when it runs (the
other modules of this folder) or who imports whom (test_architecture.py).
"""

import ast
from functools import cache
from pathlib import Path

import pytest

from defiyield_assets.console.exports import csv_cell

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted([*(ROOT / "defiyield_assets").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")])
RAW_SQL = {"exec_driver_sql", "text", "literal_column", "DDL", "executescript"}
"""Calls whose text reaches the database as it is."""
SQL_FROM_TEXT = {
    ("defiyield_assets/observability/warehouse.py", "size_figures"): "names of two pragmas, constants of the module",
    ("defiyield_assets/store/inserts.py", "_copy"): "names of a table of store/schema, quoted by the dialect",
    ("defiyield_assets/store/inserts.py", "_execute_many"): "what SQLAlchemy compiled; the values are bound",
    ("defiyield_assets/store/inserts.py", "_stage"): "names of a table of store/schema, quoted by the dialect",
    ("defiyield_assets/store/inserts.py", "insert_json"): "what SQLAlchemy compiled; the values are bound",
    ("defiyield_assets/store/backups/tables.py", "_move"): "names that the database lists, quoted by the dialect",
    ("defiyield_assets/store/backups/tables.py", "undo"): "names that the database lists, quoted by the dialect",
    ("migrations/versions/0006_market_data.py", "observe_coin_markets"): "columns, constants of the migration",
    ("migrations/versions/0006_market_data.py", "recall_coin_markets"): "columns, constants of the migration",
    ("migrations/versions/0010_large_tables_on_postgresql.py", "downgrade"): "tables, constants of the migration",
    ("migrations/versions/0010_large_tables_on_postgresql.py", "upgrade"): "tables, constants of the migration",
}
"""(file, function) -> why its SQL may be put together: only from constants and from names of `store/schema`."""
FORBIDDEN_CALLS = {
    "eval": "code from data",
    "exec": "code from data",
    "compile": "code from data",
    "__import__": "code from data",
    "pickle.load": "objects from data",
    "pickle.loads": "objects from data",
    "pd.read_pickle": "objects from data",
    "marshal.loads": "objects from data",
    "shelve.open": "objects from data",
    "joblib.load": "objects from data",
    "os.system": "a shell",
    "os.popen": "a shell",
    "subprocess.getoutput": "a shell",
    "tempfile.mktemp": "a name that somebody else may take first",
    "yaml.load": "objects from YAML",
    "yaml.unsafe_load": "objects from YAML",
    "yaml.full_load": "objects from YAML",
    "yaml.load_all": "objects from YAML",
    "ssl._create_unverified_context": "TLS that looks away",
}
FORBIDDEN_OPTIONS = {
    ("shell", True): "a shell",
    ("verify", False): "TLS that looks away",
    ("follow_redirects", True): "a key that travels to another host",
    ("allow_pickle", True): "objects from data",
    ("trust_env", True): "a proxy that the environment names would see every key",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name; a value that is no name is a question mark."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call with the function that it stands in."""
    found, waiting = [], [("", tree)]
    while waiting:
        function, above = waiting.pop()
        for node in ast.iter_child_nodes(above):
            if isinstance(node, ast.Call):
                found.append((function, node))
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            waiting.append((node.name if is_function else function, node))
    return found


@cache
def calls_of(path: Path) -> list[tuple[str, ast.Call]]:
    return calls(tree_of(path))


def is_assembled(node: ast.expr) -> bool:
    """Whether a text is put together: an f-string with more than constants (NAMES) in it, +, % or `.format`."""
    if isinstance(node, ast.JoinedStr):
        filled = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
        return not all(isinstance(value, ast.Name) and value.id.isupper() for value in filled)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join")


def is_constant(node: ast.expr) -> bool:
    """Whether a text is written in the source: as it is, filled with constants only, or one of two such texts."""
    if isinstance(node, ast.IfExp):
        return is_constant(node.body) and is_constant(node.orelse)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.JoinedStr) and not is_assembled(node))


def is_raw_sql(call: ast.Call, sqlalchemy: set[str]) -> bool:
    """Whether the call hands text to the database; `text` and its like only where they are SQLAlchemy's."""
    name = dotted(call.func)
    last = name.rsplit(".", 1)[-1]
    if last in ("exec_driver_sql", "executescript"):
        return True
    return last in RAW_SQL and (name in sqlalchemy or name.split(".")[0] in ("sa", "op", "sqlalchemy"))


def names_of_sqlalchemy(tree: ast.Module) -> set[str]:
    """Names that a module imports from SQLAlchemy."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname or alias.name
        for node in found
        if (node.module or "").split(".")[0] == "sqlalchemy"
        for alias in node.names
    }


def sql_from_text(path: Path) -> set[tuple[str, str]]:
    """Functions of a file that hand SQL to the database that is no constant and no construct of SQLAlchemy."""
    tree = tree_of(path)
    imported = names_of_sqlalchemy(tree)
    found = set()
    for function, call in calls_of(path):
        if not call.args:
            continue
        is_text = is_raw_sql(call, imported) and not is_constant(call.args[0])
        is_executed = isinstance(call.func, ast.Attribute) and call.func.attr in ("execute", "executemany", "copy")
        if is_text or (is_executed and is_assembled(call.args[0])):
            found.add((relative(path), function))
    return found


def test_sql_is_never_put_together_but_where_it_is_listed_with_a_reason() -> None:
    found = set().union(*(sql_from_text(path) for path in MODULES))
    assert found == set(SQL_FROM_TEXT)


@pytest.mark.parametrize(
    "line",
    [
        'db.execute(f"SELECT {x}")',
        'db.execute("SELECT " + x)',
        'db.execute("SELECT %s" % x)',
        'db.execute("SELECT {}".format(x))',
        "db.exec_driver_sql(x)",
        "db.execute(sa.text(x))",
        "sa.literal_column(x)",
        "op.execute(sa.text(f'{x}'))",
        "cursor.copy(f'COPY {x} FROM STDIN')",
    ],
)
def test_sql_from_text_would_be_seen(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.py"
    path.write_text(f"def f(db, x):\n    {line}\n", encoding="utf-8")
    monkeypatch.setattr("defiyield_assets_tests.security.test_code.ROOT", tmp_path)
    assert sql_from_text(path) == {("m.py", "f")}


def wrong_calls(made: list[tuple[str, ast.Call]]) -> list[str]:
    """What a module does that nothing may do, of its calls."""
    found = []
    for _, call in made:
        name = dotted(call.func)
        for forbidden, why in FORBIDDEN_CALLS.items():
            if name == forbidden or ("." in forbidden and name.endswith("." + forbidden)):
                found.append(f"line {call.lineno}: {name} ({why})")
        for option in call.keywords:
            value = option.value.value if isinstance(option.value, ast.Constant) else None
            why = FORBIDDEN_OPTIONS.get((option.arg or "", value)) if isinstance(value, bool) else None
            if why:
                found.append(f"line {call.lineno}: {option.arg}={value} ({why})")
    return found


def test_no_module_runs_data_opens_a_shell_or_trusts_whom_it_cannot_see() -> None:
    found = {relative(path): wrong_calls(calls_of(path)) for path in MODULES}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    "line",
    [
        *("eval(x)", "exec(x)", "pickle.loads(x)", "os.system(x)", "yaml.load(x, Loader=L)", "yaml.unsafe_load(x)"),
        *("subprocess.run(x, shell=True)", "httpx.get(x, verify=False)", "httpx.Client(follow_redirects=True)"),
        *("np.load(x, allow_pickle=True)", "httpx.AsyncClient(trust_env=True)", "tempfile.mktemp()"),
    ],
)
def test_what_is_forbidden_would_be_seen(line: str) -> None:
    assert wrong_calls(calls(ast.parse(line)))


def test_yaml_is_read_by_the_safe_loader_only() -> None:
    """Besides safe_load only nodes without objects are composed, by the safe loader as well."""
    for path in MODULES:
        for _, call in calls_of(path):
            name = dotted(call.func)
            if name.startswith("yaml.") and name not in ("yaml.safe_load", "yaml.safe_dump", "yaml.dump"):
                loader = next((option.value for option in call.keywords if option.arg == "Loader"), None)
                assert name == "yaml.compose", f"{relative(path)}:{call.lineno}"
                assert loader is not None, f"{relative(path)}:{call.lineno}"
                assert dotted(loader) == "yaml.SafeLoader", f"{relative(path)}:{call.lineno}"


def test_no_module_writes_csv_that_a_spreadsheet_would_run() -> None:
    """One module writes CSV, with an apostrophe before words that begin a formula; every other one has to use it."""
    assert csv_cell("=cmd|' /C calc'!A0") == "'=cmd|' /C calc'!A0"
    written = [
        f"{relative(path)}:{call.lineno}"
        for path in MODULES
        if path.parts[-2:] != ("console", "exports.py")
        for _, call in calls_of(path)
        if dotted(call.func).rsplit(".", 1)[-1] in ("to_csv", "to_excel", "DictWriter")
        or dotted(call.func) == "csv.writer"
    ]
    assert written == []
