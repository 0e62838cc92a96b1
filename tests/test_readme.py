"""The README's commands give the answers that it prints."""

import json
import math
import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest

from tests.conftest import ROOT, Server

LAST_DIGITS = 1e-13
"""How far printed numbers may be off, relatively: kernels of BLAS for other processors add up in another order."""


def contains(answer: Any, part: Any) -> bool:
    """Whether every number and word of `part` stands in `answer`."""
    if isinstance(part, dict):
        return all(key in answer and contains(answer[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(answer) == len(part) and all(contains(a, p) for a, p in zip(answer, part, strict=True))
    if isinstance(part, float):
        return math.isclose(answer, part, rel_tol=LAST_DIGITS)
    return bool(answer == part)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_commands_and_answers(server: Server) -> None:
    readme = (ROOT / "README.md").read_text()
    pairs = re.findall(r"```sh\n(curl [^`]*?)```[^`]*```json\n(.*?)```", readme.replace("`gradients", ""), re.DOTALL)
    assert len(pairs) == 2
    for command, printed in pairs:
        words = shlex.split(command.replace("http://127.0.0.1:8000", server.url).replace("\\\n", " "))
        answer = json.loads(subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout)
        assert contains(answer, json.loads(printed)), answer


def test_the_example_file_is_the_textbook_example(textbook: dict[str, Any]) -> None:
    assert json.loads((ROOT / "examples" / "textbook.json").read_text()) == textbook


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_training_command_streams(server: Server, client: Any) -> None:
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"^curl -sN .*$", readme, re.MULTILINE)
    assert command
    words = shlex.split(command.group().replace("http://127.0.0.1:8000", server.url))
    text = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert text.startswith("event: progress\ndata: ")
    result = json.loads(text.rsplit("event: result\ndata: ", 1)[1])
    assert result["stopped_because"] == "target_loss"
    example = client.get("/v1/examples/train_xor").json()["request"]
    assert json.loads((ROOT / "examples" / "train_xor.json").read_text()) == example
