"""compose.yaml: by the specification, and by what it promises about ports, secrets and restarts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from deployment import DEPLOY, documents, schema, strings
from jsonschema import Draft202012Validator

(COMPOSE,) = documents(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("head", "worker", "dashboard", "cli")


def test_it_is_a_compose_file() -> None:
    found = [error.message for error in Draft202012Validator(schema("compose")).iter_errors(COMPOSE)]
    assert found == []


def test_all_is_there_that_is_promised() -> None:
    assert set(SERVICES) == {*OURS, "postgres", "prometheus", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_reached_from_this_machine_alone(name: str) -> None:
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in SERVICES[name].get("ports", ()))
    assert SERVICES[name].get("network_mode", "") in ("", "service:head")
    assert "privileged" not in SERVICES[name]


def test_no_port_is_taken_twice() -> None:
    ports = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(set(ports)) == len(ports)
    assert {"8265", "8780", "9090", "3000"} == set(ports)


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_that_are_made(name: str) -> None:
    made = (DEPLOY / "secrets.sh").read_text()
    for secret in SERVICES[name].get("secrets", ()):
        assert COMPOSE["secrets"][secret]["file"] == f"./secrets/{secret}"
        assert secret in made
    named = set(re.findall(r"/run/secrets/(\w+)", " ".join(strings(SERVICES[name]))))
    assert named <= set(SERVICES[name].get("secrets", ()))
    environment = SERVICES[name].get("environment", {})
    shown = {key: value for key, value in environment.items() if re.search("PASSWORD|TOKEN|SECRET|KEY", key)}
    assert all(str(value).startswith("/run/secrets/") for value in shown.values())
    assert not any(re.search(r"://[^/@\s]*:[^/@\s]*@", text) for text in strings(SERVICES[name]))


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_named_is_there(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("depends_on", ())) <= set(SERVICES)
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source.startswith("${") or (DEPLOY / source).exists()
    if "build" in service:
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    for word in service.get("command", ()):
        assert not word.endswith(".sh") or (DEPLOY / word).is_file()


def test_jobs_are_in_the_folder_where_the_command_is_said() -> None:
    """Compose takes a relative path to begin at its file, wherever it is called."""
    assert SERVICES["cli"]["volumes"][-1] == "${JOBS:-${PWD}}:/jobs"
    assert "WORKDIR /jobs" in (DEPLOY / "Dockerfile").read_text()


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert service["read_only"]
    assert service["environment"]["NAS_HOME"] == "postgresql://cellwright@postgres/cellwright"


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OURS])
def test_other_images_are_pinned(name: str) -> None:
    assert re.search(r":v?\d+\.\d+(\.\d+)?[\w.-]*$", SERVICES[name]["image"])


def test_ray_asks_for_a_token_and_tells_nobody() -> None:
    for name in ("head", "worker", "cli"):
        assert SERVICES[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert SERVICES[name]["environment"]["RAY_USAGE_STATS_ENABLED"] == "0"
        assert "ray_token" in SERVICES[name]["secrets"]


def test_what_stays_up_is_started_again() -> None:
    assert {service["restart"] for name, service in SERVICES.items() if name != "cli"} == {"unless-stopped"}
    assert SERVICES["cli"]["restart"] == "no"
