"""Sphinx's settings for the site of docs/.

Lives here: how the pages become a site. Not here: pages; what is generated from code (generate.py), which this file has
written before Sphinx looks for pages. `make docs` builds; a remark of Sphinx is an error there.
"""

import sys
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from generate import write_reference  # noqa: E402 - it lies beside this file, in no package

write_reference(HERE / "reference")

project = "defiyield_assets"
author = "the authors of defiyield_assets"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["**/README.md"]
nitpicky = True
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
html_theme = "furo"
html_title = "defiyield_assets"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None
linkcheck_timeout = 20
linkcheck_ignore = [r"http://127\.0\.0\.1.*"]


def setup(app: Any) -> None:
    """Diagrams are drawn where the pages are read on a forge; in the site they stand as the text that they are."""
    app.add_lexer("mermaid", TextLexer)
