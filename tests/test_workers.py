"""The process that keeps the workers, in a process of its own, since it forks and waits for signals."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.conftest import ROOT, until

PR_SET_CHILD_SUBREAPER = 36


def supervise(
    work: str, patience: float, seconds: float, drained: float = 0.0, before: str = ""
) -> tuple[int, list[str]]:
    """The status and the printed words of a supervisor of one worker, which is told to stop some seconds after that has
    started.

    It waits for signals no longer than `patience`, and inherits orphans as the first process of a container does.
    """
    script = f"""
        import ctypes, os, signal, sys, time
        from app.workers import Workers

        class Supervisor(Workers):
            def patience(self):
                return min(super().patience(), {patience})

        def work():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())
            print("started", flush=True)
            {work}
            time.sleep(60)

        getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)({PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0)
        {before}
        Supervisor(1, work, {drained}, lambda: None, {drained + 5.0}).run()
        print("ended", flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, cwd=ROOT, stdout=printed, stderr=printed)
        until(lambda: os.fstat(printed.fileno()).st_size > 0)
        with pytest.raises(subprocess.TimeoutExpired):  # Until it is told to stop, it keeps its worker.
            process.wait(seconds)
        process.terminate()
        status = process.wait(20)
        printed.seek(0)
        return status, printed.read().split()


def test_a_quiet_time_ends_no_worker() -> None:
    assert supervise("", patience=0.2, seconds=1.0) == (0, ["started", "ended"])


def test_an_end_in_ages_is_waited_for() -> None:
    assert supervise("", patience=1e300, seconds=1.0, drained=1e100) == (0, ["started", "ended"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux hands orphans on so")
def test_an_orphan_of_a_dead_worker_is_nobodys_loss() -> None:
    orphan = "os.fork() or (time.sleep(0.3), os._exit(0)); time.sleep(0.1); os._exit(1)"
    status, printed = supervise(orphan, patience=60.0, seconds=3.0)
    assert status == 0 and printed[-1] == "ended" and printed.count("started") > 2


def test_why_a_worker_has_failed_is_told() -> None:
    status, printed = supervise("raise OSError('no more files')", patience=60.0, seconds=1.0)
    assert status == 0 and "OSError:" in printed and printed[-1] == "ended"


def test_a_worker_is_started_as_soon_as_the_system_has_room_for_it() -> None:
    fails_every_second_time = "forks = [os.fork, lambda: os.close(-1)] * 99; os.fork = lambda: forks.pop(0)()"
    status, printed = supervise("os._exit(1)", patience=60.0, seconds=5.0, before=fails_every_second_time)
    assert status == 0 and printed[-1] == "ended" and printed.count("started") > 2
