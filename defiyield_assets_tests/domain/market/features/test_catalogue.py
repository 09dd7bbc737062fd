"""The catalogue of metrics names every metric of the registry once."""

from defiyield_assets.domain.market.features.catalogue import catalogue
from defiyield_assets.domain.market.features.registry import METRICS


def test_every_metric_has_its_row() -> None:
    text = catalogue()
    assert all(text.count(f"| `{metric.name}` |") == 1 for metric in METRICS)


def test_the_page_counts_what_it_lists() -> None:
    text = catalogue()
    groups = {metric.group for metric in METRICS}
    assert f"{len(METRICS)} metrics in {len(groups)} groups." in text
    assert text.count("\n| `") == len(METRICS)
