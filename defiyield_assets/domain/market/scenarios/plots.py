"""Picture of scenarios: one instrument's paths beside each other, and what its bars were before.

Lives here: drawing. Not here: paths (scenario.py), pages (domain/strategies). Matplotlib is imported when it is needed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from defiyield_assets.domain.market.scenarios.scenario import ScenarioPaths
from defiyield_assets.domain.pictures import printable, to_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_WARM_UP = 60
"""Steps before the first scored one that are drawn."""


def plot_paths(paths: Sequence[ScenarioPaths], instrument: str, title: str) -> bytes:
    """The picture of `paths_figure` as PNG."""
    return to_png(paths_figure(paths, instrument, title))


def paths_figure(paths: Sequence[ScenarioPaths], instrument: str, title: str) -> "Figure":
    """Closes by step as multiples of the last close before step 0; scenarios without the instrument are left out.

    A dotted line stands where shocks begin that have an onset.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    axis = figure.subplots()
    n_drawn, onsets = 0, set()
    for one in paths:
        names = one.history.instruments
        close = one.history.close[:, names.index(instrument)] if instrument in names else np.zeros(0)
        before = close[: one.history.first_scored]
        known = before[~np.isnan(before)]
        if not len(known):
            continue
        shown = one.step >= -SHOWN_WARM_UP
        axis.plot(one.step[shown], close[shown] / known[-1], linewidth=0.8, alpha=0.6)
        n_drawn += 1
        onsets.add(_onset(one))
    axis.axvline(-0.5, color="#777777", linewidth=0.8)
    for onset in sorted(onsets - {0}):
        axis.axvline(onset - 0.5, color="#777777", linewidth=0.8, linestyle=":")
    axis.set_yscale("log")
    axis.set_xlabel("step (below 0: warm-up)")
    axis.set_ylabel("multiple of the last close before the start")
    axis.set_title(f"{printable(title)}: {printable(instrument)}, {n_drawn} scenarios", parse_math=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def _onset(paths: ScenarioPaths) -> int:
    """Undisturbed steps before a scenario's shock; 0 where it has none."""
    params = paths.scenario.params
    return int(params.get("shock", params.get("depeg", {})).get("onset", 0))
