"""FastAPI with PyTorch: models of lists of floats, automatic differentiation, dictionaries returned."""

from fastapi import FastAPI

from benchmarks.peers.plain import StepRequest
from benchmarks.peers.torch_step import step

app = FastAPI()


@app.post("/step")
def torch_step(request: StepRequest):
    asked = request.model_dump()
    return step(asked["network"], asked["inputs"], asked["targets"], asked["optimizer"]["learning_rate"])
