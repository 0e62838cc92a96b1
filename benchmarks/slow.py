"""`make slow`: two hundred slow clients of slowhttptest beside a good one, whose 99th percentile they may not double.

Debian's package of that name has the program. Each kind of slowness runs in turn: heads that trickle (slowloris),
bodies that trickle, and answers that nobody reads.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from statistics import median

from app.examples import EXAMPLES
from benchmarks.http import Server
from benchmarks.load import Caller, Tally, request

KINDS = {
    "slow heads": ["-H"],
    "slow bodies": ["-B"],
    "slow readers": ["-X", "-w", "512", "-y", "1024", "-z", "32", "-k", "3"],
}
CLIENTS, SECONDS = 200, 20


async def good(port: int, seconds: float) -> Tally:
    """One client with the textbook step, twenty times a second."""
    sent = request("/v1/step", json.dumps(EXAMPLES["textbook"]["request"]).encode())
    caller, tally, ends = Caller(port), Tally(), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        await tally.call(caller, sent)
        await asyncio.sleep(0.05)
    caller.close()
    return tally


def main() -> None:
    if shutil.which("slowhttptest") is None:
        sys.exit("slowhttptest is not installed (on Debian: apt-get install slowhttptest)")
    print(f"## {CLIENTS} slow clients beside a good one, {SECONDS} s of each, alternated with {SECONDS} s without\n")
    for name, options in KINDS.items():
        alone, beside = [], []
        for _ in range(2):
            with Server("app") as server:
                alone.append(asyncio.run(good(server.port, SECONDS)))
                target = ["-u", f"http://127.0.0.1:{server.port}/v1/catalog"]
                pace = ["-c", str(CLIENTS), "-r", "100", "-i", "2", "-x", "24", "-l", str(SECONDS + 5), "-p", "2"]
                slow = subprocess.Popen(
                    ["slowhttptest", *options, *target, *pace], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                time.sleep(3)
                beside.append(asyncio.run(good(server.port, SECONDS)))
                slow.terminate()
                slow.wait()
        for tally in (*alone, *beside):
            assert set(tally.seconds) == {200} and not tally.lost, (tally.statuses(), tally.lost)
        before, after = (1e3 * median(tally.percentile(200, 99) for tally in tallies) for tallies in (alone, beside))
        print(
            f"- {name}: 99th percentile {before:.1f} ms without, {after:.1f} ms with them: {after / before:.2f} times"
        )


if __name__ == "__main__":
    main()
