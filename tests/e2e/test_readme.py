"""What the READMEs say to type, typed."""

import asyncio
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

ROOT = Path(__file__).parents[2]
README, SELLING = ROOT / "README.md", ROOT / "app" / "commands" / "README.md"
LEARNING = ROOT / "ml_online" / "README.md"
ASKING = ROOT / "app" / "reports" / "README.md"
ONE_A_LINE = 'curl() { command curl -sS --fail-with-body "$@"; echo; }\n'


def script_of(file: Path, section: str) -> str:
    """The one script of a section."""
    text = file.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    (script,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return str(script)


async def typed(
    service: Service, script: str, folder: Path | None = None, **environment: str
) -> str:
    """What a shell says to a script, every command of which has to succeed."""
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c"),
        script.replace("localhost:8700", service.api),
        cwd=folder,
        env={**service.environment, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        said, complaints = await shell.communicate()
    assert shell.returncode == 0, said.decode() + complaints.decode()
    assert '"status":4' not in said.decode(), said.decode()
    return said.decode()


def last_of(said: str, field: str) -> Mapping[str, Any]:
    """The last answer that begins with this field."""
    found: Mapping[str, Any]
    found, _ = json.JSONDecoder().raw_decode(said, said.rindex(f'{{"{field}"'))
    return found


async def test_something_is_sold(service: Service) -> None:
    order = last_of(await typed(service, script_of(README, "Selling")), "order_id")
    assert (order["status"], order["total"]) == ("completed", "19.80")


async def test_an_order_goes_from_its_placing_to_a_refund(service: Service) -> None:
    last = last_of(await typed(service, script_of(SELLING, "Orders")), "order_id")
    assert (last["status"], last["given_back"], last["left"]) == ("delivered", "9.90", "9.90")


async def test_accounts_are_made(service: Service) -> None:
    last = last_of(await typed(service, script_of(SELLING, "Who may")), "user_id")
    assert (last["role"], last["phone"], last["name"]) == ("staff", "+1 555 0100", "Grace Hopper")


async def test_a_catalogue_is_kept(service: Service, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (800, 600), "teal").save(picture, "JPEG")
    script = script_of(SELLING, "The catalogue")
    (tmp_path / "jug.jpg").write_bytes(picture.getvalue())
    staff = f"Authorization: {bearer(service)['Authorization']}"
    said = await typed(service, ONE_A_LINE + script, tmp_path, STAFF=staff)
    answers = [json.loads(line) for line in said.splitlines()]
    assert len(answers) == script.count("curl ") == 9
    assert [one["product_id"] for one in answers[2]["products"]] == ["jug"]
    assert answers[3]["brand"] == "Potter"
    assert [one["id"] for one in answers[4]["variants"]] == ["jug-blue", "jug-red"]
    assert (answers[6]["on_hand"], answers[6]["low"]) == (48, False)


async def test_days_to_come_are_planned(service: Service) -> None:
    staff = f"Authorization: {bearer(service)['Authorization']}"
    said = await typed(service, ONE_A_LINE + script_of(SELLING, "The calendar"), STAFF=staff)
    answers = [json.loads(line) for line in said.splitlines()]
    assert [one.get("withdrawn") for one in answers] == [False, False, None, True]


async def test_every_number_is_asked(service: Service, tmp_path: Path) -> None:
    said = await typed(service, ONE_A_LINE + script_of(README, "Every number"), tmp_path)
    assert "event: snapshot" in said
    assert [file.suffix for file in tmp_path.iterdir()] == [".xlsx"]
    said = await typed(service, ONE_A_LINE + script_of(ASKING, "Asking"), tmp_path)
    assert said.count('"complete_to"') >= 7
    assert len(list(tmp_path.iterdir())) >= 2
    await typed(service, ONE_A_LINE + script_of(ASKING, "As it was known then"))


async def test_amounts_are_converted(service: Service) -> None:
    staff = f"Authorization: {bearer(service)['Authorization']}"
    script = script_of(ASKING, "Several currencies, and the year before")
    said = await typed(service, ONE_A_LINE + script, STAFF=staff)
    assert json.loads(said.splitlines()[-1])["report"] == "net"


async def test_an_experiment_is_run(service: Service) -> None:
    staff = f"Authorization: {bearer(service)['Authorization']}"
    said = await typed(service, ONE_A_LINE + script_of(LEARNING, "Experiments"), STAFF=staff)
    assert said.count('"arm":') >= 3
    assert "event: snapshot" in said
    assert '"left_to_everyone":"green"' in said
