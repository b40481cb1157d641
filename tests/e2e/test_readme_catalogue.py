"""What the README says of the catalogue, carried out as it stands there."""

import asyncio
import io
import json
import os
import re
from pathlib import Path

from PIL import Image

from tests.e2e.service import Service
from tests.e2e.test_commands import bearer

README = Path(__file__).parents[2] / "README.md"


async def test_the_readmes_commands_run(service: Service, tmp_path: Path) -> None:
    section = README.read_text().partition("## The catalogue\n")[2].partition("\n## ")[0]
    (script,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    script = script.replace("localhost:8700", service.api)
    out = io.BytesIO()
    Image.new("RGB", (800, 600), "teal").save(out, "JPEG")
    (tmp_path / "mug.jpg").write_bytes(out.getvalue())
    bash = await asyncio.create_subprocess_exec(
        *("bash", "-euc", f'curl() {{ command curl -sS --fail-with-body "$@"; echo; }}\n{script}'),
        cwd=tmp_path,
        env={**os.environ, "STAFF": f"Authorization: {bearer(service)['Authorization']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(bash.communicate(), 120)
    assert bash.returncode == 0, told.decode()
    answers = [json.loads(line) for line in told.decode().splitlines()]
    assert len(answers) == script.count("curl ") == 9
    assert [one["product_id"] for one in answers[2]["products"]] == ["mug"]
    assert answers[3]["brand"] == "Potter"
    assert [one["id"] for one in answers[4]["variants"]] == ["mug-blue", "mug-red"]
    assert (answers[6]["on_hand"], answers[6]["low"]) == (48, False)
