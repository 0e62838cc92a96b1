"""The whole specification against the running service, by schemathesis: what it promises is what is answered."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import Server, searching

CONFIGURATION = str(Path(__file__).parent / "schemathesis.toml")
SCHEMATHESIS = [sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIGURATION, "run"]


def test_every_operation(server: Server) -> None:
    examples = searching(5, 200)
    phases = "examples,fuzzing" if examples == 5 else "examples,coverage,fuzzing,stateful"
    options = [f"--max-examples={examples}", f"--phases={phases}", "--no-color", "--generation-database=none"]
    run = [*SCHEMATHESIS, *options, f"{server.url}/openapi.json"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    counts = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counts and int(counts[1]) == int(counts[2]) > 10 * examples, done.stdout[-2000:]
