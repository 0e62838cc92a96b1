"""The framework alone: FastAPI answering a POST with nothing in it. The floor under everything else."""

from fastapi import FastAPI

app = FastAPI()


@app.post("/empty")
async def empty() -> dict[str, str]:
    return {}
