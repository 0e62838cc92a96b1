"""The benchmarks' own machinery: a section that runs, plots that are SVG, and a report that survives a failure."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks import __main__ as report
from benchmarks import plots, rounds
from benchmarks.networks import as_json, textbook
from benchmarks.peers import plain
from benchmarks.peers.__main__ import every_number, require_agreement
from tests.conftest import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def test_a_section_prints_markdown() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "step"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed.startswith("## The textbook step over HTTP\n") and "| textbook step |" in printed


def test_a_section_that_fails_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "Not measured to the end" in report.run("no_such_section", True)


def test_plots_are_svg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "FOLDER", tmp_path / "plots")
    shown = plots.lines("growth", "Time & size", "size", {"one": [(1, 0.5), (10, 40)], "two": [(1, 2), (10, 3)]})
    assert shown == "![Time & size](benchmarks/growth.svg)"
    plots.lines("flat", "Flat", "size", {"one": [(1, 1.0), (5, 1.0)]})
    plots.bars("rates", "Rates", {"one": 2.0, "none": 0.0})
    drawn = {file.stem: ElementTree.parse(file).getroot() for file in (tmp_path / "plots").glob("*.svg")}
    assert set(drawn) == {"growth", "flat", "rates"}
    assert len(drawn["growth"].findall(f"{SVG}polyline")) == 2
    assert len(drawn["rates"].findall(f"{SVG}rect")) == 2


def test_ratios_are_those_of_the_rounds() -> None:
    times = rounds.alternate({"one": iter([2.0, 4.0, 6.0]).__next__, "two": iter([1.0, 1.0, 2.0]).__next__}, 3)
    assert rounds.ratio(times["one"], times["two"]) == 3
    assert rounds.spread(times["one"], times["two"]) == "**3.00** (2.00 to 4.00)"
    assert rounds.milliseconds([1.5, 0.002, 0.25]) == "250 (2 to 1,500)"


def test_the_plain_handler_answers_the_same_numbers(post: Any) -> None:
    step = textbook()
    theirs = plain.step(plain.StepRequest.model_validate_json(as_json(step)))
    require_agreement(every_number(theirs, step), every_number(post("/v1/step", orjson.loads(as_json(step))), step))
    theirs["layers"][1]["gradients"]["weights"][0][1] *= 1 + 1e-8
    with pytest.raises(AssertionError, match="differ by"):
        require_agreement(every_number(theirs, step), every_number(post("/v1/step", orjson.loads(as_json(step))), step))
