"""README and docs: every command runs, every printed answer is what comes, every link leads somewhere.

The convention (CONTRIBUTING.md tells it to writers): a block of sh, python, js, r, cpp, rust or java is a program. The
json and text blocks after it, up to the next program, are what it prints. The word behind a block's language can change
that:
`not-run=REASON` for what cannot run here, `form` for JSON that shows a shape and is no answer.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from engine import activations, initializers, losses, metrics, optimizers, schedules
from schemas.catalog import members
from tests.conftest import ROOT, Server
from tests.mathematics import page as mathematics

PAGES = sorted(
    path.relative_to(ROOT)
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("examples/*.md"),
        *ROOT.glob("deploy/**/*.md"),
    ]
)
BLOCK = re.compile(r"^```(\w+)[ ]?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "-e"],
    "r": ["Rscript", "-e"],
    "cpp": ["bash", "-c", 'g++ -x c++ -o ./block - <<<"$0" && ./block'],
    "rust": ["bash", "-c", 'rustc -o ./block - <<<"$0" && ./block'],
    "java": ["bash", "-c", 'cat >Block.java <<<"$0" && java Block.java'],
}
NEEDS = {
    "sh": "command -v bash && command -v jq && curl --help all | grep -q -e --json",
    "python": ":",
    "js": "node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'",
    "r": "Rscript -e 'library(jsonlite); library(curl)'",
    "cpp": "g++ --version && command -v jq && curl --help all | grep -q -e --json",
    "rust": "rustc --version",
    "java": "java --source 17 --version",
}
NOT_RUN = {
    "serves": r"make run|chainrule serve|python -m app|PORT=",
    "container": r"docker|podman|compose",
    "cluster": r"kubectl|kustomize|ray ",
    "long": r"make (bench|fuzz|soak|overload|slow|faults)|benchmarks",
    "installs": r"make (setup|client|golden)|pip install|apt-get install|npm install",
    "examples": r"examples/",  # tests/test_examples.py runs these programs, and looks closer at what they say
    "secret": r"CHAINRULE_API_KEY|Authorization|X-API-Key",
    "settings": r"CHAINRULE_|OTEL_",
}
"""The reasons not to run a block, and what such a block must hold, so that none is misused."""
LAST_DIGITS = 1e-13
"""How far printed numbers may be off, relatively: kernels of BLAS for other processors add up in another order."""
NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")


class Block(NamedTuple):
    language: str
    word: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = (ROOT / page).read_text()
    return [Block(m[1], m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in BLOCK.finditer(text)]


def contains(answer: Any, part: Any) -> bool:
    """Whether every number and word of `part` stands in `answer`."""
    if isinstance(part, dict):
        return isinstance(answer, dict) and all(key in answer and contains(answer[key], part[key]) for key in part)
    if isinstance(part, list):
        same = isinstance(answer, list) and len(answer) == len(part)
        return same and all(contains(a, p) for a, p in zip(answer, part, strict=True))
    if isinstance(part, float):
        return type(answer) in (int, float) and math.isclose(answer, part, rel_tol=LAST_DIGITS)
    return bool(answer == part)


def values(text: str) -> list[Any]:
    """The JSON values of a text, one after the other."""
    found, rest = [], text.strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def says(printed: str, expected: str) -> bool:
    """Whether a program printed the lines of a text block; a line `...` stands for any lines."""
    lines, wanted = printed.splitlines(), expected.splitlines()
    if "..." in wanted:
        cut = wanted.index("...")
        head, tail = "\n".join(wanted[:cut]), wanted[cut + 1 :]
        starts = range(cut, len(lines) + 1) if tail else [len(lines)]
        return says("\n".join(lines[:cut]), head) and any(says("\n".join(lines[s:]), "\n".join(tail)) for s in starts)
    return len(lines) == len(wanted) and all(same_line(a, b) for a, b in zip(lines, wanted, strict=True))


def same_line(printed: str, expected: str) -> bool:
    numbers = zip(NUMBER.findall(printed), NUMBER.findall(expected), strict=False)
    return NUMBER.sub("#", printed.rstrip()) == NUMBER.sub("#", expected.rstrip()) and all(
        math.isclose(float(a), float(b), rel_tol=LAST_DIGITS) for a, b in numbers
    )


def available(language: str) -> bool:
    return subprocess.run(["sh", "-c", NEEDS[language]], capture_output=True, check=False).returncode == 0


def test_there_are_pages() -> None:
    assert {Path("README.md"), Path("docs/README.md"), Path("docs/first-steps.md"), Path("docs/cookbook.md")} <= set(
        PAGES
    )


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.language in PROGRAMS for b in blocks(page))], ids=str)
def test_what_a_page_runs_and_prints(page: Path, server: Server, tmp_path: Path) -> None:
    """A page's programs run one after the other in a folder of their own that looks like the repository."""
    for entry in ROOT.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed, absent = None, set()
    for block in blocks(page):
        place = f"{page}:{block.line}"
        if block.language in PROGRAMS:
            printed = None
            if block.word.startswith("not-run="):
                continue
            if not available(block.language):
                absent.add(block.language)
                continue
            done = subprocess.run(
                [*PROGRAMS[block.language], block.text.replace("127.0.0.1:8000", server.url.removeprefix("http://"))],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"{place}: {done.stdout}{done.stderr}"
            printed = done.stdout.replace(server.url, "http://127.0.0.1:8000")
        elif printed is not None and block.word != "form" and block.language == "json":
            assert contains(values(printed), values(block.text)), f"{place} is not in:\n{printed[:5000]}"
        elif printed is not None and block.word != "form" and block.language == "text":
            assert says(printed, block.text), f"{place} is not:\n{printed[:5000]}"
    if absent:
        pytest.skip(f"all but the blocks of {', '.join(sorted(absent))}: not installed, or without its libraries")


def test_blocks_that_are_not_run_say_why() -> None:
    counted = 0
    for page in PAGES:
        program: Block | None = None
        for block in blocks(page):
            if block.language in PROGRAMS:
                program = block
                if block.word:
                    word, _, reason = block.word.partition("=")
                    assert word == "not-run" and reason in NOT_RUN, f"{page}:{block.line}: {block.word}"
                    assert re.search(NOT_RUN[reason], block.text), f"{page}:{block.line} is not run, and could be"
                    counted += 1
            elif block.language == "json":
                assert values(block.text), f"{page}:{block.line} is empty"
                assert block.word == "form" or program, f"{page}:{block.line}: nothing printed this; mark it as a form"
    total = sum(block.language in PROGRAMS for page in PAGES for block in blocks(page))
    assert counted < total / 2, f"{counted} of {total} blocks are not run"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made from their text."""
    text = BLOCK.sub("", page.read_text())
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", (ROOT / page).read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page.parent / name).resolve() if name else ROOT / page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


def test_every_page_is_reached_from_the_index() -> None:
    linked: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        linked.add(page)
        for name in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text()):
            target = (page.parent / name).resolve()
            if "://" not in name and target not in linked:
                todo.append(target)
    assert {ROOT / page for page in PAGES if page.parts[0] in ("docs", "examples")} <= linked


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    titles = {
        path.name: path.read_text().splitlines()[0].removeprefix("# ") for path in ROOT.glob("docs/decisions/0*.md")
    }
    assert [name for name, title in titles.items() if f"[{title}]({name})" not in index] == []


def test_the_page_of_the_mathematics_is_the_catalog(client: httpx.Client) -> None:
    written = (ROOT / "docs" / "mathematics.md").read_text()
    assert written == mathematics(client.get("/v1/catalog").json()), "run `make mathematics`"


def test_the_readme_counts_right() -> None:
    text = (ROOT / "README.md").read_text()
    unions = {
        "activations": activations.Activation,
        "losses": losses.Loss,
        "optimizers": optimizers.Optimizer,
        "initializers": initializers.Initializer,
        "schedules": schedules.Schedule,
        "metrics": metrics.Metric,
    }
    assert ", ".join(f"{len(members(union))} {noun}" for noun, union in unions.items()) in text


def test_every_setting_is_in_the_readme() -> None:
    from app.settings import Settings

    text = (ROOT / "README.md").read_text()
    names = {name for name in Settings.model_fields if name not in ("host", "port")}
    assert {name for name in names if f"`CHAINRULE_{name.upper()}`" not in text} == set()


def test_example_files_are_the_ready_requests(client: httpx.Client) -> None:
    for name in ("textbook", "train_xor"):
        example = client.get(f"/v1/examples/{name}").json()["request"]
        assert json.loads((ROOT / "examples" / f"{name}.json").read_text()) == example


def test_a_wrong_page_is_seen() -> None:
    assert contains({"a": [1.0, 2], "b": 3}, {"a": [1.0, 2]}) and not contains({"a": [1.0, 2]}, {"a": [1.0]})
    assert not contains({"a": 1.0}, {"a": 1.0000001}) and not contains({"a": 1.0}, {"b": 1.0})
    assert says("loss 1.50000000000000001\n", "loss 1.5") and not says("loss 1.6", "loss 1.5")
    assert says("a\nb\nc\nd", "a\n...\nd") and says("a\nd", "a\n...\nd") and not says("a\nb", "a\n...\nd")
    assert shutil.which("sh") and available("python")
