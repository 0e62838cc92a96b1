"""Serves Chainrule: `python -m app`, with HOST and PORT from the environment."""

import os

# BLAS reads these when NumPy is imported; small matrices lose more by threads than they gain, and the requests that are
# computed at the same time are the threads.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from app.server import serve  # noqa: E402
from app.settings import settings  # noqa: E402


def main() -> None:
    serve(settings().host, settings().port, settings().workers)


if __name__ == "__main__":
    main()
