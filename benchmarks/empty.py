"""The framework alone: FastAPI answering a POST with nothing in it, or with as many bytes. The floor under all else."""

import os

from fastapi import FastAPI, Request, Response

app = FastAPI()
ANSWER = os.urandom(int(os.environ.get("ANSWER_BYTES", "0")))


@app.post("/empty")
async def empty() -> dict[str, str]:
    return {}


@app.post("/bytes")
async def as_many_bytes(request: Request) -> Response:
    """Reads the whole body, whatever it is, and answers ANSWER_BYTES bytes."""
    await request.body()
    return Response(ANSWER, media_type="application/octet-stream")
