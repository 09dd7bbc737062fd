"""What scenarios there are to be had: named windows, shocks, regimes of a Markov chain, counts and lengths.

Lives here: the records that config/scenarios.yaml is read into. Not here: reading (config/scenarios.py), one scenario
and its paths (scenario.py), generation (windows.py, stochastic.py, stress.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

Family = Literal["bull", "crisis", "full_cycle", "crypto", "regime", "random_window", "stress", "stochastic"]
WindowFamily = Literal["bull", "crisis", "full_cycle", "crypto"]
RegimeKind = Literal["bull", "bear", "high_vol", "ranging"]
Profile = Literal["linear", "decay"]
Distribution = Literal["normal", "student_t"]


@dataclass(frozen=True)
class HistoricalWindow:
    """A stretch of history with a name; both days belong to it."""

    name: str
    family: WindowFamily
    start: date
    end: date


@dataclass(frozen=True)
class Shock:
    """One shock to a market.

    `shock`: what the market loses or gains against its baseline path (-0.10: ten percent). `profile`: `linear` reaches
    it `horizon` steps from the onset and stays there; `decay` is there at the onset and halves every `half_life` steps.
    `vol_multiplier`: of the deviations of returns from their mean while the shock lasts. `correlation_multiplier`: of
    the pairwise correlations of these deviations. `spread_multiplier`, `volume_multiplier`: of bid-ask spreads and of
    volumes at full force. `rate_shift`: of the risk-free rate, a fraction a year. `onset`: undisturbed steps before the
    shock strikes, in which somebody can come to hold something.
    """

    name: str
    shock: float
    vol_multiplier: float
    profile: Profile
    correlation_multiplier: float
    horizon: int
    half_life: float
    spread_multiplier: float = 1.0
    volume_multiplier: float = 1.0
    rate_shift: float = 0.0
    onset: int = 0


@dataclass(frozen=True)
class Depeg:
    """A stablecoin that loses its peg: `coin` falls to `level` USD in `days`, others `contagion` as far.

    `onset`: undisturbed steps before the first of these days.
    """

    name: str
    coin: str
    level: float
    contagion: float
    days: int
    stablecoins: tuple[str, ...]
    onset: int = 0


@dataclass(frozen=True)
class RegimeMotion:
    """A state of the Markov chain: mean and volatility of the market's log returns a year, probability of staying."""

    name: str
    mean: float
    volatility: float
    stay: float


@dataclass(frozen=True)
class Stochastic:
    """Generated paths: how many, how long, from how much history.

    `n_monte_carlo` is shared among `distributions` in turn. `n_steps`: scored bars of a path. `source_bars`: sessions
    up to the as-of date that are sampled from. `block_bars`: length of a bootstrap block. `degrees_of_freedom`: of
    Student's t.
    """

    n_monte_carlo: int = 50
    n_bootstrap: int = 50
    n_gbm: int = 10
    n_markov: int = 10
    n_steps: int = 252
    source_bars: int = 1_000
    block_bars: int = 20
    degrees_of_freedom: float = 5.0
    distributions: tuple[Distribution, ...] = ("normal", "student_t")
    motions: tuple[RegimeMotion, ...] = ()


@dataclass(frozen=True)
class Definitions:
    """Everything that config/scenarios.yaml says.

    `least_days`: calendar days that a detected regime window has at least; `random_days`: lengths of random windows;
    `n_random`: random windows of each length; `stress_steps`: scored bars of a stress path; `n_stress`: paths of every
    shock and de-peg; `warm_up_bars`: real bars put before every path where there are so many (LEAST_WARM_UP at least).
    """

    windows: tuple[HistoricalWindow, ...]
    shocks: tuple[Shock, ...]
    depegs: tuple[Depeg, ...]
    stochastic: Stochastic
    least_days: Mapping[RegimeKind, int] = field(
        default_factory=lambda: {"bull": 90, "bear": 60, "high_vol": 30, "ranging": 45}
    )
    random_days: tuple[int, ...] = (14, 30, 90)
    n_random: int = 10
    stress_steps: int = 63
    n_stress: int = 1
    warm_up_bars: int = 365
