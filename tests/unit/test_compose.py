"""docker-compose.yml: by the specification's own schema, and about things that exist.

It is not run here: no Docker is needed to develop Tillstream.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from app.cli.terminal import cli
from app.settings import Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(FILE)
    return found


def of_schema(file: Path) -> int:
    """check-jsonschema's exit code against the Compose Specification, which it carries."""
    options = ("--builtin-schema", "vendor.compose-spec", "--quiet")
    command = (str(Path(sys.executable).with_name("check-jsonschema")), *options, str(file))
    return subprocess.run(command, check=False).returncode


def test_it_is_of_the_compose_specification(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(FILE.read_text().replace("healthcheck:", "healthchek:"))
    assert of_schema(FILE) == 0
    assert of_schema(wrong) == 1


def test_every_setting_in_it_is_one_of_ours(compose: dict[str, Any]) -> None:
    known = {f"TILLSTREAM_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"TILLSTREAM_[A-Z_]+", FILE.read_text()))
    assert named <= known
    for name in ("api", "worker", "activity", "learner", "recommender"):
        servers = {"TILLSTREAM_KAFKA", "TILLSTREAM_POSTGRES", "TILLSTREAM_REDIS"}
        assert servers <= compose["services"][name]["environment"].keys()
        assert compose["services"][name]["env_file"] == [{"path": ".env", "required": False}]


def test_every_command_in_it_exists(compose: dict[str, Any]) -> None:
    commands = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]
    ours = [s for s in compose["services"].values() if s["image"] == "tillstream"]
    assert len(ours) == 5
    for service in ours:
        assert service["command"][0] in commands


def test_it_needs_a_write_key_of_ones_own(compose: dict[str, Any]) -> None:
    assert compose["services"]["api"]["environment"]["TILLSTREAM_WRITE_KEYS"].startswith(
        "${TILLSTREAM_WRITE_KEYS:?"
    )


def test_only_this_machine_is_let_in(compose: dict[str, Any]) -> None:
    ports = [port for s in compose["services"].values() for port in s.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_servers_are_pinned_healthy_before_use_and_keep_what_they_know(
    compose: dict[str, Any],
) -> None:
    servers = {n: s for n, s in compose["services"].items() if s["image"] != "tillstream"}
    for name, server in servers.items():
        assert re.search(r":\d", server["image"]), f"{name} has no version"
        assert server["healthcheck"]["test"]
    services = compose["services"].values()
    mounted = {volume.partition(":")[0] for s in services for volume in s.get("volumes", [])}
    kept = {"api", "kafka", "postgres", "learner", "recommender"}
    assert mounted == compose["volumes"].keys() == kept
    for name in ("api", "worker", "activity", "learner", "recommender"):
        awaited = compose["services"][name]["depends_on"]
        assert awaited == {server: {"condition": "service_healthy"} for server in servers}


def test_the_image_holds_every_package(compose: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    dockerfile = compose["services"]["api"]["build"]["dockerfile_inline"]
    copied = re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE)
    assert set(packages) <= set(copied)
    assert compose["services"]["worker"]["build"] == compose["services"]["api"]["build"]
