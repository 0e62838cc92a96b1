"""The programs in examples/ do what they say, against a real server."""

import json
import re
import shutil
import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, Server

EXAMPLES = ROOT / "examples"


def says(*command: str) -> str:
    """What a program prints, or nothing where it is missing."""
    return (
        subprocess.run(command, capture_output=True, text=True, check=False).stdout if shutil.which(command[0]) else ""
    )


COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
NODE_VERSION = int((re.match(r"v(\d+)", says("node", "--version")) or [0, 0])[1])
CURL_AND_JQ = "--json" in says("curl", "--help", "all") and says("jq", "--version") and shutil.which("bash")

PYTHON = [sys.executable, str(EXAMPLES / "train_digits.py"), "--url"]
NODE = ["node", str(EXAMPLES / "train.mjs")]
SHELL = ["bash", str(EXAMPLES / "train.sh")]
FILES = [sys.executable, str(EXAMPLES / "safetensors_client.py"), "--url"]
NODE_FILES = ["node", str(EXAMPLES / "safetensors_client.mjs")]
needs_node = pytest.mark.skipif(NODE_VERSION < 18, reason="Node 18 or newer is not installed")
needs_shell = pytest.mark.skipif(not CURL_AND_JQ, reason="curl 7.82 or newer, jq or bash is not installed")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def output(command: list[str]) -> str:
    finished = run(command)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_digits_are_learned_and_plotted(server: Server, tmp_path: Path) -> None:
    plot = tmp_path / "loss.svg"
    printed = output([*PYTHON, server.url, "--epochs", "8", "--plot", str(plot)])
    epochs = re.findall(r"epoch (\d)/8", printed)
    assert epochs[0] == "1" and epochs[-1] == "8" and epochs == sorted(set(epochs))
    accuracy = re.search(r"Validation accuracy after 8 epochs: ([\d.]+)", printed)
    assert accuracy and float(accuracy[1]) > 0.95, printed
    svg = ElementTree.parse(plot).getroot()
    curves = svg.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(curve.attrib["points"].split()) for curve in curves] == [8, 8]


@needs_node
def test_xor_is_learned_in_javascript(server: Server) -> None:
    printed = output([*NODE, server.url])
    assert re.findall(r"([01]) xor ([01]) = ([01])", printed) == [
        tuple("000"),
        tuple("011"),
        tuple("101"),
        tuple("110"),
    ]
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < 0.01 < 0.5 < losses[0]


def test_a_network_is_trained_with_files(server: Server) -> None:
    printed = output([*FILES, server.url])
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < 0.1 < 2 < losses[0]
    assert "float64 (784, 256)" in printed


@needs_node
def test_xor_is_learned_with_files_in_javascript(server: Server) -> None:
    printed = output([*NODE_FILES, server.url])
    assert ["".join(row) for row in re.findall(r"([01]) xor ([01]) = ([01])", printed)] == ["000", "011", "101", "110"]
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < 0.01 < 0.5 < losses[0]


@pytest.fixture(scope="module")
def small() -> Iterator[Server]:
    """A server that takes no body of any size that matters."""
    with Server(CHAINRULE_MAX_BODY_BYTES="100") as running:
        yield running


@pytest.mark.parametrize("command", [FILES, pytest.param(NODE_FILES, marks=needs_node)], ids=["python", "node"])
def test_clients_of_files_print_the_problem(small: Server, command: list[str]) -> None:
    finished = run([*command, small.url])
    assert finished.returncode == 1
    assert "answered 413" in finished.stderr and "at most 100 bytes" in finished.stderr


@needs_shell
def test_a_circle_is_learned_in_the_shell(server: Server) -> None:
    printed = output([*SHELL, server.url])
    assert printed.startswith("epoch 1/60  loss ") and "\ntrained 60 epochs, loss 0.0" in printed
    accuracy = re.search(r"On points it has not seen: loss [\d.]+, accuracy ([\d.]+)", printed)
    assert accuracy and float(accuracy[1]) > 0.95, printed


def test_shards_add_up_to_the_whole(server: Server) -> None:
    program = [sys.executable, str(EXAMPLES / "shard_batch.py")]
    printed = output(program)  # starts three replicas of its own
    together, whole = re.findall(r"(?:together|all at once) +loss ([\d.]+)", printed)
    assert together == whole
    sizes = [int(size) for size in re.findall(r"(\d+) examples", printed)]
    assert len(sizes) == 3 and sum(sizes) == 1000 and len(set(sizes)) == 3
    difference = re.search(r"212 gradients; they differ by at most (\S+) of the largest", printed)
    assert difference and float(difference[1]) < 1e-13
    after = re.search(r"after one step +loss ([\d.]+)", printed)
    assert after and float(after[1]) < float(whole)
    assert "after one step" in output([*program, server.url, server.url])


@pytest.mark.parametrize(
    "command",
    [
        PYTHON,
        FILES,
        pytest.param(NODE, marks=needs_node),
        pytest.param(NODE_FILES, marks=needs_node),
        pytest.param(SHELL, marks=needs_shell),
    ],
)
def test_without_a_server_it_says_so(command: list[str]) -> None:
    with socket.socket() as closed:  # bound but not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        finished = run([*command, url])
    assert finished.returncode != 0
    assert f"No server at {url}" in finished.stderr and len(finished.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def check_gradients(tmp_path_factory: pytest.TempPathFactory) -> str:
    assert COMPILER is not None
    program = str(tmp_path_factory.mktemp("c") / "check_gradients")
    source = str(EXAMPLES / "check_gradients.c")
    strict = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    output([COMPILER, *strict, "-o", program, source, "-lm"])
    return program


@pytest.fixture(scope="module")
def gradients(check_gradients: str, client: httpx.Client) -> str:
    """The service's answer to the C program's request."""
    response = client.post("/v1/backward", json=json.loads(output([check_gradients, "--request"])))
    assert response.status_code == 200, response.text
    return response.text


@needs_compiler
def test_gradients_written_in_c_agree(check_gradients: str, gradients: str) -> None:
    agreed = run([check_gradients, "--compare"], input=gradients)
    assert (agreed.returncode, agreed.stdout) == (0, "All 47 numbers agree to 1e-12.\n"), agreed.stderr


@needs_compiler
def test_a_planted_mistake_is_found(check_gradients: str, gradients: str) -> None:
    broken = run([check_gradients, "--compare", "--break"], input=gradients)
    assert broken.returncode == 1
    *differing, summary = broken.stdout.splitlines()
    assert [line.split(":")[0] for line in differing] == [f"/layers/0/gradients/bias/{j}" for j in range(3)]
    assert summary == "3 of 47 numbers differ."


@needs_compiler
@pytest.mark.parametrize("answer", ["", "{", '{"title": "Something is missing", "status": 422}', "[" * 5000, "NaN"])
def test_what_is_no_answer_is_not_compared(check_gradients: str, answer: str) -> None:
    refused = run([check_gradients, "--compare"], input=answer)
    assert refused.returncode == 2 and not refused.stdout and refused.stderr
