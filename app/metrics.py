"""What the service counts, for Prometheus at /metrics.

Every series that there can be has its cell beforehand, since routes and statuses are known: counting a request is a few
additions, without locks and labels, and several workers can be added up. prometheus-client writes the result.
docs/decisions/0006-counting.md says what this costs and what the library's own way did.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from threading import Lock

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from app import VERSION
from app.cells import Cells, PrivateCells, SharedCells


@dataclass(frozen=True, eq=False)
class Family:
    """A counter or a gauge, with at most one label, whose values are all known."""

    kind: type[CounterMetricFamily | GaugeMetricFamily]
    name: str
    meaning: str
    label: str = ""
    values: tuple[str, ...] = ("",)


NUMBERS = Family(CounterMetricFamily, "chainrule_numbers", "Numbers that accepted requests made the server hold.")
WORK = Family(CounterMetricFamily, "chainrule_work", "Multiplications of accepted requests, estimated beforehand.")
RUNS = Family(
    CounterMetricFamily,
    "chainrule_training_runs",
    "Training runs that ended, by what ended them.",
    "stopped_because",
    ("epochs", "early_stopping", "target_loss", "diverged", "deadline", "client_gone", "problem"),
)
EPOCHS = Family(CounterMetricFamily, "chainrule_training_epochs", "Epochs of training that were completed.")
DROPPED = Family(CounterMetricFamily, "chainrule_log_lines_dropped", "Log lines that nobody read in time.")
IN_PROGRESS = Family(GaugeMetricFamily, "chainrule_requests_in_progress", "Requests that are being answered.")
GATES = ("compute", "training")
SLOTS = Family(
    GaugeMetricFamily,
    "chainrule_slots",
    "Large computations that may run at once, of gates used so far.",
    "gate",
    GATES,
)
SLOTS_IN_USE = Family(GaugeMetricFamily, "chainrule_slots_in_use", "Large computations that run.", "gate", GATES)
QUEUE = Family(GaugeMetricFamily, "chainrule_queue_length", "Requests that wait for a slot.", "gate", GATES)
ROLES = ("worker", "annex")
PROCESSES = Family(
    GaugeMetricFamily, "chainrule_processes", "Workers answer requests; annexes compute the largest.", "role", ROLES
)
FAMILIES = (NUMBERS, WORK, RUNS, EPOCHS, DROPPED, IN_PROGRESS, SLOTS, SLOTS_IN_USE, QUEUE, PROCESSES)

STATUSES = (200, 304, 307, 400, 401, 404, 405, 406, 408, 413, 414, 415, 421, 422, 429, 431, 499, 500, 503)
"""499 is a client that went away before the answer, as in nginx."""
SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
           60.0, 300.0)  # fmt: skip
BYTES = tuple(4.0**k for k in range(4, 14))
HISTOGRAMS = (
    ("chainrule_request_duration_seconds", "From a request's head to the last byte of its answer.", SECONDS),
    ("chainrule_request_size_bytes", "Bytes of request bodies, as read.", BYTES),
    ("chainrule_response_size_bytes", "Bytes of answers, without their heads.", BYTES),
)
MOST_ROUTES = 64

# The cells: the process's id; the families; for each route its statuses (and one for others), then each histogram's sum
# and buckets (and one beyond the last bound).
PID = 0
*STARTS, ROUTES = accumulate((len(family.values) for family in FAMILIES), initial=1)
FIRST = dict(zip(FAMILIES, STARTS, strict=True))
DURATION = len(STATUSES) + 1
RECEIVED = DURATION + len(SECONDS) + 2
SENT = RECEIVED + len(BYTES) + 2
ROUTE_CELLS = SENT + len(BYTES) + 2
SIZE = ROUTES + MOST_ROUTES * ROUTE_CELLS
STATUS_CELL = {status: cell for cell, status in enumerate(STATUSES)}


class Metrics(Collector):
    """This process's cells, and the sum of every worker's as metrics."""

    def __init__(self, cells: PrivateCells | SharedCells, role: str = "worker") -> None:
        self.cells = cells
        self.role = role
        self.mine = cells.mine
        self.routes: Sequence[str] = ()
        self.lock = Lock()
        self.mine[PID] = os.getpid()
        for family in FAMILIES:  # what the last owner of the cells left: its counts go on, its state does not
            if family.kind is GaugeMetricFamily:
                for value in family.values:
                    self.set(family, 0, value)
        self.set(PROCESSES, 1, role)

    def add(self, family: Family, amount: float = 1, value: str = "") -> None:
        """Safe from any thread."""
        with self.lock:
            self.mine[FIRST[family] + family.values.index(value)] += amount

    def set(self, family: Family, amount: float, value: str = "") -> None:
        self.mine[FIRST[family] + family.values.index(value)] = amount

    def computation(self, numbers: int, work: int) -> None:
        """Counts what is computed now; safe from any thread."""
        with self.lock:
            self.mine[FIRST[NUMBERS]] += numbers
            self.mine[FIRST[WORK]] += work

    def gate(self, name: str, slots: int, in_use: int, waiting: int) -> None:
        """Tells how full a gate is; those of an annex are behind a worker's, and not told."""
        if self.role == "worker":
            for family, amount in ((SLOTS, slots), (SLOTS_IN_USE, in_use), (QUEUE, waiting)):
                self.set(family, amount, name)

    def request(self, route: int, status: int, seconds: float, received: int, sent: int) -> None:
        """Counts an answered request; from the event loop alone."""
        mine, at = self.mine, ROUTES + route * ROUTE_CELLS
        mine[at + STATUS_CELL.get(status, len(STATUSES))] += 1.0
        mine[at + DURATION] += seconds
        mine[at + DURATION + 1 + bisect_left(SECONDS, seconds)] += 1.0
        mine[at + RECEIVED] += received
        mine[at + RECEIVED + 1 + bisect_left(BYTES, received)] += 1.0
        mine[at + SENT] += sent
        mine[at + SENT + 1 + bisect_left(BYTES, sent)] += 1.0

    def collect(self) -> Iterator[Metric]:
        everyone = self.cells.everyone()
        alive = [cells for cells in everyone if cells.alive]
        totals, states = _sums(everyone), _sums(alive)
        info = GaugeMetricFamily(
            "chainrule_build_info", "Always 1; the label says which version this is.", labels=["version"]
        )
        info.add_metric([VERSION], 1)
        yield info
        for family in FAMILIES:
            numbers = totals if family.kind is CounterMetricFamily else states
            written = family.kind(family.name, family.meaning, labels=[family.label] if family.label else [])
            for cell, value in enumerate(family.values, FIRST[family]):
                written.add_metric([value] if family.label else [], numbers[cell])
            yield written
        yield from self._routes(totals)
        yield from _processes(alive)

    def _routes(self, totals: Sequence[float]) -> Iterator[Metric]:
        requests = CounterMetricFamily("chainrule_requests", "Answered requests.", labels=["route", "status"])
        histograms = [HistogramMetricFamily(name, meaning, labels=["route"]) for name, meaning, _ in HISTOGRAMS]
        for row, route in enumerate(self.routes):
            cells = totals[ROUTES + row * ROUTE_CELLS : ROUTES + (row + 1) * ROUTE_CELLS]
            for status, number in zip([*map(str, STATUSES), "other"], cells, strict=False):
                if number:
                    requests.add_metric([route, status], number)
            at = DURATION
            for histogram, (_, _, bounds) in zip(histograms, HISTOGRAMS, strict=True):
                below = list(accumulate(cells[at + 1 : at + 2 + len(bounds)]))
                if below[-1]:
                    les = [*map(floatToGoString, bounds), "+Inf"]
                    histogram.add_metric([route], list(zip(les, below, strict=True)), cells[at])
                at += len(bounds) + 2
        yield requests
        yield from histograms


def _sums(everyone: list[Cells]) -> list[float]:
    return [sum(column) for column in zip(*(cells.values for cells in everyone), strict=True)]


def _processes(alive: list[Cells]) -> Iterator[Metric]:
    """What /proc tells of each worker: memory, processor time, descriptors."""
    written: dict[str, Metric] = {}
    for cells in alive:
        role = next((role for cell, role in enumerate(ROLES, FIRST[PROCESSES]) if cells.values[cell]), None)
        if role is None:
            continue  # It has taken its cells, and is yet to say what it is.
        labels = {"role": role, "process": str(cells.process)}
        for metric in ProcessCollector(pid=partial(int, cells.values[PID]), registry=None).collect():
            kept = written.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            kept.samples += [sample._replace(labels=labels) for sample in metric.samples]
    yield from written.values()


DIRECTORY, ROLE = "CHAINRULE_METRICS_DIRECTORY", "CHAINRULE_METRICS_ROLE"
"""The folder of everyone's cells, and what a process is: told to children by the environment."""


def share(directory: Path | None) -> None:
    """Makes this process and its children count in this folder; called before it counts anything."""
    if directory is not None:
        os.environ[DIRECTORY] = str(directory)
    join("worker")


def join(role: str) -> None:
    """Says what this process is, among those that count in the folder."""
    os.environ[ROLE] = role
    metrics.cache_clear()


@cache
def metrics() -> Metrics:
    """This process's metrics."""
    directory, role = os.environ.get(DIRECTORY), os.environ.get(ROLE, "worker")
    if directory is not None:
        try:
            return Metrics(SharedCells(Path(directory), SIZE), role)
        except OSError:
            pass  # no room: this process is then seen only by those who happen to ask it
    return Metrics(PrivateCells(SIZE), role)


def exposition(accept: str) -> tuple[bytes, str]:
    """The metrics as text and its content type: OpenMetrics where the client asks for it."""
    registry = CollectorRegistry()
    registry.register(metrics())
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # a version that is no number
        encode, content_type = choose_encoder("")
    return encode(registry), content_type
