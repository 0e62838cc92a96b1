"""The settings, from the environment; everything about mathematics belongs in the request."""

import os
import re
from collections.abc import Callable
from functools import cache, cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.limits import Limits
from schemas.names import nearest

PREFIX = "CHAINRULE_"
OF_OTHERS = (f"{PREFIX}PORT_", f"{PREFIX}SERVICE_", f"{PREFIX}METRICS_")
"""What Kubernetes sets for a service of this name, and what we hand to our own processes. CHAINRULE_PORT is also
Kubernetes's, where it is a URL."""
HOST = re.compile(r"\*|[\w.-]+", re.ASCII)
ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s*A-Z]+")
LIMITS = Limits()
"""The defaults of the limits of one request."""


class Settings(BaseSettings):
    """Every setting has the prefix CHAINRULE_, but for HOST and PORT."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, allow_inf_nan=False)

    host: str = Field("127.0.0.1", min_length=1, validation_alias="HOST")
    port: int = Field(8000, ge=0, le=65535, validation_alias="PORT")
    workers: int = Field(1, ge=1, le=1024, description="How many processes serve.")
    drain_seconds: float = Field(1.0, ge=0, description="How long a server that was told to stop goes on accepting.")
    shutdown_seconds: float = Field(15.0, ge=1, description="How long it then finishes what it has accepted.")
    max_body_bytes: int = Field(64 * 2**20, ge=1, description="The largest body that is read.")
    max_header_bytes: int = Field(32 * 2**10, ge=1024, description="The most bytes of a request's headers.")
    max_header_seconds: float = Field(10.0, gt=0, description="How long the headers of a request may take.")
    max_body_seconds: float = Field(60.0, gt=0, description="How long a whole request may take to arrive.")
    max_write_seconds: float = Field(30.0, gt=0, description="How long a client may not take any of its answer.")
    max_idle_seconds: float = Field(60.0, gt=0, description="How long a connection is kept between two requests.")
    max_connections: int = Field(1000, ge=1, description="The most connections of a worker.")
    max_layers: int = Field(LIMITS.layers, ge=1, description="The most layers of a network.")
    max_numbers: int = Field(LIMITS.numbers, ge=1, description="The most numbers that the server holds for a request.")
    max_work: int = Field(LIMITS.work, ge=1, description="The most multiplications of a request, as estimated.")
    max_seconds: float = Field(300.0, gt=0, description="How long a training run may take.")
    keep_alive_seconds: float = Field(15.0, gt=0, description="How long an event stream may be quiet.")
    max_threads: int = Field(2, ge=1, description="How many large requests are computed at once.")
    max_queue: int = Field(16, ge=0, description="How many large requests wait for that.")
    max_queue_seconds: float = Field(10.0, gt=0, description="How long a large request waits at most.")

    allowed_hosts: str = Field("", description="Names of this server beside addresses and names without a dot; or *.")
    cors_origins: str = Field("", description="Origins whose pages may read answers, separated by commas; or *.")
    trusted_proxies: str = Field("", description="Addresses of proxies whose X-Forwarded-For counts; or *.")
    api_keys: str = Field("", description="SHA-256 digests of the API keys, separated by commas.")
    api_keys_file: Path | None = Field(None, description="A file with one such digest, and a name, on each line.")
    rate_limit: int = Field(0, ge=0, description="Units of cost a minute for each key or address; 0: no limit.")

    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="How log lines are written: text on a terminal and JSON elsewhere, or always one of them."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least level that is written; requests are info, of probes debug, answered 500 error."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        return _entries(value, HOST.fullmatch, "the name of a host, without scheme and port")

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        return _entries(value, ORIGIN.fullmatch, "an origin as browsers send it, such as https://course.example.org")

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: str) -> str:
        return value if value == "*" else _entries(value, _is_address, "an address, or a network such as 10.0.0.0/8")

    @cached_property
    def limits(self) -> Limits:
        return Limits(layers=self.max_layers, numbers=self.max_numbers, work=self.max_work)


def _entries(value: str, fits: Callable[[str], object], expected: str) -> str:
    """A list separated by commas, as it is; an entry that nothing could ever equal is an error, not a silent no."""
    for entry in filter(None, map(str.strip, value.split(","))):
        if not fits(entry):
            raise PydanticCustomError("entry", "'{entry}' is not {expected}", {"entry": entry, "expected": expected})
    return value


def _is_address(entry: str) -> bool:
    try:
        ip_network(entry) if "/" in entry else ip_address(entry)
    except ValueError:
        return False
    return True


@cache
def settings() -> Settings:
    return Settings()


def variable(field: str) -> str:
    """The environment's name for a setting."""
    return field if field.isupper() else PREFIX + field.upper()


def unknown_variables() -> list[tuple[str, str]]:
    """The variables that have the prefix and are no setting, each with a hint."""
    known = [variable(str(field.validation_alias or name)) for name, field in Settings.model_fields.items()]
    found = []
    for name, value in sorted(os.environ.items()):
        of_others = name.startswith(OF_OTHERS) or (name == f"{PREFIX}PORT" and "://" in value)
        if name.startswith(PREFIX) and name not in known and not of_others:
            bare = name.removeprefix(PREFIX)
            found.append((name, nearest(bare if bare in known else name, known) or ""))
    return found
