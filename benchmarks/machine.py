"""What a figure was measured on: machine, versions, and how to measure it again."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

PACKAGES = ("numpy", "fastapi", "starlette", "uvicorn", "uvloop", "pydantic", "orjson", "scikit-learn", "torch")


def describe() -> str:
    return f"""\
Every ratio is the median of the ratios of runs that alternate within one process or minute, with the smallest and the
largest of them beside it; every server is one process, asked over loopback on one connection that is kept alive, unless
a line says otherwise. Answers are compared before anything is timed. Written by `make bench`; `make bench QUICK=1`
prints the same from shorter runs, and `python -m benchmarks NAME` one section.

| | |
|---|---|
| machine | {processor()}, {os.cpu_count()} cores, {memory():.0f} GiB |
| other work on it | a load of {os.getloadavg()[0]:.1f} in the minute before |
| system | {platform.system()} {platform.release()}, Python {platform.python_version()} |
| BLAS | {blas()} |
| packages | {", ".join(f"{name} {installed(name)}" for name in PACKAGES)} |
"""


def processor() -> str:
    """The processor as the system names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def memory() -> float:
    """GiB of memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def blas() -> str:
    """The library that multiplies NumPy's matrices, its kernel and its threads."""
    import numpy  # noqa: F401, which loads it

    pools: list[dict[str, Any]] = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(
        f"{pool['internal_api']} {pool['version']}, kernel {pool.get('architecture', '?')}, one thread"
        for pool in pools
    )


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not installed"


if __name__ == "__main__":
    sys.stdout.write(describe())
