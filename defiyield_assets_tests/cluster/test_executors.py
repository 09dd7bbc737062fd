"""Which executor the settings make, what they refuse, and that a configuration never holds the broker's address.

Not here: runs on workers (test_celery.py), on several processes (test_multiprocess.py).
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from defiyield_assets.definitions import build_defs
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.orchestration import executors
from defiyield_assets.settings import Settings, load_settings

BROKER = "redis://:a-secret-0123456789@127.0.0.1:6379/0"
SETTINGS: dict[str, dict[str, Any]] = {
    "in_process": {},
    "multiprocess": {"executor_steps": 2},
    "celery": {"celery_broker_url": BROKER},
    "kubernetes": {"executor_steps": 5},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_job_runs_where_the_setting_says(name: str, tmp_path: Path) -> None:
    settings = Settings(executor=name, state_dir=tmp_path, **SETTINGS[name])
    repository = build_defs(settings).get_repository_def()
    assert {job.executor_def.name for job in repository.get_all_jobs()} == {name}


def test_one_process_is_the_default(tmp_path: Path) -> None:
    assert executors.executor_of(Settings(state_dir=tmp_path)) is dg.in_process_executor


def test_celery_without_a_broker_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"DEFIYIELD_CELERY_BROKER_URL, such as redis://"):
        executors.executor_of(Settings(executor="celery"))


def test_a_name_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFIYIELD_EXECUTOR", "dask")
    with pytest.raises(ConfigurationError, match="EXECUTOR"):
        load_settings()


@pytest.mark.parametrize(("name", "module"), [("celery", "dagster_celery"), ("kubernetes", "dagster_k8s")])
def test_what_is_not_installed_is_named(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = importlib.import_module

    def without(wanted: str, package: str | None = None) -> Any:
        if wanted == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(wanted, package)

    monkeypatch.setattr(executors, "import_module", without)
    with pytest.raises(ConfigurationError, match=rf"needs {module}.*pip install 'defiyield-assets\[cluster\]'"):
        executors.executor_of(Settings(executor=name, celery_broker_url=BROKER))


def test_other_executors_import_no_library_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(wanted: str, package: str | None = None) -> Any:
        raise AssertionError(f"{wanted} was imported")

    monkeypatch.setattr(executors, "import_module", refuse)
    for name in ("in_process", "multiprocess"):
        executors.executor_of(Settings(executor=name))


def test_the_brokers_address_is_read_when_a_run_begins_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = executors.executor_of(Settings(executor="celery", celery_broker_url=BROKER))
    assert "a-secret" not in repr(vars(executor))
    monkeypatch.setenv("DEFIYIELD_CELERY_BROKER_URL", BROKER.replace("6379", "6380"))
    told = executor.apply_config_mapping({"config": {}})
    assert told.success
    assert ":6380/" in str(told.value), "as the environment says now"
    assert "a-secret" not in repr(Settings(executor="celery", celery_broker_url=BROKER))


def test_a_step_belongs_to_its_worker_until_it_has_ended() -> None:
    options = executors.celery_options(Settings(celery_broker_url=BROKER, celery_redelivery_seconds=77))
    told = options["config_source"]
    assert told["task_acks_late"] is True
    assert told["worker_prefetch_multiplier"] == 1
    assert told["broker_transport_options"]["visibility_timeout"] == 77
