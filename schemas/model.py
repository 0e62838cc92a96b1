"""The base of every request, and of what it is made of."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Unknown fields are refused; what was validated does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
