"""Rows of YAML lists as text: what is added or ended, and that nothing else of a file changes, comments included.

Not here: the command that uses it (cli/test_config.py), or what a right configuration is (test_loader.py).
"""

import difflib
from datetime import date

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.config.editing import add_entry, add_row, comment_out_entry, comment_out_row, end_row, one_line
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


def test_comments_are_one_line() -> None:
    assert one_line("a\nkey: [\x00b\u2028c") == "a key: [ b c"
    assert len(one_line("x" * 10_000)) == 300
