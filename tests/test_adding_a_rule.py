"""Adding an activation takes one class and its place in the union; everything else follows by itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

CLASS = '''
@dataclass(frozen=True, slots=True)
class Squareplus:
    """(z + sqrt(z^2 + b)) / 2.

    Source: Barron 2021, arXiv:2112.11687.
    """

    kind: Literal["squareplus"] = "squareplus"
    b: float = hyper(4.0, ge=0.0, description="How wide the bend is.")
    about: ClassVar = About("Squareplus", "(z + sqrt(z^2 + b)) / 2", "(1 + z / sqrt(z^2 + b)) / 2", "...")

    def forward(self, z: Array) -> Array:
        return (z + np.sqrt(z * z + self.b)) / 2

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * (1 + z / np.sqrt(z * z + self.b)) / 2


Activation = (
    Squareplus
    | '''

SCRIPT = """
import json
from app.main import create_app
from app.routes import backward
from schemas.catalog import catalog
from schemas.requests import BackwardRequest
layer = {"weights": [[1.0]], "bias": None, "activation": {"kind": "squareplus", "b": 1.0}}
request = {"network": {"layers": [layer]}, "inputs": [[0.0]], "targets": [[0.0]], "loss": "mse"}
print(json.dumps({
    "catalog": "squareplus" in [entry["kind"] for entry in catalog()["activations"]],
    "openapi": "SquareplusActivation" in create_app().openapi()["components"]["schemas"],
    "output": float(backward(BackwardRequest.model_validate(request))["outputs"][0, 0]),
}))
"""


def test_one_class_and_its_place_in_the_union(tmp_path: Path) -> None:
    for folder in ("app", "schemas", "engine", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "golden"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "engine" / "activations.py"
    text = file.read_text()
    assert text.count("\nActivation = (\n    ") == 1
    file.write_text(text.replace("\nActivation = (\n    ", CLASS))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = [sys.executable, "-c", SCRIPT]
    seen = json.loads(subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, check=True).stdout)
    assert seen == {"catalog": True, "openapi": True, "output": 0.5}
    files, chosen = ("tests/test_rules.py", "tests/engine/test_activations.py"), "Squareplus and (documented or slopes)"
    pytest = [sys.executable, "-m", "pytest", "-q", *files, "-k", chosen, "-p", "no:cacheprovider"]
    done = subprocess.run(pytest, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    broken = file.read_text().replace("return grad * (1 + z / np.sqrt", "return grad * (1 - z / np.sqrt")
    file.write_text(broken)
    done = subprocess.run(pytest, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, "the gradient test does not see the new activation"
