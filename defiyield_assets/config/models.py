"""Reading models.yaml: whom one may ask for signals, each with the last day that it was trained on.

Lives here: `load_models`. Not here: the file's shape (files.py), kinds of signals (domain/signals/types.py).
"""

from pathlib import Path

from pydantic import TypeAdapter

from defiyield_assets.config.files import ModelsFile
from defiyield_assets.config.reading import listed, read_file, validate
from defiyield_assets.domain.signals.types import STUB, SignalModel, SignalSettings
from defiyield_assets.errors import ConfigurationError

NAME = "models.yaml"


def load_models(folder: Path | None = None) -> SignalSettings:
    """What models.yaml says; the file of `folder`, the user's configuration folder, replaces the shipped one.

    ConfigurationError naming file, line and what is wrong, such as a model that is there twice or is called like the
    stub: nobody could tell their signals apart.
    """
    source = read_file(NAME, folder)
    content: ModelsFile = validate(source, TypeAdapter(ModelsFile))
    problems, seen = [], set[str]()
    for number, entry in enumerate(content.models):
        where = f"{source.at(('models', number, 'name'))}: models[{number}].name"
        weights = entry.name.lower().removesuffix(":latest")
        if weights == STUB or weights.startswith(f"{STUB}:"):
            problems.append(f"{where} is {entry.name!r}, the name of the stand-in; use the model's own")
        if weights in seen:
            problems.append(f"{where} is {entry.name!r}, which is there already; keep one")
        seen.add(weights)
    if problems:
        raise ConfigurationError(listed(problems))
    models = tuple(SignalModel(one.name, one.training_cutoff, one.description) for one in content.models)
    return SignalSettings(
        models, content.universes, content.horizon_days, content.seed, content.num_predict, content.num_ctx
    )
