"""The history of a long run: as bytes from the start, and none where nobody asks for it."""

import tracemalloc
from functools import partial
from typing import Any

import pytest

from app.examples import EXAMPLES
from app.training import History, Run
from schemas import safetensors
from schemas.answers import write
from schemas.limits import Limits
from schemas.training import TrainRequest


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_history_is_written_as_its_rows_are(count: int) -> None:
    rows = [
        {
            "epoch": k + 1,
            "loss": 0.1 * 3 + k,
            "metrics": {"confusion_matrix": [[1, 0], [k, 2]]},
            "learning_rate": 1e-300,
        }
        for k in range(count)
    ]
    for written in (write, partial(write, encoding="base64"), safetensors.write):
        history = History()
        for row in rows:
            history.add(row)
        assert written({"history": history.written()}) == written({"history": rows})


def bytes_an_epoch(**more: Any) -> float:
    """By how much a run's memory grows with each of 3,000 epochs."""
    asked: dict[str, Any] = EXAMPLES["train_line"]["request"]
    asked = {key: value for key, value in asked.items() if key not in ("early_stopping", "validation")}
    asked |= {"epochs": 3000, "batch_size": None, "metrics": [], **more}
    events = Run(TrainRequest.model_validate(asked, context=Limits())).events()
    tracemalloc.start()
    try:
        first, before = next(events)[1], tracemalloc.get_traced_memory()[0]
        for _, content in events:
            if content.get("epoch") == 3000:
                return (tracemalloc.get_traced_memory()[0] - before) / (3000 - int(first["epoch"]))
    finally:
        tracemalloc.stop()
    raise AssertionError("the last epoch is told")


def test_an_epoch_takes_the_memory_of_its_text() -> None:
    """About 130 bytes and the room that they grow in, where a row's dictionary takes 330."""
    assert 100 < bytes_an_epoch() < 200


def test_a_history_that_is_not_asked_for_is_not_kept() -> None:
    assert bytes_an_epoch(include=["network", "completed_epochs"]) < 10
