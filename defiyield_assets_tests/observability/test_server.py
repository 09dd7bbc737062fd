"""The endpoint over HTTP: its two paths, what it refuses, a database that is away, an address that is taken."""

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client import CollectorRegistry

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.observability import warehouse as figures
from defiyield_assets.observability.collector import FigureCollector, Reading
from defiyield_assets.observability.families import Sample
from defiyield_assets.observability.server import serving
from defiyield_assets_tests.observability.exposition import read_text


def dead_database() -> Sequence[Sample]:
    """What every question to a server that nobody runs comes to."""
    engine = figures.open_for_reading("postgresql+psycopg://reader:s3cret-hunter@127.0.0.1:1/none")
    try:
        return figures.is_up(engine)
    finally:
        engine.dispose()


def registry_of(*readings: Reading) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(FigureCollector(readings))
    return registry


def test_both_paths_answer_and_others_do_not() -> None:
    registry = registry_of(Reading("one", lambda: [Sample("nav_usd", 1.5)]))
    with serving(registry, "127.0.0.1", 0) as address, httpx.Client(trust_env=False) as client:
        scraped = client.get(f"{address}/metrics")
        assert scraped.status_code == 200
        assert scraped.headers["content-type"].startswith("text/plain; version=")
        assert read_text(scraped.text)["defiyield_nav_usd"] == {(): 1.5}
        assert client.get(f"{address}/healthz").text == "ok\n"
        assert client.get(f"{address}/").status_code == 404
        assert client.get(f"{address}/metrics/../etc").status_code == 404
        refused = client.post(f"{address}/metrics", content=b"x")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_a_dead_database_is_told_of_and_the_rest_is_there_for_many_scrapes_at_once() -> None:
    readings = Reading("warehouse", dead_database, store="warehouse"), Reading("one", lambda: [Sample("nav_usd", 1.5)])
    with serving(registry_of(*readings), "127.0.0.1", 0) as address, ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: httpx.get(f"{address}/metrics", timeout=60, trust_env=False), range(6)))
        assert httpx.get(f"{address}/healthz", trust_env=False).status_code == 200
    for answer in answers:
        told = read_text(answer.text)
        assert told["defiyield_up"] == {(("store", "warehouse"),): 0.0}
        assert told["defiyield_nav_usd"] == {(): 1.5}
        assert "s3cret-hunter" not in answer.text


def test_an_address_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"), serving(registry_of(), "127.0.0.1", port):
            pass
