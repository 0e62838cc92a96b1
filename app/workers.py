"""Several worker processes on one listening socket: started by fork, replaced when they die, stopped together."""

import os
import signal
import sys
import time
from collections.abc import Callable

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
REST_SECONDS = 0.5
"""A worker that lived shorter than this is replaced only after as long a rest, so that a broken one does not spin."""


class Workers:
    """Keeps `count` processes in `work` until SIGTERM or SIGINT; those that do not end in `grace` seconds are killed.

    `leave` gives back what the parent itself holds of the work: the system must not take connections for it any more.

    The parent has no threads and imported the application before it forks, so that a worker starts within
    milliseconds and shares the memory of the code.
    """

    def __init__(self, count: int, work: Callable[[], None], grace: float, leave: Callable[[], None]) -> None:
        self.count = count
        self.work = work
        self.grace = grace
        self.leave = leave
        self.started: dict[int, float] = {}
        self.ends: float | None = None

    def run(self) -> None:
        # Signals are blocked and waited for: none is lost, and none interrupts a fork.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for _ in range(self.count):
            self.start()
        while self.started:
            received = signal.sigtimedwait(SIGNALS, self.patience())
            if received is None:
                if self.ends is not None:
                    self.tell(signal.SIGKILL)
            elif received.si_signo != signal.SIGCHLD:
                self.ends = self.ends or time.monotonic() + self.grace
                self.leave()
                self.tell(signal.SIGTERM)
            self.replace_dead()

    def patience(self) -> float:
        return 3600.0 if self.ends is None else max(0.0, self.ends - time.monotonic())

    def start(self) -> None:
        pid = os.fork()
        if pid:
            self.started[pid] = time.monotonic()
            return
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self.work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)

    def tell(self, number: int) -> None:
        for pid in self.started:
            os.kill(pid, number)

    def replace_dead(self) -> None:
        while self.started:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            began = self.started.pop(pid, None)
            # The first process of a container also inherits the children of workers that died.
            if began is not None and self.ends is None:
                if time.monotonic() - began < REST_SECONDS:
                    time.sleep(REST_SECONDS)
                self.start()
