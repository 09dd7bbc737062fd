"""Rows of YAML lists as text: what is added or ended, and that nothing else of a file changes, comments included.

Not here: the command that uses it (cli/test_config.py), or what a right configuration is (test_loader.py).
"""

import difflib
from datetime import date

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.config.editing import (
    add_entry,
    add_row,
    comment_out_entry,
    comment_out_row,
    end_row,
    one_line,
    set_value,
)
from defiyield_assets.config.parameters import parameters
from defiyield_assets.config.reading import SHIPPED
from defiyield_assets.errors import ConfigurationError

DAY = date(2025, 6, 3)
BLOCK = """# head
approved:
  - aave-v3   # the first
  - {slug: curve-dex, added_on: 2024-01-01}
  - slug: maple
    added_on: 2024-02-02  # dated
# tail of the list
aliases:
  old: new  # why
"""


def lines_of(before: str, after: str) -> tuple[list[str], list[str]]:
    """Lines that went and lines that came."""
    told = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [line[2:] for line in told if line[0] == "-"], [line[2:] for line in told if line[0] == "+"]


def test_a_row_is_added_behind_the_last_one_and_nothing_else_changes() -> None:
    changed = add_row(BLOCK, "approved", {"slug": "sky", "added_on": DAY}, "by me: why", "protocols.yaml")
    assert lines_of(BLOCK, changed) == ([], ["  # by me: why", "  - {slug: sky, added_on: 2025-06-03}"])
    assert changed.index("slug: sky") < changed.index("# tail of the list")


@pytest.mark.parametrize("name", ["tokens.yaml", "protocols.yaml", "policy.yaml", "accounts.yaml"])
def test_the_shipped_files_take_rows_everywhere_and_keep_every_line(name: str) -> None:
    text = (SHIPPED / name).read_text(encoding="utf-8")
    lists = [key for key, value in yaml.safe_load(text).items() if isinstance(value, list)]
    assert lists
    for key in lists:
        changed = add_row(text, key, {"pool_id": "x"}, "by me: why", name)
        assert yaml.safe_load(changed)[key][-1] == {"pool_id": "x"}
        gone = lines_of(text, changed)[0]
        assert [line for line in gone if not line.endswith("[]")] == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rows: []  # none\n", "rows:  # none\n  # c\n  - {a: 1}\n"),
        ("rows:\nother: 1\n", "rows:\n  # c\n  - {a: 1}\nother: 1\n"),
        ("", "rows:\n  # c\n  - {a: 1}\n"),
        ("other: 1", "other: 1\nrows:\n  # c\n  - {a: 1}\n"),
        ("rows:\n- b: 2", "rows:\n- b: 2\n# c\n- {a: 1}\n"),
        ("rows: [{b: 2}]\n", "# c\nrows: [{b: 2}, {a: 1}]\n"),
        (
            "rows:\n  - b: |\n      long\n      text\n# end\n",
            "rows:\n  - b: |\n      long\n      text\n  # c\n  - {a: 1}\n# end\n",
        ),
    ],
)
def test_every_way_to_write_a_list_takes_a_row(text: str, wanted: str) -> None:
    assert add_row(text, "rows", {"a": 1}, "c", "f.yaml") == wanted


@pytest.mark.parametrize(
    ("index", "came"),
    [
        (0, "  - {slug: aave-v3, removed_on: 2025-06-03}   # the first"),
        (1, "  - {slug: curve-dex, added_on: 2024-01-01, removed_on: 2025-06-03}"),
        (2, "    removed_on: 2025-06-03"),
    ],
)
def test_a_row_ends_on_its_day_and_stays(index: int, came: str) -> None:
    changed = end_row(BLOCK, "approved", index, field="removed_on", day=DAY, comment="by me: why", file="f")
    assert lines_of(BLOCK, changed)[1] == ["  # by me: why", came]
    assert yaml.safe_load(changed)["approved"][index if index else 0] != yaml.safe_load(BLOCK)["approved"][index]
    assert len(yaml.safe_load(changed)["approved"]) == 3


def test_an_end_that_stands_already_is_replaced() -> None:
    text = "rows:\n  - {a: x, until: 2026-01-01}  # why\n"
    changed = end_row(text, "rows", 0, field="until", day=DAY, comment="c", file="f")
    assert changed == "rows:\n  # c\n  - {a: x, until: 2025-06-03}  # why\n"


def test_entries_and_rows_without_an_end_become_comments() -> None:
    changed = add_entry(BLOCK, "aliases", "a", "b", comment="c", file="protocols.yaml")
    assert lines_of(BLOCK, changed) == ([], ["  # c", "  a: b"])
    gone = comment_out_entry(changed, "aliases", "a", "d", "protocols.yaml")
    assert yaml.safe_load(gone) == yaml.safe_load(BLOCK)
    assert "  # a: b\n" in gone
    last = comment_out_entry(BLOCK, "aliases", "old", "d", "protocols.yaml")
    assert yaml.safe_load(last)["aliases"] == {}
    cut = comment_out_row("rows:\n  - a: 1\n    b: 2\n  - c: 3\n", "rows", 0, "why", "f")
    assert cut == "rows:\n  # why\n  # - a: 1\n  #   b: 2\n  - c: 3\n"
    alone = comment_out_row("rows:\n  # first\n  - a: 1\n", "rows", 0, "why", "f")
    assert alone == "rows: []\n  # first\n  # why\n  # - a: 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b\n",
        "just words",
        "rows: {a: 1}\n",
        "rows: 7\n",
        "{rows: [1], b: 2",
        "a: &x [1]\nrows: *x\n",
        "a: !x 1\n",
    ],
)
def test_what_cannot_be_edited_safely_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"f\.yaml"):
        add_row(text, "rows", {"a": 1}, "c", "f.yaml")


@given(
    st.dictionaries(st.sampled_from(["slug", "a", "b"]), st.text(max_size=30) | st.integers() | st.booleans()),
    st.text(max_size=400),
)
@settings(max_examples=40, deadline=None)
def test_whatever_a_row_or_a_comment_holds_it_comes_back_or_is_refused(row: dict[str, object], comment: str) -> None:
    try:
        changed = add_row(BLOCK, "approved", row, comment, "f")
    except ConfigurationError:
        return
    found = yaml.safe_load(changed)
    assert found["approved"][-1] == row
    assert found["approved"][:-1] == yaml.safe_load(BLOCK)["approved"]
    assert lines_of(BLOCK, changed)[0] == []


# --- values ---------------------------------------------------------------------------------------------------------
P = ("parameters", "a")


@pytest.mark.parametrize(
    ("text", "path", "value", "wanted"),
    [
        ("parameters:\n  a: 1  # one\n  b: 2\n", P, 3, "parameters:\n  # set c\n  a: 3  # one\n  b: 2\n"),
        (
            "parameters:\n  # why\n  # set earlier\n  a: 1\n",
            P,
            0.5,
            "parameters:\n  # why\n  # set c\n  a: 0.5\n",
        ),
        ("parameters:\n  b: 2  # two\n# tail\n", P, 3, "parameters:\n  b: 2  # two\n  # set c\n  a: 3\n# tail\n"),
        ("parameters: {a: 1, b: 2}  # x\n", P, 3, "# set c\nparameters: {a: 3, b: 2}  # x\n"),
        ("parameters: {b: 2}\n", P, 3, "# set c\nparameters: {b: 2, a: 3}\n"),
        ("parameters: {}\nother: 1\n", P, 3, "parameters:\n  # set c\n  a: 3\nother: 1\n"),
        ("parameters:\nother: 1\n", P, 3, "# set c\nparameters: {a: 3}\nother: 1\n"),
        ("other: 1\n", P, 3, "other: 1\n# set c\nparameters: {a: 3}\n"),
        ("", P, 3, "# set c\nparameters: {a: 3}\n"),
        ("parameters:\n  a:\n  b: 2\n", P, 3, "parameters:\n  # set c\n  a: 3\n  b: 2\n"),
        ("parameters:\n  a: [1, 2]  # x\n", P, [3], "parameters:\n  # set c\n  a: [3]  # x\n"),
        (
            "parameters:\n  a:\n    - x\n    - y\n  b: 2\n",
            P,
            ["z"],
            "parameters:\n  # set c\n  a: [z]\n  b: 2\n",
        ),
        ("parameters:\n  a:  # x\n  - x\n", P, ["z"], "parameters:\n  # set c\n  a: [z]  # x\n"),
        (
            "parameters:\n  g:\n    a: 1  # x\n",
            ("parameters", "g", "a"),
            2,
            "parameters:\n  g:\n    # set c\n    a: 2  # x\n",
        ),
        (
            "parameters:\n  b: 1\n",
            ("parameters", "g", "a"),
            2,
            "parameters:\n  b: 1\n  # set c\n  g: {a: 2}\n",
        ),
        ("parameters:\n  a: old\n", P, "no", "parameters:\n  # set c\n  a: 'no'\n"),
    ],
)
def test_one_value_is_set_wherever_it_stands(text: str, path: tuple[str, ...], value: object, wanted: str) -> None:
    assert set_value(text, path, value, "set c", "f.yaml") == wanted


def test_a_value_that_stands_there_already_changes_nothing_and_one_of_another_type_does() -> None:
    text = "parameters:\n  a: 1\n"
    assert set_value(text, P, 1, "set c", "f") == text
    assert set_value(text, P, 1.0, "set c", "f") == "parameters:\n  # set c\n  a: 1.0\n"
    assert set_value(text, P, True, "set c", "f") == "parameters:\n  # set c\n  a: true\n"


@pytest.mark.parametrize("name", [one.name for one in parameters()])
def test_every_parameter_of_the_shipped_file_is_set_alone(name: str) -> None:
    text = (SHIPPED / "policy.yaml").read_text(encoding="utf-8")
    path = ("parameters", *name.split("."))
    changed = set_value(text, path, "other", "set by me: why", "policy.yaml")
    gone, came = lines_of(text, changed)
    assert len(gone) == 1
    assert len(came) == 2
    assert came[0].strip() == "# set by me: why"
    assert came[1].partition("#")[2] == gone[0].partition("#")[2], "what is said of it stays"
    again = set_value(changed, path, "third", "set by you: why not", "policy.yaml")
    assert lines_of(text, again)[1][0].strip() == "# set by you: why not"
    assert "by me" not in again


@pytest.mark.parametrize(
    "text",
    [
        "- a\n",
        "parameters: 7\n",
        "parameters:\n  a: &x 1\n  b: *x\n",
        "parameters:\n  a:\n    - x  # why x\n    - y\n",
        "parameters:\n  a: [1,  # one\n    2]\n",
        "{parameters: {b: 1}, a: 2",
    ],
)
def test_a_value_that_cannot_be_set_alone_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"f\.yaml"):
        set_value(text, P, 5, "set c", "f.yaml")


@given(st.text(max_size=200), st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_whatever_stands_around_a_value_it_is_set_alone_or_refused(around: str, value: object) -> None:
    text = f"{around}\nparameters:\n  a: 1  # {one_line(around)}\n  b: 2\n"
    try:
        changed = set_value(text, P, value, "set c", "f")
    except ConfigurationError:
        return
    wanted = yaml.safe_load(text)
    wanted["parameters"]["a"] = value
    assert yaml.safe_load(changed) == wanted


def test_comments_are_one_line() -> None:
    assert one_line("a\nkey: [\x00b\u2028c") == "a key: [ b c"
    assert len(one_line("x" * 10_000)) == 300
