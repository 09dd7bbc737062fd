"""Reading scenarios.yaml: windows, shocks and settings of generated paths, checked.

Lives here: the file's shape and `load_scenarios`. Not here: reading of YAML (reading.py), what is made of it
(domain/market/scenarios).
"""

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, model_validator

from defiyield_assets.config.files import MODELS, Depth, Name, Positive, Share, Strict, ZeroUp
from defiyield_assets.config.reading import Source, listed, read_file, validate
from defiyield_assets.domain.market.scenarios.definitions import (
    Definitions,
    Depeg,
    Distribution,
    HistoricalWindow,
    Profile,
    RegimeKind,
    RegimeMotion,
    Shock,
    Stochastic,
    WindowFamily,
)
from defiyield_assets.domain.market.scenarios.scenario import LEAST_WARM_UP
from defiyield_assets.errors import ConfigurationError

NAME = "scenarios.yaml"
Snake = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Count = Annotated[int, Field(ge=0, le=100_000)]
Bars = Annotated[int, Field(ge=1, le=100_000)]
Fall = Annotated[float, Field(gt=-1, le=10)]


class WindowEntry(Strict):
    """One named window."""

    name: Snake
    family: WindowFamily
    start: date
    end: date

    @model_validator(mode="after")
    def _ends_after_start(self) -> "WindowEntry":
        if self.end <= self.start:
            raise ValueError(f"end {self.end} must be after start {self.start}")
        return self


class RandomEntry(Strict):
    """Windows at random places."""

    days: Annotated[tuple[Bars, ...], Field(min_length=1)] = (14, 30, 90)
    count: Count = 10


class ShockEntry(Strict):
    """One shock; what is left out is as for all."""

    name: Snake
    shock: Fall
    vol_multiplier: Positive
    profile: Profile
    horizon: Bars | None = None
    half_life: Positive | None = None
    correlation_multiplier: ZeroUp | None = None
    spread_multiplier: Positive = 1.0
    volume_multiplier: ZeroUp = 1.0
    rate_shift: float = 0.0
    onset: Count | None = None


class DepegEntry(Strict):
    """One stablecoin that loses its peg."""

    name: Snake
    coin: Name
    level: Positive
    contagion: Share
    days: Bars
    stablecoins: tuple[Name, ...] = ()
    onset: Count | None = None


class StressEntry(Strict):
    """Shocks, and what those have that say nothing else."""

    n_steps: Bars = 63
    paths: Bars = 1
    onset: Count = 10
    horizon: Bars = 21
    half_life: Positive = 5.0
    correlation_multiplier: ZeroUp = 1.0
    shocks: tuple[ShockEntry, ...] = ()
    depegs: tuple[DepegEntry, ...] = ()


class MotionEntry(Strict):
    """One regime of the Markov chain."""

    name: Snake
    mean: float
    volatility: Positive
    stay: Depth


class StochasticEntry(Strict):
    """Generated paths."""

    n_monte_carlo: Count = 50
    n_bootstrap: Count = 50
    n_gbm: Count = 10
    n_markov: Count = 10
    n_steps: Bars = 252
    source_bars: Annotated[int, Field(ge=LEAST_WARM_UP, le=100_000)] = 1_000
    block_bars: Bars = 20
    degrees_of_freedom: Annotated[float, Field(gt=2)] = 5.0
    distributions: Annotated[tuple[Distribution, ...], Field(min_length=1)] = ("normal", "student_t")
    motions: Annotated[tuple[MotionEntry, ...], Field(min_length=2)]


class ScenariosFile(Strict):
    """scenarios.yaml."""

    windows: tuple[WindowEntry, ...]
    regime_windows: dict[RegimeKind, Bars]
    random_windows: RandomEntry = RandomEntry()
    stress: StressEntry
    stochastic: StochasticEntry
    warm_up_bars: Annotated[int, Field(ge=LEAST_WARM_UP, le=5_000)] = 365


MODELS[NAME] = ScenariosFile  # where reading.py looks up which keys there are, to name the nearest one


def load_scenarios(folder: Path | None = None) -> Definitions:
    """Everything that scenarios.yaml says of scenarios.

    `folder`: the user's configuration folder; its scenarios.yaml replaces the shipped one. Raises ConfigurationError
    naming file, line and what is wrong.
    """
    source = read_file(NAME, folder)
    content: ScenariosFile = validate(source, TypeAdapter(ScenariosFile))
    problems = [*_repeated(content, source), *_too_short(content, source)]
    kinds: tuple[RegimeKind, ...] = ("bull", "bear", "high_vol", "ranging")
    problems += [
        f"{source.at(('regime_windows',))}: regime_windows lacks {kind!r}; give the least number of days"
        for kind in kinds
        if kind not in content.regime_windows
    ]
    if problems:
        raise ConfigurationError(listed(problems))
    return _definitions(content)


def _definitions(content: ScenariosFile) -> Definitions:
    told = content.stochastic
    return Definitions(
        windows=tuple(HistoricalWindow(**entry.model_dump()) for entry in content.windows),
        shocks=tuple(_shock(entry, content.stress) for entry in content.stress.shocks),
        depegs=tuple(
            Depeg(**{**entry.model_dump(), "onset": _onset(entry, content.stress)}) for entry in content.stress.depegs
        ),
        stochastic=Stochastic(
            **{**told.model_dump(), "motions": tuple(RegimeMotion(**entry.model_dump()) for entry in told.motions)}
        ),
        least_days=dict(content.regime_windows),
        random_days=content.random_windows.days,
        n_random=content.random_windows.count,
        stress_steps=content.stress.n_steps,
        n_stress=content.stress.paths,
        warm_up_bars=content.warm_up_bars,
    )


def _shock(entry: ShockEntry, shared: StressEntry) -> Shock:
    own = {name: value for name, value in entry.model_dump().items() if value is not None}
    common = {name: getattr(shared, name) for name in ("horizon", "half_life", "correlation_multiplier", "onset")}
    return Shock(**{**common, **own})


def _onset(entry: ShockEntry | DepegEntry, shared: StressEntry) -> int:
    return shared.onset if entry.onset is None else entry.onset


def _repeated(content: ScenariosFile, source: Source) -> list[str]:
    """A name belongs to one window or shock: it stands in tables and on pages."""
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("windows", index), entry.name) for index, entry in enumerate(content.windows)
    ]
    named += [(("stress", "shocks", index), entry.name) for index, entry in enumerate(content.stress.shocks)]
    named += [(("stress", "depegs", index), entry.name) for index, entry in enumerate(content.stress.depegs)]
    seen: set[str] = set()
    found = []
    for location, name in named:
        if name in seen:
            found.append(f"{source.at(location)}: the name {name!r} is there twice; give each scenario its own")
        seen.add(name)
    return found


def _too_short(content: ScenariosFile, source: Source) -> list[str]:
    """Onset and horizon lie inside the path."""
    found, stress = [], content.stress
    for index, entry in enumerate(stress.shocks):
        horizon, onset = entry.horizon or stress.horizon, _onset(entry, stress)
        if onset + horizon > stress.n_steps:
            told = f"{entry.name} has a horizon of {horizon} after an onset of {onset}"
            found.append(f"{source.at(('stress', 'shocks', index))}: {told}, paths have {stress.n_steps} steps")
    for index, depeg in enumerate(stress.depegs):
        onset = _onset(depeg, stress)
        if onset + depeg.days > stress.n_steps:
            told = f"{depeg.name} takes {depeg.days} days after an onset of {onset}"
            found.append(f"{source.at(('stress', 'depegs', index))}: {told}, paths have {stress.n_steps} steps")
    return found
