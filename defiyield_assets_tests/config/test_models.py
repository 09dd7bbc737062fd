"""models.yaml: who may be asked, and the errors of a file that names somebody twice, the stub, or no cut-off."""

from datetime import date
from pathlib import Path

import pytest

from defiyield_assets.config.models import load_models
from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.errors import ConfigurationError

HEAD = "universes: [crypto_liquid]\nmodels:\n"


def test_the_shipped_file_lists_models_with_the_last_day_that_they_were_trained_on() -> None:
    models = load_models()
    assert models.chosen("llama3.1").training_cutoff == date(2023, 12, 31)
    assert "ai:gemma3:1b" in models.names()
    assert models.universes == ("crypto_liquid", "us_equities")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  - name: mine\n", r"models\.yaml:3: models\[0\]\.training_cutoff is missing"),
        ("  - {name: stub, training_cutoff: 2024-01-01}\n", r"models\.yaml:3: .*'stub', the name of the stand-in"),
        ("  - {name: 'stub:2', training_cutoff: 2024-01-01}\n", "the name of the stand-in"),
        ("  - {name: Stub, training_cutoff: 2024-01-01}\n", "the name of the stand-in"),
        (
            "  - {name: m, training_cutoff: 2024-01-01}\n  - {name: 'm:latest', training_cutoff: 2024-02-01}\n",
            "which is there already",
        ),
        (2 * "  - {name: mine, training_cutoff: 2024-01-01}\n", r"models\.yaml:4: .*there already"),
        ("  - {name: mine, training_cutof: 2024-01-01}\n", "did you mean 'training_cutoff'"),
        ("  - {name: '../mine?', training_cutoff: 2024-01-01}\n", r"models\[0\]\.name"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "models.yaml").write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=words):
        load_models(tmp_path)


def test_a_strategy_may_follow_a_model_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "mine.yaml").write_text(
        "id: mine\nversion: 1\nuniverse: crypto_liquid\ntype: external\nsignal: 'ai:mine'\nsizing: {method: equal}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError, match="'ai:mine' is no type of signal"):
        load_strategies(tmp_path)
    shipped = "  - {name: llama3.1, training_cutoff: 2023-12-31}\n  - {name: mine, training_cutoff: 2024-01-01}\n"
    (tmp_path / "models.yaml").write_text(HEAD + shipped, encoding="utf-8")
    assert load_strategies(tmp_path)["mine"].signal_types == {"ai:mine"}
