"""`make bench`: runs every section and writes docs/benchmarks.md; with --quick, short runs of each, printed alone.

A section is a module of this package that prints Markdown (`python -m benchmarks.step [--quick]`) and draws its plots.
Each runs in a process of its own, so that one that fails costs the report no more than itself.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import describe

SECTIONS = ("step", "verify", "wire", "peers", "engine", "growth", "training", "workers", "memory")
REPORT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MOST_SECONDS = 600


def run(section: str, quick: bool) -> str:
    """What a section prints, or why it could not."""
    command = [sys.executable, "-m", f"benchmarks.{section}", *(["--quick"] if quick else [])]
    try:
        finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"## {section}\n\nNot measured: it took longer than {MOST_SECONDS} s.\n"
    if finished.returncode:
        return f"{finished.stdout}\n## {section}\n\nNot measured to the end: the run failed; its error stands above.\n"
    return finished.stdout


def main() -> None:
    arguments = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="under two minutes; prints, and writes no report")
    arguments.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; default: all")
    asked = arguments.parse_args()
    unknown = set(asked.sections) - set(SECTIONS)
    if unknown:
        arguments.error(f"no such section: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    written = [f"# Benchmarks\n\n{describe()}"]
    for section in asked.sections or SECTIONS:
        print(f"... {section}", file=sys.stderr)
        written.append(run(section, asked.quick))
        print(written[-1], flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{minutes:.1f} minutes", file=sys.stderr)
    if not asked.quick and not asked.sections:
        REPORT.write_text("\n".join(part.strip() + "\n" for part in written))
        print(f"written: {REPORT}", file=sys.stderr)


if __name__ == "__main__":
    main()
