"""What the README says to type, typed."""

import asyncio
import json
import re
from pathlib import Path

from tests.e2e.service import Service


async def test_an_order_as_the_readme_places_it(service: Service) -> None:
    section = Path("README.md").read_text().partition("\n## Orders\n")[2]
    (script,) = re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c"),
        script.replace("localhost:8700", service.api),
        env=dict(service.environment),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, _ = await shell.communicate()
    assert shell.returncode == 0, said.decode()
    last = json.JSONDecoder().raw_decode(said.decode(), said.decode().rindex('{"order_id"'))[0]
    assert (last["status"], last["given_back"], last["left"]) == ("delivered", "9.90", "9.90")


async def test_accounts_as_the_readme_makes_them(service: Service) -> None:
    section = Path("README.md").read_text().partition("\n## Who may\n")[2]
    (script,) = re.findall(r"```sh\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c"),
        script.replace("localhost:8700", service.api),
        env=dict(service.environment),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        said, _ = await shell.communicate()
    assert shell.returncode == 0, said.decode()
    assert "problem" not in said.decode()
    assert '"status":4' not in said.decode(), said.decode()
    last = json.JSONDecoder().raw_decode(said.decode(), said.decode().rindex('{"user_id"'))[0]
    assert (last["role"], last["phone"], last["name"]) == ("staff", "+1 555 0100", "Grace Hopper")
