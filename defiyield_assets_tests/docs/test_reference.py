"""The generated pages: they name everything that the code has, and the same code gives the same bytes."""

import re
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.cli.main import COMMANDS
from defiyield_assets.config import files
from defiyield_assets.domain.market.features.registry import METRICS
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.observability.families import FAMILIES
from defiyield_assets.settings import Settings
from defiyield_assets.store import schema
from defiyield_assets_tests.docs.pages import DOCS, ROOT, program

generate: Any = program("generate")
PAGES: dict[str, str] = generate.pages()


def row_of(page: str, name: str) -> list[str]:
    """Cells of the row of a page that begins with the name."""
    found = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    assert len(found) == 1, f"{name}: {len(found)} rows"
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", found[0])[1:-1]]


def section(page: str, heading: str) -> str:
    """A page from a heading to the next one of its rank or above."""
    rank = heading.index(" ")
    begin = page.index(f"{heading}\n")
    end = re.compile(rf"^#{{1,{rank}}} ", re.MULTILINE).search(page, begin + len(heading))
    return page[begin : end.start() if end else len(page)]


def test_every_page_of_the_table_of_contents_is_made() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert {f"{name}.md" for name in re.findall(r"^reference/([a-z]+)$", index, re.MULTILINE)} == set(PAGES)


def test_every_column_of_every_table_has_its_row() -> None:
    page = PAGES["tables.md"]
    for table in schema.metadata.sorted_tables:
        told = section(page, f"### {table.name}")
        names = re.findall(r"^\| `([^`]+)` \|", told, re.MULTILINE)
        assert names == [column.name for column in table.columns], table.name


def test_a_row_of_a_table_tells_type_unit_key_null_and_limits() -> None:
    told = section(PAGES["tables.md"], "### gas_fees_hourly")
    assert row_of(told, "hour") == ["`hour`", "time", "UTC", "key", "", "Start of the hour", ""]
    assert row_of(told, "mean_gwei")[:5] == ["`mean_gwei`", "number", "gwei", "", "null"]
    assert row_of(told, "mean_gwei")[-1] == "≥ 0"
    assert "`date` is the partition" in told


def test_every_parameter_has_default_and_limits() -> None:
    page = PAGES["parameters.md"]
    for name, value in vars(Parameters()).items():
        if name == "gas_units":
            for unit, gas in vars(value).items():
                assert row_of(page, f"gas_units.{unit}")[1:3] == [f"`{gas}`", "integer; ≥ 21000"]
        else:
            _, default, limits, _ = row_of(page, name)
            assert limits, name
            assert default.strip("`[]").split(", ") == (
                [str(item) for item in value]
                if isinstance(value, tuple)
                else [str(value).lower() if isinstance(value, bool) else str(value)]
            )
    assert row_of(page, "max_pool_share") == ["`max_pool_share`", "`0.25`", "number; ≥ 0, ≤ 1", "in one pool"]


def test_every_figure_of_operation_has_its_row() -> None:
    page = PAGES["operations.md"]
    for family in FAMILIES.values():
        labels = f"`{', '.join(family.labels)}`" if family.labels else ""
        assert row_of(page, family.full_name)[1] == labels


def test_every_setting_has_its_variable_and_its_words() -> None:
    page = PAGES["configuration.md"]
    for name in Settings.model_fields:
        assert row_of(page, f"DEFIYIELD_{name.upper()}")[-1], f"{name} says nothing of itself"
    assert "| `DEFIYIELD_MARKET_SEED` | integer | `7` |" in page
    assert all(f"### {file}\n" in page for file in files.MODELS)


def test_no_page_shows_where_it_was_made_or_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_ETHERSCAN_API_KEY", "a-key-that-nobody-may-see")
    again = generate.pages()
    assert again == PAGES, "the same code gives the same bytes, whatever the environment says"
    assert not any(str(ROOT) in text or str(Path.home()) in text for text in again.values())


def test_every_metric_is_listed() -> None:
    assert all(row_of(PAGES["metrics.md"], metric.name) for metric in METRICS)


def test_every_command_has_its_section_with_all_its_options() -> None:
    page = PAGES["cli.md"]
    for names in COMMANDS.values():
        for name in names:
            assert f"## defiyield {name}\n" in page
    told = section(page, "## defiyield run")
    assert all(f"`--{option}" in told for option in ("date", "from", "to", "phases"))
    assert "exit codes:" in section(page, "## defiyield")


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    generate.write_reference(tmp_path)
    first = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    generate.write_reference(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == first
    assert set(first) == set(PAGES)
