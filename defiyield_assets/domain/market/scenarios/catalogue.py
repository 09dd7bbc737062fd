"""From definitions to requests: the list of scenarios that may be generated, with all their parameters.

Lives here: `requests`. Not here: definitions (definitions.py), the generation of one of them (generation.py), tables
and partitions (orchestration).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from defiyield_assets.domain.market.scenarios.definitions import Definitions, Depeg
from defiyield_assets.domain.market.scenarios.regime_windows import RegimeWindow
from defiyield_assets.domain.market.scenarios.scenario import Request
from defiyield_assets.domain.market.scenarios.source import ALWAYS_OPEN
from defiyield_assets.errors import ConfigurationError

TYPES = (
    "historical_window",
    "regime_window",
    "random_window",
    "stress_shock",
    "stablecoin_depeg",
    "monte_carlo",
    "block_bootstrap",
    "gbm",
    "markov_regimes",
)


SEEDS = 100_000
"""Seeds that a run's own seed stands for: the most scenarios of one type."""


@dataclass(frozen=True)
class Setting:
    """What all requests of a run share.

    `benchmark`: the instrument whose returns are the market's, None: the mean of all. `calendars`: instrument -> name,
    24x7 where it is left out.
    """

    as_of: date
    instruments: tuple[str, ...]
    seed: int
    benchmark: str | None = None
    calendars: Mapping[str, str] = field(default_factory=dict)


def requests(
    definitions: Definitions,
    setting: Setting,
    regimes: Sequence[RegimeWindow] = (),
    types: Sequence[str] = TYPES,
    count: int | None = None,
) -> tuple[Request, ...]:
    """Every scenario that the definitions make of a setting, in a fixed order.

    `regimes`: detected windows (regime_windows.py); `types`: some of TYPES; `count` replaces the number of random and
    stochastic scenarios of each type. Number k of a type has the seed `setting.seed` x SEEDS + k, so that runs of
    different seeds share no path. ConfigurationError for an unknown type or an impossible count.
    """
    unknown = [name for name in types if name not in TYPES]
    if unknown:
        raise ConfigurationError(f"scenario type {unknown[0]!r} is not known; known types: {', '.join(TYPES)}")
    if count is not None and not 0 <= count <= SEEDS:
        raise ConfigurationError(f"count is {count}; from 0 to {SEEDS} scenarios of a type can be generated")
    chosen = definitions if count is None else _counted(definitions, count)
    makers: dict[str, Callable[[], list[Request]]] = {
        "historical_window": lambda: _historical(chosen, setting),
        "regime_window": lambda: _regimes(chosen, setting, regimes),
        "random_window": lambda: _random(chosen, setting),
        "stress_shock": lambda: _shocks(chosen, setting),
        "stablecoin_depeg": lambda: _depegs(chosen, setting),
        "monte_carlo": lambda: _monte_carlo(chosen, setting),
        "block_bootstrap": lambda: _bootstrap(chosen, setting),
        "gbm": lambda: _gbm(chosen, setting),
        "markov_regimes": lambda: _markov(chosen, setting),
    }
    return tuple(request for name in TYPES if name in types for request in makers[name]())


# --- by type -------------------------------------------------------------------------------------------------------
def _counted(definitions: Definitions, count: int) -> Definitions:
    """The definitions with so many paths of each drawn type, and with no more of a shock: one at least, since a shock
    is a question that is asked, and no sample.
    """
    told = replace(definitions.stochastic, n_monte_carlo=count, n_bootstrap=count, n_gbm=count, n_markov=count)
    n_stress = min(max(count, 1), definitions.n_stress)
    return replace(definitions, n_random=count, n_stress=n_stress, stochastic=told)


def _shared(definitions: Definitions, setting: Setting) -> dict[str, Any]:
    """Parameters of every request."""
    return {
        "instruments": sorted(setting.instruments),
        "calendars": {
            name: setting.calendars[name]
            for name in sorted(setting.instruments)
            if setting.calendars.get(name, ALWAYS_OPEN) != ALWAYS_OPEN
        },
        "warm_up_bars": definitions.warm_up_bars,
    }


def _sampled(definitions: Definitions, setting: Setting, n_steps: int) -> dict[str, Any]:
    """Parameters of every request for sampled paths."""
    told = definitions.stochastic
    return {
        **_shared(definitions, setting),
        "as_of": setting.as_of.isoformat(),
        "source_bars": told.source_bars,
        "n_steps": n_steps,
    }


def _historical(definitions: Definitions, setting: Setting) -> list[Request]:
    shared = _shared(definitions, setting)
    return [
        Request(
            window.family,
            "historical_window",
            window.name,
            {**shared, "window": window.name, "start": window.start.isoformat(), "end": window.end.isoformat()},
        )
        for window in definitions.windows
        if window.end <= setting.as_of
    ]


def _regimes(definitions: Definitions, setting: Setting, windows: Sequence[RegimeWindow]) -> list[Request]:
    shared = _shared(definitions, setting)
    return [
        Request(
            "regime",
            "regime_window",
            f"{window.market}_{window.kind}_{window.start}",
            {
                **shared,
                "market": window.market,
                "kind": window.kind,
                "start": window.start.isoformat(),
                "end": window.end.isoformat(),
            },
        )
        for window in windows
        if window.end <= setting.as_of
    ]


def _random(definitions: Definitions, setting: Setting) -> list[Request]:
    shared = {**_shared(definitions, setting), "as_of": setting.as_of.isoformat()}
    return [
        Request(
            "random_window", "random_window", f"random_{days}d_{k}", {**shared, "days": days}, setting.seed * SEEDS + k
        )
        for days in definitions.random_days
        for k in range(definitions.n_random)
    ]


def _shocks(definitions: Definitions, setting: Setting) -> list[Request]:
    shared = {
        **_sampled(definitions, setting, definitions.stress_steps),
        "block_bars": definitions.stochastic.block_bars,
        "benchmark": setting.benchmark,
    }
    return [
        Request(
            "stress", "stress_shock", f"{shock.name}_{k}", {**shared, "shock": asdict(shock)}, setting.seed * SEEDS + k
        )
        for shock in definitions.shocks
        for k in range(definitions.n_stress)
    ]


def _depegs(definitions: Definitions, setting: Setting) -> list[Request]:
    shared = {
        **_sampled(definitions, setting, definitions.stress_steps),
        "block_bars": definitions.stochastic.block_bars,
    }
    return [
        Request(
            *("stress", "stablecoin_depeg", f"{one.name}_{k}", {**shared, "depeg": _listed_fields(one)}),
            seed=setting.seed * SEEDS + k,
        )
        for one in definitions.depegs
        for k in range(definitions.n_stress)
    ]


def _listed_fields(depeg: Depeg) -> dict[str, Any]:
    return {**asdict(depeg), "stablecoins": list(depeg.stablecoins)}


def _monte_carlo(definitions: Definitions, setting: Setting) -> list[Request]:
    told = definitions.stochastic
    shared = _sampled(definitions, setting, told.n_steps)
    made = []
    for k in range(told.n_monte_carlo):
        kind = told.distributions[k % len(told.distributions)]
        params = {**shared, "distribution": kind}
        if kind == "student_t":
            params["degrees_of_freedom"] = told.degrees_of_freedom
        made.append(Request("stochastic", "monte_carlo", f"monte_carlo_{kind}_{k}", params, setting.seed * SEEDS + k))
    return made


def _bootstrap(definitions: Definitions, setting: Setting) -> list[Request]:
    told = definitions.stochastic
    params = {**_sampled(definitions, setting, told.n_steps), "block_bars": told.block_bars}
    return [
        Request("stochastic", "block_bootstrap", f"bootstrap_{k}", params, setting.seed * SEEDS + k)
        for k in range(told.n_bootstrap)
    ]


def _gbm(definitions: Definitions, setting: Setting) -> list[Request]:
    params = {**_sampled(definitions, setting, definitions.stochastic.n_steps), "drift": None, "volatility": None}
    return [
        Request("stochastic", "gbm", f"gbm_{k}", params, setting.seed * SEEDS + k)
        for k in range(definitions.stochastic.n_gbm)
    ]


def _markov(definitions: Definitions, setting: Setting) -> list[Request]:
    told = definitions.stochastic
    params = {
        **_sampled(definitions, setting, told.n_steps),
        "benchmark": setting.benchmark,
        "motions": [asdict(motion) for motion in told.motions],
    }
    return [
        Request("stochastic", "markov_regimes", f"markov_{k}", params, setting.seed * SEEDS + k)
        for k in range(told.n_markov)
    ]
