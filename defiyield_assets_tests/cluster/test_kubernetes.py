"""Manifests as `kubectl kustomize` renders them, and the Jobs that Dagster makes of them, against published schemas.

Not here: Helm's values (test_helm.py). No cluster is asked: kubectl renders without one.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes.config
import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient

from defiyield_assets.settings import PROJECT_ROOT, Settings, secret_fields
from defiyield_assets_tests.programs import find_program

KUBERNETES = PROJECT_ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.31.0", "1.34.0")
"""The oldest Kubernetes that we mean, and a newer one."""
FLAVOURS = ("base", "overlays/example", "steps-as-jobs")
OUTAGE_SECONDS = 1800
"""How long a database may be away before a probe ends anything."""
WITH_TOKEN = {"defiyield-daemon", "defiyield-webserver"}
"""They start and end the Jobs of runs."""
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    """What each flavour makes: the base, the example with Celery, and the base with steps as Jobs."""
    find_program("kubectl", "kubernetes-client")
    copied = tmp_path_factory.mktemp("kubernetes") / "deploy"
    shutil.copytree(KUBERNETES, copied)
    steps = copied / "steps-as-jobs"
    steps.mkdir()
    text = yaml.safe_dump({"resources": ["../base"], "components": ["../components/steps-as-jobs"]})
    (steps / "kustomization.yaml").write_text(text, encoding="utf-8")
    return {flavour: _rendered(copied / flavour) for flavour in FLAVOURS}


def _rendered(folder: Path) -> list[Manifest]:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


@cache
def run_job(flavour: str, component: str = "run_worker") -> str:
    """The Job of a run as Dagster's own launcher makes it of our dagster.yaml, as YAML."""
    folder = "base" if flavour != "steps-as-jobs" else "components/steps-as-jobs"
    told = yaml.safe_load((KUBERNETES / folder / "dagster.yaml").read_text(encoding="utf-8"))["run_launcher"]["config"]
    config = process_config(K8sRunLauncher.config_type(), told)
    assert config.success, config.errors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
        launcher = K8sRunLauncher.from_config_value(None, config.value or {})
    run = dg.DagsterRun(job_name="plan_the_day", run_id="0b7a8e43-8d0d-4a52-9f0d-5d9f0d1c2b3a")
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=True)
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config("registry.example.org/defiyield-assets:0.1.0", launcher),
        args=["dagster", "api", "execute_run", "{}"],
        job_name="dagster-run-0b7a8e43",
        component=component,
        user_defined_k8s_config=context.run_k8s_config,
    )
    made = ApiClient().sanitize_for_serialization(job)
    made["metadata"]["namespace"] = context.namespace
    return yaml.safe_dump(made)


def everything(rendered: dict[str, list[Manifest]]) -> Iterator[tuple[str, Manifest]]:
    """Every manifest with its flavour, and the Job of a run in each."""
    for flavour, manifests in rendered.items():
        for manifest in [*manifests, yaml.safe_load(run_job(flavour))]:
            yield flavour, manifest


def pods(rendered: dict[str, list[Manifest]]) -> Iterator[tuple[str, str, Manifest]]:
    """Flavour, name and pod of everything that runs."""
    for flavour, manifest in everything(rendered):
        if manifest["kind"] in ("Deployment", "Job"):
            yield flavour, manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    """All of a pod's, those that run first included."""
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_by_the_published_schema(rendered: dict[str, list[Manifest]], version: str) -> None:
    different = {yaml.safe_dump(manifest) for _, manifest in everything(rendered)}
    assert len(different) > 15
    for text in sorted(different):
        kubernetes_validate.validate(yaml.safe_load(text), version, strict=True)


def test_the_schema_refuses_a_field_that_is_none(rendered: dict[str, list[Manifest]]) -> None:
    wrong = deepcopy(next(manifest for manifest in rendered["base"] if manifest["kind"] == "Deployment"))
    wrong["spec"]["template"]["spec"]["runsAsNonRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_everything_lives_in_its_own_namespace(rendered: dict[str, list[Manifest]]) -> None:
    for _, manifest in everything(rendered):
        assert manifest["kind"] not in {"ClusterRole", "ClusterRoleBinding"}
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "defiyield", manifest["metadata"]
        if manifest["kind"] == "Service":
            assert manifest["spec"].get("type", "ClusterIP") == "ClusterIP", "reachable from inside alone"
    assert not {manifest["kind"] for _, manifest in everything(rendered)} & {"Ingress", "Secret"}


def test_nothing_runs_as_root_or_may_become_it(rendered: dict[str, list[Manifest]]) -> None:
    seen = set()
    for flavour, name, pod in pods(rendered):
        seen.add((flavour, name))
        outer = pod["securityContext"]
        assert outer["runAsNonRoot"], name
        assert outer["runAsUser"] > 0
        assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
        for container in containers(pod):
            inner = container["securityContext"]
            assert inner["readOnlyRootFilesystem"], name
            assert inner["allowPrivilegeEscalation"] is False
            assert inner["capabilities"] == {"drop": ["ALL"]}
            assert "privileged" not in inner
    assert len(seen) == 3 * 5 + 1, "code server, daemon, web server, console and a run in each, and workers with Celery"


def test_no_probe_that_restarts_asks_the_warehouse_and_a_short_outage_ends_nobody(
    rendered: dict[str, list[Manifest]],
) -> None:
    """The daemon's heartbeats are in a database: half an hour without it is no reason to end the daemon."""
    seen = set()
    for _, name, pod in pods(rendered):
        for container in containers(pod):
            told = container.get("livenessProbe", {})
            command = told.get("exec", {}).get("command", [])
            assert not {"ready", "fresh"} & set(command), name
            if "liveness-check" in command:
                seen.add(name)
                assert told["periodSeconds"] * told["failureThreshold"] >= OUTAGE_SECONDS, name
    assert seen == {"defiyield-daemon"}


def test_images_are_pinned_and_memory_is_limited(rendered: dict[str, list[Manifest]]) -> None:
    for _, name, pod in pods(rendered):
        for container in containers(pod):
            tag = container["image"].rsplit("/", 1)[-1].partition(":")[2]
            assert re.fullmatch(r"\d+\.\d+\.\d+", tag), f"{name}: {container['image']}"
            assert set(container["resources"]) == {"requests", "limits"}, name
            assert "memory" in container["resources"]["limits"]


def test_runs_take_the_image_of_the_code_server(rendered: dict[str, list[Manifest]]) -> None:
    for manifests in rendered.values():
        code = next(
            one for one in manifests if one["metadata"]["name"] == "defiyield-code" and "template" in one["spec"]
        )
        (container,) = code["spec"]["template"]["spec"]["containers"]
        assert container["env"] == [{"name": "DAGSTER_CURRENT_IMAGE", "value": container["image"]}]


def test_a_token_of_kubernetes_is_where_jobs_are_started_and_nowhere_else(
    rendered: dict[str, list[Manifest]],
) -> None:
    for flavour, name, pod in pods(rendered):
        starts_steps = flavour == "steps-as-jobs" and name.startswith("dagster-run")
        assert pod["automountServiceAccountToken"] is (name in WITH_TOKEN or starts_steps), (flavour, name)
    for flavour, manifests in rendered.items():
        bound = {one["subjects"][0]["name"] for one in manifests if one["kind"] == "RoleBinding"}
        assert bound == {"defiyield-launcher"} | ({"defiyield-run"} if flavour == "steps-as-jobs" else set())
        for role in (one for one in manifests if one["kind"] == "Role"):
            asked = {
                name for rule in role["rules"] for name in (*rule["resources"], *rule["verbs"], *rule["apiGroups"])
            }
            assert not asked & {"*", "secrets", "configmaps", "pods/exec"}


def test_only_the_migration_may_be_the_owner_of_the_warehouse(rendered: dict[str, list[Manifest]]) -> None:
    named = {
        container["name"]
        for _, _, pod in pods(rendered)
        for container in containers(pod)
        if "defiyield-owner" in str(container)
    }
    assert named == {"migrate-warehouse"}


def test_the_console_gets_no_secret_but_its_own_and_is_asked_under_its_name(
    rendered: dict[str, list[Manifest]],
) -> None:
    for _, name, pod in pods(rendered):
        for container in containers(pod):
            named = {one["secretRef"]["name"] for one in container.get("envFrom", []) if "secretRef" in one}
            assert ("defiyield-console" in named) is (name == "defiyield-console")
            if name != "defiyield-console":
                continue
            assert named == {"defiyield-console"}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                headers = container[probe]["httpGet"]["httpHeaders"]
                assert headers == [{"name": "Host", "value": "localhost"}], "another name is answered with 421"


def test_no_manifest_holds_a_secret() -> None:
    names = {f"DEFIYIELD_{name.upper()}" for name in secret_fields()} | {"DEFIYIELD_DAGSTER_PG_PASSWORD"}
    for path in sorted(path for path in KUBERNETES.rglob("*") if path.is_file()):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                continue
            name, _, value = line.strip().partition("=" if path.suffix == ".env" else ":")
            assert not (name in names and value.strip()), f"{path}: {line}"
            assert not re.search(r"://[^/\s]*:[^/\s]*@", line), f"{path}: {line}"


def test_settings_of_manifests_are_settings(rendered: dict[str, list[Manifest]]) -> None:
    elsewhere = {"DEFIYIELD_CODE_HOST", "DEFIYIELD_DAGSTER_PG_HOST", "DEFIYIELD_DAGSTER_PG_DB"}
    executors = set()
    for manifests in rendered.values():
        (told,) = [one["data"] for one in manifests if one["metadata"]["name"] == "defiyield-settings"]
        ours = {name.removeprefix("DEFIYIELD_").lower(): value for name, value in told.items() if name not in elsewhere}
        executors.add(Settings(**ours).executor)
    assert executors == {"in_process", "celery", "kubernetes"}


@pytest.mark.parametrize("folder", ["base", "components/steps-as-jobs"])
def test_dagster_yaml_is_that_of_every_deployment_with_a_launcher(folder: str) -> None:
    own = yaml.safe_load((KUBERNETES / folder / "dagster.yaml").read_text(encoding="utf-8"))
    launcher = own.pop("run_launcher")
    assert own == yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.postgres.yaml").read_text(encoding="utf-8"))
    other = yaml.safe_load((KUBERNETES / "base" / "dagster.yaml").read_text(encoding="utf-8"))["run_launcher"]
    for one in (launcher, other):
        one["config"]["run_k8s_config"]["pod_spec_config"].pop("automount_service_account_token")
    assert launcher == other
    assert own["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}, "one step at a time asks a vendor"


def test_nobody_comes_in_who_is_not_named(rendered: dict[str, list[Manifest]]) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in rendered["base"] if one["kind"] == "NetworkPolicy"}
    closed = policies["defiyield-nothing-else"]
    assert closed["podSelector"] == {}
    assert set(closed["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in closed
    assert "namespaceSelector" not in str(policies)
