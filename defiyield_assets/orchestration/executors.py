"""Where the steps of a run are executed: in its own process, in several, on Celery's workers, or as Kubernetes Jobs.

Lives here: Dagster's executors, as the settings say. Not here: Celery's application, which workers load
(celery_worker.py), where runs begin (run launcher and queue: deploy/), which steps may run at once (pools:
dagster.yaml).
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import dagster as dg

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.settings import ExecutorName, Settings, load_settings

EXTRA = "cluster"
"""Optional dependencies of the package that hold Dagster's libraries for Celery and Kubernetes."""
CODE_LOCATION = "defiyield_assets.definitions"
LOOK_SECONDS = 5
"""How often workers look for steps whose time is up because their worker has died."""


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """The executor of all jobs. ConfigurationError when what it needs is not installed or not set."""
    return _EXECUTORS[settings.executor](settings)


def _in_process(_settings: Settings) -> dg.ExecutorDefinition:
    return dg.in_process_executor


def _multiprocess(settings: Settings) -> dg.ExecutorDefinition:
    """One process a step. They are forked from one that has loaded the code, which takes each of them seconds."""
    options = {
        **_at_once(settings),
        "start_method": {"forkserver": {"preload_modules": [CODE_LOCATION]}},
    }
    return dg.multiprocess_executor.configured(options, name="multiprocess")


def _celery(settings: Settings) -> dg.ExecutorDefinition:
    """Steps as tasks of Celery's workers. What may hold a password is read when a run begins, never configured."""
    executor: dg.ExecutorDefinition = _library("dagster_celery", settings.executor).celery_executor
    celery_options(settings)

    def read_settings(_config: Any) -> dict[str, Any]:
        return celery_options(load_settings())

    return executor.configured(read_settings, name="celery", config_schema={})


def _kubernetes(settings: Settings) -> dg.ExecutorDefinition:
    """Steps as Jobs with the image, account and volumes of the run's own; they go when its pod goes."""
    executor: dg.ExecutorDefinition = _library("dagster_k8s", settings.executor).k8s_job_executor
    return executor.configured({**_at_once(settings), "enable_owner_references": True}, name="kubernetes")


_EXECUTORS: Mapping[ExecutorName, Callable[[Settings], dg.ExecutorDefinition]] = {
    "in_process": _in_process,
    "multiprocess": _multiprocess,
    "celery": _celery,
    "kubernetes": _kubernetes,
}


def _at_once(settings: Settings) -> dict[str, int]:
    return {} if settings.executor_steps is None else {"max_concurrent": settings.executor_steps}


def _library(module: str, executor: str) -> Any:
    """Dagster's library; ConfigurationError with what to install."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"DEFIYIELD_EXECUTOR={executor} needs {error.name}, which is not installed; "
            f"install the extra with `pip install 'defiyield-assets[{EXTRA}]'`"
        ) from error


def celery_options(settings: Settings) -> dict[str, Any]:
    """Broker, results and behaviour of Celery, the same for runs and workers; ConfigurationError without a broker.

    A step is acknowledged when it has ended, so that one whose worker dies is given to another worker; every write is
    a transaction that may be repeated. The broker learns of a death by silence only: a step that takes longer than
    `celery_redelivery_seconds` is begun a second time.
    """
    if settings.celery_broker_url is None:
        raise ConfigurationError(
            "DEFIYIELD_EXECUTOR=celery needs DEFIYIELD_CELERY_BROKER_URL, such as redis://:password@host:6379/0"
        )
    url = settings.celery_broker_url.get_secret_value()
    redelivery = settings.celery_redelivery_seconds
    return {
        "broker": url,
        "backend": url,
        "config_source": {
            "task_acks_late": True,
            "worker_prefetch_multiplier": 1,
            "broker_connection_retry_on_startup": True,
            "broker_transport_options": {
                "visibility_timeout": redelivery,
                "unacked_restore_interval": LOOK_SECONDS,
                "unacked_restore_throttle": 1,
            },
            "result_backend_transport_options": {"visibility_timeout": redelivery},
        },
    }
