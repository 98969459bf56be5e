"""The manifests for Kubernetes: by the schemas of their kinds, and by what they promise."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deployment import DEPLOY, ROOT, constraint, documents, schema, strings
from jsonschema import Draft202012Validator

FOLDER = DEPLOY / "kuberay"
ALL = [(path.name, one) for path in sorted(FOLDER.glob("*.yaml")) for one in documents(path)]
CUSTOM = schema("custom_resources")
OBJECTS = [(f"{name}-{one['kind']}", one) for name, one in ALL if one["kind"] != "Kustomization"]
CORE = [pytest.param(one, id=name) for name, one in OBJECTS if one["kind"] not in CUSTOM]
FOREIGN = [pytest.param(one, id=name) for name, one in OBJECTS if one["kind"] in CUSTOM]
(CLUSTER,) = documents(FOLDER / "raycluster.yaml")
(JOB,) = documents(FOLDER / "rayjob.yaml")
SPECS = {"RayCluster": CLUSTER["spec"], "RayJob": JOB["spec"]["rayClusterSpec"]}


def templates(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The pods of a cluster, the head first."""
    return [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]


PODS = [
    pytest.param(template, id=f"{kind}-{place}")
    for kind, spec in SPECS.items()
    for place, template in enumerate(templates(spec))
]
PODS += [pytest.param(JOB["spec"]["submitterPodTemplate"], id="submitter")]
PODS += [
    pytest.param(one["spec"]["template"], id=one["metadata"]["name"]) for _, one in ALL if one["kind"] == "StatefulSet"
]


@pytest.mark.parametrize("one", CORE)
def test_kubernetes_takes_it(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, "1.31", strict=True)


@pytest.mark.parametrize("one", FOREIGN)
def test_the_fields_of_custom_resources_are_known(one: dict[str, Any]) -> None:
    found = [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(CUSTOM[one["kind"]]).iter_errors(one)
    ]
    assert found == []


@pytest.mark.parametrize("template", PODS)
def test_kubernetes_takes_the_pods_in_it(template: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": template["spec"]}
    kubernetes_validate.validate(pod, "1.31", strict=True)


@pytest.mark.parametrize("template", PODS)
def test_a_pod_may_do_little(template: dict[str, Any]) -> None:
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= set(container["resources"])
        assert not container["image"].endswith(":latest")


@pytest.mark.parametrize("template", PODS)
def test_what_is_mounted_is_a_volume(template: dict[str, Any]) -> None:
    spec = template["spec"]
    claims = [
        one["metadata"]["name"] for _, whole in ALL for one in whole.get("spec", {}).get("volumeClaimTemplates", ())
    ]
    volumes = {one["name"] for one in spec.get("volumes", ())} | set(claims)
    mounted = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", ())}
    assert mounted <= volumes


@pytest.mark.parametrize("kind", SPECS)
def test_the_cluster_asks_for_a_token_and_tells_nobody(kind: str) -> None:
    spec = SPECS[kind]
    assert spec["authOptions"] == {"mode": "token", "secretName": "cellwright-token"}
    assert spec["rayVersion"] == constraint("ray")
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert {group["rayStartParams"]["disable-usage-stats"] for group in groups} == {"true"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for template in templates(spec):
        (container,) = template["spec"]["containers"]
        roles = [one["value"] for one in container["env"] if one["name"] == "CELLWRIGHT_ROLE"]
        assert roles == [container["name"].removeprefix("ray-")]
        assert container["livenessProbe"]["exec"]["command"] == ["healthcheck.py"]


def test_a_head_that_is_replaced_finds_what_it_knew() -> None:
    service = next(one for _, one in ALL if one["kind"] == "Service")
    address = CLUSTER["spec"]["gcsFaultToleranceOptions"]["redisAddress"]
    assert address == f"{service['metadata']['name']}.cellwright.svc:{service['spec']['ports'][0]['port']}"
    (redis,) = (one for _, one in ALL if one["kind"] == "StatefulSet")
    secrets = [one["valueFrom"]["secretKeyRef"] for one in redis["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert secrets == [CLUSTER["spec"]["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]]


def test_prometheus_finds_ports_that_pods_have() -> None:
    monitors = {one["metadata"]["name"]: one["spec"] for _, one in ALL if one["kind"] == "PodMonitor"}
    for spec in SPECS.values():
        ports = [
            {port["name"] for one in template["spec"]["containers"] for port in one["ports"]}
            for template in templates(spec)
        ]
        assert all(monitors["cellwright-ray"]["podMetricsEndpoints"][0]["port"] in names for names in ports)
        assert monitors["cellwright-drivers"]["podMetricsEndpoints"][0]["port"] in ports[0]
    (endpoint,) = monitors["cellwright-drivers"]["podMetricsEndpoints"]
    assert (endpoint["scheme"], "authorization" in endpoint) == ("https", True)


def test_the_operator_is_given_the_rules_as_they_are() -> None:
    (command,) = re.findall(
        r"^\(printf.*?\) \| kubectl", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL | re.MULTILINE
    )
    said = subprocess.run(["sh", "-c", command.removesuffix("| kubectl")], cwd=ROOT, capture_output=True, check=True)
    resource = yaml.safe_load(said.stdout)
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    labels = next(one["metadata"]["labels"] for _, one in ALL if one["kind"] == "PodMonitor")
    assert resource["metadata"]["labels"].items() <= labels.items()


def test_whoever_needs_the_cluster_is_let_in_and_nobody_elses_pods() -> None:
    (policy, _) = (one["spec"] for _, one in ALL if one["kind"] == "NetworkPolicy")
    inside = [
        peer["podSelector"]["matchLabels"]
        for rule in policy["ingress"]
        for peer in rule["from"]
        if "podSelector" in peer and "ports" in rule
    ]
    submitter = JOB["spec"]["submitterPodTemplate"]["metadata"]["labels"]
    assert inside == [{"cellwright-client": "true"}]  # and not what KubeRay writes on pods of everybody's clusters
    assert inside[0].items() <= submitter.items()


def test_what_is_applied_is_there_and_no_secret_is_written_down() -> None:
    (kustomization,) = (one for _, one in ALL if one["kind"] == "Kustomization")
    assert all((FOLDER / name).is_file() for name in kustomization["resources"])
    assert not [one for _, one in ALL if one["kind"] == "Secret"]
    texts = [text for _, one in ALL for text in strings(one)]
    assert not any(re.search(r"://[^/@\s]*:[^/@\s]*@", text) for text in texts)


def test_the_job_reads_what_is_mounted() -> None:
    _, name, path = JOB["spec"]["entrypoint"].split()
    for template in templates(SPECS["RayJob"]):
        mounts = {mount["mountPath"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
        assert path.rpartition("/")[0] in mounts
    assert name == JOB["metadata"]["name"]
