"""What all pictures share: a figure as PNG, and names that others chose as text that a font can draw.

Lives here: bytes and printable text. Not here: what is drawn (plots.py of a subject), where it is shown (orchestration,
benchmarks).
"""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_NAME = 60


def to_png(figure: "Figure") -> bytes:
    """The figure as PNG without a note of what drew it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    return buffer.getvalue()


def printable(name: str) -> str:
    """What a font can draw of a name that others chose: printable Latin-1, not too long."""
    start = str(name)[: LONGEST_NAME + 1]
    drawn = "".join(letter if " " <= letter <= "~" or "\xa1" <= letter <= "\xff" else "?" for letter in start)
    return drawn if len(drawn) <= LONGEST_NAME else drawn[: LONGEST_NAME - 3] + "..."
