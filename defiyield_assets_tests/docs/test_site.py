"""The site of docs/: it builds without a remark, its links lead somewhere, and it asks nobody outside.

Links between written pages are looked up in the fast suite; the slow one builds the site with Sphinx's own checks
and follows every link of the HTML.
"""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from defiyield_assets_tests.docs.pages import DOCS, ROOT, named, transcribe, written_pages

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
GENERATED = {"cli.md", "configuration.md", "metrics.md", "operations.md", "parameters.md", "tables.md"}


def told(path: Path) -> str:
    """A page without its blocks."""
    return str(transcribe.FENCE.sub("", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", written_pages(), ids=named)
def test_links_and_pictures_of_a_page_are_files(path: Path) -> None:
    text = told(path)
    targets = [*LINK.findall(text), *PICTURE.findall(text)]
    for target in targets:
        if urlsplit(target).scheme:
            continue
        file = (path.parent / target.partition("#")[0]).resolve() if not target.startswith("#") else path
        is_generated = file.parent == DOCS / "reference" and file.name in GENERATED
        assert file.is_file() or is_generated, f"{named(path)} links to {target}"


def test_every_page_stands_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"^([a-z-]+(?:/[a-z-]+)?)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in written_pages() if path.is_relative_to(DOCS)}
    assert pages - {"index"} == {name for name in listed if not name.startswith("reference/")}


def test_pages_that_code_names_exist() -> None:
    """Docstrings, settings and messages of the package name pages as docs/…; so do tests and shipped YAML."""
    names = {}
    for folder in ("defiyield_assets", "defiyield_assets_tests", "benchmarks", "migrations", "deploy"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".json", ".md"):
                for name in re.findall(r"\bdocs/[a-z-]+(?:/[a-z-]+)?\.md\b", path.read_text(encoding="utf-8")):
                    names[name] = named(path)
    missing = {name: where for name, where in names.items() if not (ROOT / name).is_file()}
    assert {name: where for name, where in missing.items() if Path(name).parent.name != "reference"} == {}


class Page(HTMLParser):
    """What a page of the site links to, what it loads, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember what a tag points to."""
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in found:
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon", "shortcut icon"):
            self.loads.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """Every page of the site, built as `make docs` does."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    options = re.search(r"sphinx-build (.*) docs \$\(DOCS\)", recipe)
    assert options is not None
    assert {"-W", "-n"} <= set(options[1].split()), "a remark is an error"
    folder = tmp_path_factory.mktemp("site")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEFIYIELD_")}
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options[1].split(), str(DOCS), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {}
    for path in folder.rglob("*.html"):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        pages[path.relative_to(folder).as_posix()] = page
    pages["."] = Page()
    pages["."].loads = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return pages


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(site: dict[str, Page]) -> None:
    files = set(site["."].loads)
    broken = []
    for name, page in site.items():
        for target in [*page.links, *page.loads] if name != "." else []:
            parts = urlsplit(target)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            path = os.path.normpath(Path(name).parent / unquote(parts.path)) if parts.path else name
            anchors = site[path].anchors if path in site else set()
            if path not in files or (parts.fragment and path in site and unquote(parts.fragment) not in anchors):
                broken.append((name, target))
    assert broken == []
    assert len(site) > 25


@pytest.mark.slow
def test_the_site_loads_nothing_from_outside(site: dict[str, Page]) -> None:
    assert [(name, target) for name, page in site.items() for target in page.loads if "//" in target] == []


@pytest.mark.slow
def test_pages_that_the_asset_graph_links_to_are_there(site: dict[str, Page]) -> None:
    from defiyield_assets.orchestration.catalogue import GROUPS, TABLES_PAGE
    from defiyield_assets.store import schema

    assert {f"{group.page}.html" for group in GROUPS.values()} <= set(site)
    anchors = site[f"{TABLES_PAGE}.html"].anchors
    assert {table.name.replace("_", "-") for table in schema.metadata.sorted_tables} <= anchors
