"""Parameters for people: every one has words, a unit or a reason to have none, and reads back what it shows.

Not here: bounds (test_loader.py), the page of the documentation (docs/test_reference.py).
"""

from dataclasses import fields

import pytest

from defiyield_assets.config.parameters import parameter, parameters, shown_value, typed_value, value_of
from defiyield_assets.domain.policy import GasUnits, Parameters
from defiyield_assets.errors import ConfigurationError

WITHOUT_UNIT = {"group_caps", "objective", "method", "lot_method", "chains"}


def test_every_parameter_is_there_once_with_words_and_default() -> None:
    names = [one.name for one in parameters()]
    wanted = {field.name for field in fields(Parameters)} - {"gas_units"}
    wanted |= {f"gas_units.{field.name}" for field in fields(GasUnits)}
    assert len(names) == len(set(names))
    assert set(names) == wanted
    for one in parameters():
        assert one.meaning, one.name
        assert one.section, one.name
        assert bool(one.unit) != (one.name in WITHOUT_UNIT), one.name
        assert one.default == value_of(Parameters(), one.name)


@pytest.mark.parametrize("name", [one.name for one in parameters()])
def test_what_is_shown_is_read_back(name: str) -> None:
    default = parameter(name).default
    read = typed_value(name, shown_value(default))
    assert read == (list(default) if isinstance(default, tuple) else default)
    assert type(read) is (list if isinstance(default, tuple) else type(default))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("max_pool_shaer", "1", "did you mean 'max_pool_share'?"),
        ("max_pool_share", "25 %", "is no number, such as 0.25"),
        ("max_pool_share", "nan", "is no number"),
        ("max_pool_share", "", "is no number"),
        ("min_pools", "2.5", "is no whole number"),
        ("group_caps", "yes", "right would be true, false"),
        ("max_group_share", "a,b", "is no list"),
        ("gas_units.swap", "1e5", "is no whole number"),
    ],
)
def test_what_is_typed_wrongly_is_told_with_what_would_be_right(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words.replace("?", r"\?")):
        typed_value(name, text)


def test_choices_are_those_of_the_loader() -> None:
    assert parameter("objective").choices == ("expected", "robust", "profit")
    assert parameter("group_caps").choices == ("true", "false")
    assert parameter("max_pool_share").choices == ()
    assert typed_value("chains", " [Ethereum, 'Base'] ") == ["Ethereum", "Base"]
