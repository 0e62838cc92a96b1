"""Serves Chainrule: `python -m app`, with HOST and PORT from the environment."""

import os

# BLAS reads these when NumPy is imported; small matrices lose more by threads than they gain.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import uvicorn  # noqa: E402

from app.main import create_app  # noqa: E402
from app.settings import settings  # noqa: E402


class Server(uvicorn.Server):
    """uvicorn's server, which tells the application when it begins to drain."""

    def handle_exit(self, sig: int, frame: object) -> None:
        self.config.app.state.draining = True  # type: ignore[union-attr]
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def main() -> None:
    config = uvicorn.Config(
        create_app(),
        host=settings().host,
        port=settings().port,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=15,
    )
    Server(config).run()


if __name__ == "__main__":
    main()
