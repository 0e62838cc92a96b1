"""Several worker processes on one listening socket: started by fork, replaced when they die, stopped together."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
LONGEST_WAIT = 3600.0
"""The system's clock takes no number of seconds that is beyond its own range."""
REST_SECONDS = 0.5
"""A worker that lived shorter than this is replaced only after as long a rest, so that a broken one does not spin."""


class Workers:
    """Keeps `count` processes in `work` until SIGTERM or SIGINT.

    `leave` is called when they were told to stop `drained` seconds ago, and after `grace` seconds they are killed.

    The parent has no threads and imported the application before it forks, so that a worker starts within
    milliseconds and shares the memory of the code.
    """

    def __init__(
        self, count: int, work: Callable[[], None], drained: float, leave: Callable[[], None], grace: float
    ) -> None:
        self.count = count
        self.work = work
        self.ending: list[tuple[float, Callable[[], None]]]
        self.ending = [(drained, leave), (grace, partial(self.tell, signal.SIGKILL))]
        self.started: dict[int, float] = {}
        self.told: float | None = None

    def run(self) -> None:
        # Signals are blocked and waited for: none is lost, and none interrupts a fork.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        while self.started or self.told is None:
            self.start_missing()
            received = signal.sigtimedwait(SIGNALS, self.patience())
            if received is not None and received.si_signo != signal.SIGCHLD:
                self.told = self.told or time.monotonic()
                self.tell(signal.SIGTERM)
            self.bury_dead()
            if self.told is not None and self.ending and self.patience() == 0:
                self.ending.pop(0)[1]()

    def patience(self) -> float:
        """How long to wait for signals before the next step of the ending, or before another try to start a worker."""
        if self.told is None:
            return LONGEST_WAIT if len(self.started) == self.count else REST_SECONDS
        if not self.ending:
            return LONGEST_WAIT
        return min(max(0.0, self.told + self.ending[0][0] - time.monotonic()), LONGEST_WAIT)

    def start_missing(self) -> None:
        """Starts the workers that are not there, as far as the system has room for them."""
        try:
            while self.told is None and len(self.started) < self.count:
                self.start()
        except OSError as error:
            sys.stderr.write(f"A worker cannot be started now: {error.strerror}.\n")

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
        except Exception:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def tell(self, number: int) -> None:
        for pid in self.started:
            os.kill(pid, number)

    def bury_dead(self) -> None:
        while self.started:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            began = self.started.pop(pid, None)
            # The first process of a container also inherits the children of workers that died.
            if began is not None and self.told is None and time.monotonic() - began < REST_SECONDS:
                time.sleep(REST_SECONDS)
