"""Clients generated from docs/openapi.json: they compile, their types fit, and they do the textbook step."""

import compileall
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Server

FOLDER = ROOT / "tests" / "clients"
PACKAGES = Path(os.environ.get("NODE_PACKAGES", ROOT / "clients" / "typescript" / "node_modules"))
"""Where the packages of package.json are: CI says it, and `make client` installs them here."""
PRINTED = """\
1.6172337500003393
1.5804085248346667
/problems/shape-mismatch /network/layers/0/weights
(y - t)^2. Elementwise: the mean divides by batch and outputs.
"""
NOT_TAKEN = "Unsupported content type application/vnd.safetensors"


def run(command: list[str | Path], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same_numbers(printed: str) -> bool:
    """The last digits of a loss are those of the processor's BLAS."""
    lines, expected = printed.splitlines(), PRINTED.splitlines()
    numbers = [float(line) for line in lines[:2]]
    return lines[2:] == expected[2:] and numbers == pytest.approx([float(line) for line in expected[:2]], rel=1e-13)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_python(server: Server, tmp_path: Path) -> None:
    said = run(["bash", FOLDER / "generate.sh", "python", tmp_path / "chainrule_client"], ROOT)
    assert [line for line in said.splitlines() if line.startswith("Unsupported") and line != NOT_TAKEN] == []
    shutil.copy(FOLDER / "textbook.py", tmp_path)
    assert compileall.compile_dir(tmp_path, quiet=1)
    run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--follow-imports=silent", "textbook.py"], tmp_path
    )
    assert same_numbers(run([sys.executable, "textbook.py", server.url], tmp_path))
    modules = [path.stem for path in (tmp_path / "chainrule_client" / "api").rglob("*.py")]
    assert {"initialize", "forward", "backward", "step", "train", "evaluate", "get_catalog"} <= set(modules)


@pytest.mark.skipif(
    shutil.which("node") is None or not PACKAGES.is_dir(),
    reason="node is not installed, or its packages are not: make client installs them",
)
def test_typescript(server: Server, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    run(["bash", FOLDER / "generate.sh", "typescript", tmp_path], ROOT)
    shutil.copy(FOLDER / "textbook.ts", tmp_path)
    run(["node_modules/.bin/tsc", "--project", "."], tmp_path)
    assert same_numbers(run(["node", "build/textbook.js", server.url], tmp_path))
