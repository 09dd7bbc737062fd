"""Kinds of signals: one for each model, one for the stub, one for news, and what is known of each.

Lives here: names of types and models, the choice of a model. Not here: the file that lists models (config/models.py),
what a signal may be (rules.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

from defiyield_assets.errors import ConfigurationError

STUB = "stub"
"""Name of the stand-in that asks nobody; no model may be called so."""
NEWS_TYPE = "news:sentiment"
AI = "ai:"
STUB_TYPE = AI + STUB


@dataclass(frozen=True)
class SignalModel:
    """A model that may be asked. `name`: as Ollama spells it; `training_cutoff`: last day that it was trained on."""

    name: str
    training_cutoff: date
    description: str = ""


@dataclass(frozen=True)
class SignalType:
    """A row of `signal_types`; `training_cutoff` None: trained on nothing."""

    signal_type: str
    kind: str
    model: str | None
    training_cutoff: date | None
    is_stub: bool
    description: str


@dataclass(frozen=True)
class SignalSettings:
    """What models.yaml says: whom one may ask, of which universes, and how.

    `horizon_days`: days that the question is about; `seed`: of the sampler, fixed; `num_predict`: longest answer in
    tokens; `num_ctx`: tokens that question and answer may have together.
    """

    models: tuple[SignalModel, ...]
    universes: tuple[str, ...]
    horizon_days: int = 5
    seed: int = 7
    num_predict: int = 512
    num_ctx: int = 8192

    @property
    def options(self) -> dict[str, int]:
        """Ollama's options: temperature 0 and a fixed seed, so that the same question has the same answer."""
        return {"temperature": 0, "seed": self.seed, "num_predict": self.num_predict, "num_ctx": self.num_ctx}

    def types(self) -> tuple[SignalType, ...]:
        """Every type that there is by this configuration, in order of its name."""
        found = [
            SignalType(type_of(one.name), "ai", one.name, one.training_cutoff, False, one.description)
            for one in self.models
        ]
        found.append(SignalType(type_of(STUB), "ai", STUB, None, True, "Rule on figures of the prompt; asks no model"))
        found.append(SignalType(NEWS_TYPE, "news", None, None, False, "Mean sentiment of the news of the last hours"))
        return tuple(sorted(found, key=lambda one: one.signal_type))

    def names(self) -> frozenset[str]:
        """The types by name: what a strategy may follow."""
        return frozenset(one.signal_type for one in self.types())

    def chosen(self, model: str) -> SignalType:
        """The type of a model; ConfigurationError naming the nearest for one that is not listed.

        A model without a known training cut-off cannot be asked: nobody could tell whether it knew the answer.
        """
        by_name = {one.model: one for one in self.types() if one.model is not None}
        if model not in by_name:
            near = get_close_matches(model, list(by_name), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(by_name))}"
            raise ConfigurationError(
                f"no model is called {model!r}; {hint} A new one is listed in models.yaml with its training_cutoff"
            )
        return by_name[model]


def type_of(model: str) -> str:
    """`ai:<model>`: the one spelling of a model's signals."""
    return AI + model


def require_known(signal_type: str, known: Sequence[str] | frozenset[str]) -> str:
    """The type; ConfigurationError naming the nearest for one that there is not."""
    if signal_type in known:
        return signal_type
    near = get_close_matches(signal_type, sorted(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
    raise ConfigurationError(f"{signal_type!r} is no type of signal; {hint}")
