"""Values of Dagster's official chart: names that it knows, parts that Kubernetes and Dagster accept, the same limits.

There is no helm here: names are those of the chart's published values, and what its templates make of them is not
tested. Not here: the manifests without Helm (test_kubernetes.py).
"""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config
from dagster_k8s import K8sRunLauncher

from defiyield_assets.settings import PROJECT_ROOT, secret_fields

VALUES = PROJECT_ROOT / "deploy" / "helm" / "values.yaml"
KNOWN = {
    "": "global imagePullSecrets serviceAccount rbacEnabled generatePostgresqlPasswordSecret "
    "generateCeleryConfigSecret postgresql rabbitmq redis flower ingress telemetry migrate dagsterWebserver "
    "dagsterDaemon dagster-user-deployments runLauncher computeLogManager pythonLogs concurrency retention "
    "additionalInstanceConfig",
    "global": "postgresqlSecretName dagsterHome serviceAccountName celeryConfigSecretName dagsterInstanceConfigMap",
    "dagsterDaemon": "enabled image runCoordinator heartbeatTolerance env envConfigMaps envSecrets labels nodeSelector "
    "affinity tolerations podSecurityContext securityContext resources livenessProbe readinessProbe startupProbe "
    "annotations runMonitoring runRetries sensors schedules volumes volumeMounts deploymentLabels schedulerName",
    "dagsterWebserver": "replicaCount image service env envConfigMaps envSecrets labels nodeSelector affinity "
    "tolerations podSecurityContext securityContext resources livenessProbe readinessProbe startupProbe annotations "
    "enableReadOnly dbStatementTimeout dbPoolRecycle logLevel volumes volumeMounts workspace pathPrefix nameOverride",
    "runLauncher.config.k8sRunLauncher": "image imagePullPolicy jobNamespace loadInclusterConfig kubeconfigFile "
    "envConfigMaps envSecrets envVars volumes volumeMounts labels failPodOnRunFailure resources schedulerName "
    "securityContext runK8sConfig",
    "dagsterDaemon.runMonitoring": "enabled startTimeoutSeconds cancelTimeoutSeconds maxResumeRunAttempts "
    "pollIntervalSeconds freeSlotsAfterRunEndSeconds",
    "dagsterDaemon.runRetries": "enabled maxRetries retryOnAssetOrOpFailure",
    "concurrency": "enabled pools runs",
    "concurrency.pools": "defaultLimit granularity opGranularityRunBuffer",
    "concurrency.runs": "maxConcurrentRuns tagConcurrencyLimits",
}
"""Path in the values -> names that the chart's schema has there."""
DEPLOYMENT = (
    "name image port dagsterApiGrpcArgs codeServerArgs includeConfigInLaunchedRuns env envConfigMaps envSecrets "
    "annotations nodeSelector affinity tolerations podSecurityContext securityContext resources livenessProbe "
    "readinessProbe startupProbe labels volumes volumeMounts schedulerName"
)
"""Names of one deployment of user code."""


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """The file."""
    return dict(yaml.safe_load(VALUES.read_text(encoding="utf-8")))


def at(values: dict[str, Any], path: str) -> dict[str, Any]:
    """A part of the values."""
    for name in filter(None, path.split(".")):
        values = values[name]
    return values


@pytest.mark.parametrize("path", KNOWN)
def test_the_chart_knows_every_name(values: dict[str, Any], path: str) -> None:
    assert set(at(values, path)) - set(KNOWN[path].split()) == set()


def snake(told: Any) -> Any:
    """Names of the chart as Dagster's configuration writes them; what is Kubernetes' own stays."""
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): value for name, value in told.items()}


def test_the_launcher_accepts_its_part(values: dict[str, Any]) -> None:
    told = snake(at(values, "runLauncher.config.k8sRunLauncher"))
    told["env_config_maps"] = [source["name"] for source in told["env_config_maps"]]
    told["env_secrets"] = [source["name"] for source in told["env_secrets"]]
    told["run_k8s_config"] = snake(told["run_k8s_config"])
    told |= {"service_account_name": "defiyield-launcher", "instance_config_map": "dagster-instance"}
    result = process_config(K8sRunLauncher.config_type(), told | {"dagster_home": "/app/home"})
    assert result.success, result.errors
    assert told["run_k8s_config"]["pod_spec_config"]["automountServiceAccountToken"] is False


def described(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What runs, as the values describe it."""
    (code,) = values["dagster-user-deployments"]["deployments"]
    return [values["dagsterWebserver"], values["dagsterDaemon"], code]


def test_pods_are_valid_locked_and_pinned(values: dict[str, Any]) -> None:
    (code,) = values["dagster-user-deployments"]["deployments"]
    assert set(code) <= set(DEPLOYMENT.split())
    for told in described(values):
        container = {
            "name": "one",
            "image": "{repository}:{tag}".format(**told["image"]),
            "envFrom": [{"configMapRef": one} for one in told["envConfigMaps"]]
            + [{"secretRef": one} for one in told["envSecrets"]],
            **{
                name: told[name]
                for name in ("securityContext", "resources", "volumeMounts", "livenessProbe", "readinessProbe")
                if name in told
            },
        }
        spec = {"containers": [container], "volumes": told["volumes"], "securityContext": told["podSecurityContext"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
        kubernetes_validate.validate(pod, "1.31.0", strict=True)
        assert re.search(r":\d+\.\d+\.\d+$", container["image"])
        assert told["podSecurityContext"]["runAsNonRoot"]
        assert told["podSecurityContext"]["runAsUser"] > 0
        assert told["securityContext"]["readOnlyRootFilesystem"]
        assert told["resources"]["limits"]["memory"]


def test_probes_of_the_daemon_are_those_of_the_manifests(values: dict[str, Any]) -> None:
    path = PROJECT_ROOT / "deploy" / "kubernetes" / "base" / "daemon.yaml"
    (daemon,) = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["template"]["spec"]["containers"]
    kinds = ("livenessProbe", "readinessProbe", "startupProbe")
    assert {kind: values["dagsterDaemon"].get(kind) for kind in kinds} == {kind: daemon.get(kind) for kind in kinds}


def test_what_dagster_is_told_is_what_every_deployment_tells_it(values: dict[str, Any]) -> None:
    own = yaml.safe_load((PROJECT_ROOT / "deploy" / "dagster.postgres.yaml").read_text(encoding="utf-8"))
    concurrency, monitoring = values["concurrency"], values["dagsterDaemon"]["runMonitoring"]
    assert snake(concurrency["pools"]) == own["concurrency"]["pools"]
    assert concurrency["runs"]["tagConcurrencyLimits"] == own["concurrency"]["runs"]["tag_concurrency_limits"]
    assert monitoring["freeSlotsAfterRunEndSeconds"] == own["run_monitoring"]["free_slots_after_run_end_seconds"]
    assert snake(values["dagsterDaemon"]["runRetries"]) == own["run_retries"]
    assert values["computeLogManager"]["config"]["customComputeLogManager"] == own["compute_logs"]
    for name, told in values["additionalInstanceConfig"].items():
        assert told == own[name]
    assert snake(values["pythonLogs"]) == own["python_logs"]
    assert values["telemetry"]["enabled"] is False


def test_no_value_is_a_secret() -> None:
    text = VALUES.read_text(encoding="utf-8")
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text)
    assert not [name for name in secret_fields() if f"DEFIYIELD_{name.upper()}" in text]
    assert "postgresqlPassword:" not in text
