"""The documents of POST /v1/explain: pages and Markdown, well-formed, self-contained, and safe from hostile names."""

import re
from itertools import combinations, pairwise
from typing import Any, get_args
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest

from engine.activations import Activation
from engine.losses import Loss
from schemas.rules import kind_of
from tests.test_bad_input import changed, refused
from tests.test_laws import LAST

ACTIVATIONS = [kind_of(rule) for rule in get_args(Activation)]
LOSSES = [kind_of(rule) for rule in get_args(Loss)]
assert ACTIVATIONS and LOSSES, "an empty union would make every test below pass"

XHTML, MATH, SVG = (
    "{http://www.w3.org/1999/xhtml}",
    "{http://www.w3.org/1998/Math/MathML}",
    "{http://www.w3.org/2000/svg}",
)
MATHML_CORE = {
    "math", "mfrac", "mi", "mn", "mo", "mover", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup",
    "mtable", "mtd", "mtext", "mtr", "munder", "munderover",
}  # fmt: skip
HTML_TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "nav", "details", "summary", "ol", "li",
    "a", "section", "div", "span", "figure", "figcaption",
}  # fmt: skip
SVG_TAGS = {"svg", "title", "desc", "line", "circle", "text", "tspan", "rect", "path"}
MACROS = {
    "frac", "tfrac", "partial", "delta", "begin", "end", "left", "right", "cdot", "cdots", "odot", "top", "times",
    "text", "mathrm", "quad", "sum", "log", "max", "min", "ell", "leftarrow", "eta", "lVert", "rVert", "lambda",
    "alpha", "beta", "gamma", "theta", "sigma", "varphi", "Phi", "tanh", "cosh", "cos", "le", "ge", "ne", "sqrt", "mu",
    "tau", "epsilon", "Delta", "Big", "pi",
}  # fmt: skip
"""What GitHub, GitLab, MathJax and KaTeX all take; \\operatorname is not among it: GitHub refuses it."""


def document(client: httpx.Client, request: dict[str, Any], form: str) -> str:
    response = client.post("/v1/explain", json=request, headers={"Accept": form})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == f"{form}; charset=utf-8"
    return response.text


def check_page(text: str) -> ElementTree.Element:
    """The page is well-formed, holds known elements only, and refers to nothing outside."""
    assert text.startswith("<!DOCTYPE html>\n")
    root = ElementTree.fromstring(text)
    known = {XHTML + tag for tag in HTML_TAGS} | {MATH + tag for tag in MATHML_CORE} | {SVG + tag for tag in SVG_TAGS}
    for element in root.iter():
        assert element.tag in known, element.tag
        for name, value in element.attrib.items():
            assert (not name.lower().startswith("on") and "href" not in name) or value.startswith("#section-"), name
            assert name not in ("src", "srcset", "action", "formaction", "data"), name
        if element.tag == XHTML + "style":
            assert not re.search(r"url\(|@import|expression|&|<|>", element.text or "")
        elif element.tag.startswith(XHTML) and element.tag != XHTML + "meta":
            assert len(element) or element.text, f"an empty {element.tag} would be read as open in HTML"
    assert root.get("lang") == "en"
    assert root.find(f".//{XHTML}meta[@name='viewport']") is not None
    assert [child.tag for child in root.iter(XHTML + "h1")] == [XHTML + "h1"]
    drawing = root.find(f".//{SVG}svg")
    assert drawing is not None and drawing.findtext(SVG + "title") and drawing.findtext(SVG + "desc")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    return root


@pytest.mark.parametrize("widths", [(3, 4, 2), (6, 6, 6), (2, 5, 3), (5, 1, 4, 2, 6)], ids=str)
def test_numbers_in_the_drawing_do_not_lie_on_each_other(client: httpx.Client, widths: tuple[int, ...]) -> None:
    layers = [{"units": units, "activation": "tanh"} for units in widths[1:]]
    network = client.post("/v1/initialize", json={"input_size": widths[0], "layers": layers}).json()["network"]
    request = {"network": network, "inputs": [[0.5] * widths[0]], "targets": [[0.1] * widths[-1]], "loss": "mse"}
    root = check_page(document(client, request, "text/html"))
    labels = [text for text in root.iter(f"{SVG}text") if "value halo" in text.get("class", "")]
    assert len(labels) == sum(a * b for a, b in pairwise(widths))
    places = [(float(text.get("x", "")), float(text.get("y", ""))) for text in labels]
    for (x1, y1), (x2, y2) in combinations(places, 2):  # each with the gradient below it is some 24 high
        assert abs(x1 - x2) > 60 or abs(y1 - y2) > 24
    units = [(float(circle.get("cx", "")), float(circle.get("cy", ""))) for circle in root.iter(f"{SVG}circle")]
    assert all(abs(x - cx) > 60 or abs(y - cy) > 40 for x, y in places for cx, cy in units)


@pytest.mark.parametrize(("activation", "units"), [("tanh", 1), ("softmax", 3)])
@pytest.mark.parametrize("layer", [0, 1])
def test_all_that_depends_on_the_parameter_is_marked(
    client: httpx.Client, activation: str, units: int, layer: int
) -> None:
    """What a unit gives depends on every parameter of its layer where the activation works on whole rows."""
    request = {
        "network": network(activation, activation),
        "inputs": [[0.5, -0.4]],
        "targets": [[0.1, 0.2, 0.3]],
        "loss": "mse",
        "focus": {"layer": layer, "parameter": "weights", "index": [1, 1]},
    }
    root = check_page(document(client, request, "text/html"))
    marked = [element.tag for element in root.iter() if "marked" in element.get("class", "").split()]
    after = 3 if layer == 0 else 0
    assert marked.count(f"{SVG}circle") == 1 + units + after
    assert marked.count(f"{SVG}line") == 1 + units * after


def check_markdown(text: str) -> list[str]:
    """The formulas stand in math blocks, with macros that code hosts take; returns them."""
    formulas = re.findall(r"^```math\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    assert text.startswith("# ") and formulas and text.count("```") == 2 * len(formulas)
    for formula in formulas:
        assert set(re.findall(r"\\([a-zA-Z]+)", formula)) <= MACROS, formula
        assert formula.count("{") == formula.count("}") and "$" not in formula and "`" not in formula
        assert formula.count(r"\begin") == formula.count(r"\end") and formula.count(r"\left(") == formula.count(
            r"\right)"
        )
        assert "nan" not in formula and "inf" not in formula
    return formulas


def example(client: httpx.Client, name: str) -> Any:
    return client.get(f"/v1/examples/{name}").json()["request"]


def network(hidden: str, last: str, units: int = 3) -> dict[str, Any]:
    """Two layers whose preactivations reach both sides of every kink."""
    random = np.random.default_rng(5)
    return {
        "layers": [
            {"weights": random.normal(size=(2, 3)).round(2).tolist(), "bias": [0.3, -0.6, 1.4], "activation": hidden},
            {"weights": random.normal(size=(3, units)).round(2).tolist(), "bias": None, "activation": last},
        ]
    }


TARGETS = {
    "multi_margin": [0, 2],
    "categorical_hinge": [0, 2],
    "hinge": [[1, -1, 1], [-1, -1, 1]],
    "squared_hinge": [[1, -1, 1], [-1, -1, 1]],
    "cross_entropy": [[1, 0, 0], [0.2, 0.3, 0.5]],
    "mse": [[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]],
}


def check_all_forms(client: httpx.Client, post: Any, request: dict[str, Any]) -> Any:
    answer = post("/v1/explain", request)
    root = check_page(document(client, request, "text/html"))
    text = document(client, request, "text/markdown")
    formulas = check_markdown(text)
    steps = [step for section in answer["sections"] for step in section["steps"]]
    assert len(formulas) == sum(step["latex"] is not None for step in steps)
    assert (
        len(list(root.iter(XHTML + "section")))
        == len(answer["sections"])
        == len(re.findall("^## ", text, re.MULTILINE))
    )
    assert root.findtext(f".//{XHTML}h1") == answer["title"]
    shown = [element.text for element in root.iter(XHTML + "p")][1:]
    assert shown == [step["text"] for step in steps]
    return answer


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_is_explained_in_every_form(client: httpx.Client, post: Any, kind: str) -> None:
    request = {
        "network": network(kind, "softmax"),
        "inputs": [[0.5, -0.4], [-1.2, 0.9]],
        "targets": [0, 2],
        "loss": "cross_entropy",
        "optimizer": "sgd",
    }
    answer = check_all_forms(client, post, request)
    entry = next(e for e in client.get("/v1/catalog").json()["activations"] if e["kind"] == kind)
    latex = [step["latex"] for section in answer["sections"] for step in section["steps"]]
    for formula in (entry["formula"]["latex"], entry["derivative"]["latex"]):
        formula = formula.replace(r"\operatorname{", r"\mathrm{")
        assert any(line and line.endswith(f"= {formula}") for line in latex), formula
    as_last = {**request, "network": network("tanh", kind), "loss": "mse", "targets": TARGETS["mse"]}
    check_all_forms(client, post, as_last)


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_is_explained_in_every_form(client: httpx.Client, post: Any, kind: str) -> None:
    last = LAST.get(kind, ["identity"])
    targets = TARGETS.get(kind, TARGETS["mse"] if kind not in LAST else TARGETS["cross_entropy"])
    for activation in last:
        for reduction in ("mean", "batch_mean", "sum"):
            request = {
                "network": network("tanh", activation),
                "inputs": [[0.5, -0.4], [-1.2, 0.9]],
                "targets": targets,
                "loss": {"kind": kind, "reduction": reduction},
                "sample_weights": [2, 0.5] if reduction == "sum" else None,
            }
            check_all_forms(client, post, request)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><b>",
    "a|b`c`d$e$f*g*_h_[i](j)",
    "```math\n\\frac{1}{0}",
    "# heading\n\n- list\n> quote",
    r"\end{pmatrix}\input{x}%{}^_&~#",
    "http://example.org/ @someone www.example.org",
    "\x00\x1b[31m\u202e\u2028\uffffend",
    "&lt;b&gt; &amp; ]]>",
    "'; DROP TABLE layers; --",
    "$$x$$",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(client: httpx.Client, post: Any, name: str) -> None:
    request = example(client, "textbook")
    for layer in request["network"]["layers"]:
        layer["name"] = name
    answer = post("/v1/explain", request)
    assert name in answer["sections"][1]["title"]
    plain = example(client, "textbook")
    for layer in plain["network"]["layers"]:
        layer["name"] = "n"
    for focus in (None, {"layer": 0, "index": [0, 0]}):
        own, other = (r | {"focus": focus} for r in (request, plain))
        root, expected = (check_page(document(client, r, "text/html")) for r in (own, other))
        assert [element.tag for element in root.iter()] == [element.tag for element in expected.iter()]
        ours, theirs = (document(client, r, "text/markdown") for r in (own, other))
        assert check_markdown(ours) == check_markdown(theirs)
        assert ours.count("\n") == theirs.count("\n"), "no line of its own"
        shown = re.sub(r"\\(.)", "", "\n".join(line for line in ours.splitlines() if "layer 1" in line))
        assert not re.search(r"[<>`$|*_\[\]]", shown), shown
    assert [step["latex"] for s in answer["sections"] for step in s["steps"]] == [
        step["latex"] for s in post("/v1/explain", plain)["sections"] for step in s["steps"]
    ]


def test_the_form_follows_the_accept_header(client: httpx.Client) -> None:
    request = example(client, "textbook")
    for accept, form in [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html", "text/html; charset=utf-8"),
        ("text/markdown", "text/markdown; charset=utf-8"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/json;q=0.5, text/markdown", "text/markdown; charset=utf-8"),
    ]:
        response = client.post("/v1/explain", json=request, headers={"Accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (200, form), accept
        assert response.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
        assert response.headers["x-content-type-options"] == "nosniff"
    for accept in ("application/pdf", "image/*", "text/csv, application/xml"):
        problem = client.post("/v1/explain", json=request, headers={"Accept": accept})
        assert refused(problem, 406, "not-acceptable")["detail"] == (
            "This path answers application/json, text/markdown, text/html."
        )


def test_errors_are_problems_in_every_form(client: httpx.Client) -> None:
    request = changed(example(client, "textbook"), "/inputs", [[1, 2]])
    for form in ("application/json", "text/markdown", "text/html"):
        response = client.post("/v1/explain", json=request, headers={"Accept": form})
        assert refused(response, 422, "shape-mismatch")["errors"][0]["pointer"] == "/network/layers/0/weights"


def test_every_number_of_the_page_has_all_its_digits(client: httpx.Client, post: Any) -> None:
    request = example(client, "textbook")
    root = check_page(document(client, request, "text/html"))
    exact = {float(e.get("data-value", "nan")) for e in root.iter() if e.get("data-value")}
    done = post("/v1/backward", {name: request[name] for name in ("network", "inputs", "targets", "loss")})
    for layer in done["layers"]:
        for values in layer["gradients"].values():
            for value in np.ravel(values):
                assert value in exact or float(f"{value:.6g}") == value


def test_the_drawing_shows_the_numbers_of_the_step(client: httpx.Client, post: Any) -> None:
    request = example(client, "textbook")
    layers = request["network"]["layers"]
    done = post("/v1/backward", {name: request[name] for name in ("network", "inputs", "targets", "loss")})
    gradients = [layer["gradients"] for layer in done["layers"]]
    root = check_page(document(client, request, "text/html"))

    def shown(tag: str, style: str) -> list[float]:
        return [float(e.get("data-value", "nan")) for e in root.iter(SVG + tag) if e.get("class") == style]

    activations = [a for layer in done["layers"] for a in layer["activations"][0]]
    assert shown("text", "value") == [*request["inputs"][0], *activations]
    assert shown("text", "gradient") == [
        *done["input_gradients"][0],
        *(g for by in gradients for g in by["activations"][0]),
    ]
    assert shown("text", "value halo") == [w for layer in layers for row in layer["weights"] for w in row]
    assert shown("text", "gradient halo") == [
        *(g for by in gradients for row in by["weights"] for g in row),
        *(g for by in gradients for g in by["bias"]),
    ]
    assert shown("tspan", "value") == [b for layer in layers for b in layer["bias"]]
    headings = [text.text for text in root.iter(f"{SVG}text") if text.get("y") in ("22", "40")]
    assert headings == ["inputs", None, "hidden1", "relu", "hidden2", "sigmoid", "output", "softmax"]
    of_a_batch = check_page(document(client, example(client, "batch"), "text/html"))
    for page, is_batch in ((root, False), (of_a_batch, True)):
        assert ("those of the whole batch" in page.findtext(f".//{XHTML}figcaption", "")) is is_batch


def test_a_larger_drawing_shows_the_sizes_of_the_numbers(client: httpx.Client, post: Any) -> None:
    request = example(client, "batch")
    layers = [{"units": units, "activation": "tanh"} for units in (7, 2, 3)]
    request |= post("/v1/initialize", {"input_size": 3, "layers": layers}) | {"loss": "hinge"}
    request["targets"] = [[1, -1, -1]] * 4
    done = post("/v1/backward", request)
    root = check_page(document(client, request, "text/html"))

    def size(numbers: Any) -> str:
        return f"{np.sqrt(np.mean(np.square(numbers))):.3g}".replace("-", "\N{MINUS SIGN}")

    def shown(style: str) -> list[str | None]:
        return [text.text for text in root.iter(f"{SVG}text") if text.get("class") == style]

    assert shown("value") == list(map(size, [request["inputs"], *(layer["activations"] for layer in done["layers"])]))
    gradients = [layer["gradients"] for layer in done["layers"]]
    assert shown("gradient") == list(map(size, [done["input_gradients"], *(by["activations"] for by in gradients)]))
    assert shown("value halo") == [size(layer["weights"]) for layer in request["network"]["layers"]]
    assert shown("gradient halo") == [size(by["weights"]) for by in gradients]
    assert shown("soft") == ["3 wide", "7 · tanh", "2 · tanh", "3 · tanh"]


def test_a_long_network_is_drawn_in_rows_without_its_middle(client: httpx.Client) -> None:
    layers = [{"weights": [[1.0]], "bias": None, "activation": "tanh"}] * 30
    request = {"network": {"layers": layers}, "inputs": [[0.5]], "targets": [[0.1]], "loss": "mse"}
    root = check_page(document(client, request, "text/html"))
    assert "The 7 layers in the middle are left out." in root.findtext(f".//{XHTML}figcaption", "")
    boxes, arrows = list(root.iter(f"{SVG}rect")), list(root.iter(f"{SVG}path"))
    turns = [text for text in root.iter(f"{SVG}text") if "↓" in (text.text or "")]
    assert (len(boxes), len(arrows), len(turns)) == (24, 2 * 18, 4)


@pytest.mark.parametrize(
    ("focus", "edges", "units"),
    [
        ({"layer": 0, "parameter": "weights", "index": [0, 1]}, 1 + 3 + 9, 2 + 3 + 3),
        ({"layer": 1, "parameter": "bias", "index": [2]}, 3, 1 + 3),
    ],
    ids=["weight", "bias"],
)
def test_a_focus_marks_its_way_to_the_loss(client: httpx.Client, focus: Any, edges: int, units: int) -> None:
    root = check_page(document(client, example(client, "textbook") | {"focus": focus}, "text/html"))
    marked, labels = (
        [sum(style in e.get("class", "") for e in root.iter(SVG + tag)) for tag in ("line", "circle", "text")]
        for style in ("marked", "value halo")
    )
    assert marked == [edges, units, 0] and labels == [0, 0, edges]
    assert "Violet: the parameter in question" in root.findtext(f".//{XHTML}figcaption", "")


def test_openapi_documents_the_three_forms(client: httpx.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/explain"]["post"]
    assert operation["operationId"] == "explain" and operation["tags"] == ["oracle"]
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/markdown", "text/html"}
    names = list(operation["requestBody"]["content"]["application/json"]["examples"])
    assert names == ["textbook_explain", "explain_batch", "explain_weight", "explain_deep_bias"]
