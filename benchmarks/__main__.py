"""`make bench`: every figure is a ratio of alternated runs, with its spread."""

import os
import platform
from importlib.metadata import version

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

from benchmarks import step, training  # noqa: E402

names = ", ".join(f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "numpy", "pydantic", "scikit-learn"))
print(f"Python {platform.python_version()}, {names}, {os.cpu_count()} cores\n")
step.main()
training.main()
