"""docs/features.md is what the registry says."""

from pathlib import Path

from defiyield_assets.domain.market.features.catalogue import catalogue
from defiyield_assets.domain.market.features.registry import METRICS

PAGE = Path(__file__).resolve().parents[4] / "docs" / "features.md"


def test_the_page_of_features_is_generated_from_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == catalogue(), (
        "write it anew: python -m defiyield_assets.domain.market.features.catalogue > docs/features.md"
    )


def test_every_metric_has_its_row() -> None:
    text = catalogue()
    assert all(text.count(f"| `{metric.name}` |") == 1 for metric in METRICS)
