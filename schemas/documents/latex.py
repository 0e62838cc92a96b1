"""Formulas as LaTeX that MathJax and KaTeX take, on code hosts too."""

from collections.abc import Sequence
from typing import Any

from engine.derivation.formulas import Equation, Formula, Symbols
from schemas.documents.writing import pieces, short_number, write, write_piece

TERMS_IN_LINE = 3


class Latex:
    """The notation."""

    def symbols(self, latex: str) -> str:
        return plain_macros(latex)

    def number(self, value: Any) -> str:
        if value is None:
            return r"\cdots"
        mantissa, exponent = short_number(value)
        return mantissa if exponent is None else rf"{mantissa} \times 10^{{{exponent}}}"

    def matrix(self, rows: Sequence[Sequence[Any]]) -> str:
        lines = r" \\ ".join(" & ".join(self.number(value) for value in row) for row in rows)
        return rf"\begin{{pmatrix}} {lines} \end{{pmatrix}}"

    def row(self, parts: Sequence[str]) -> str:
        return " ".join(parts)

    def fenced(self, inner: str) -> str:
        return rf"\left( {inner} \right)"

    def power(self, inner: str, exponent: str) -> str:
        return rf"{{{inner}}}^{{{exponent}}}"

    def fraction(self, numerator: str, denominator: str) -> str:
        return rf"\frac{{{numerator}}}{{{denominator}}}"


LATEX = Latex()


def plain_macros(latex: str) -> str:
    """Without the macros that some hosts of Markdown refuse."""
    return latex.replace(r"\operatorname{", r"\mathrm{").replace(r"\arg\max", r"\mathrm{arg\,max}")


def latex(formula: Formula) -> str:
    """A formula in one line."""
    return write(formula, LATEX)


def aligned_latex(formula: Formula) -> str:
    """A formula over several lines where it is long: each side of an equation that has numbers on its own, long sums
    broken."""
    if not isinstance(formula, Equation):
        return latex(formula)
    lines: list[str] = []
    sides = terms = 0
    symbolic = True
    for operator, piece in pieces(formula):
        written = write_piece(operator, piece, LATEX)
        symbolic &= isinstance(piece, Symbols)
        sides += operator != "+"
        terms = terms + 1 if operator == "+" else 0
        if not lines:
            lines.append(written)
        elif sides == 2 and terms == 0:
            lines[0] += f" &{written}"
        elif operator == "=" and not symbolic:
            lines.append(f"&{written}")
        elif operator == "+" and terms % TERMS_IN_LINE == 0:
            lines.append(rf"&\quad {written}")
        else:
            lines[-1] += f" {written}"
    if len(lines) == 1:
        return latex(formula)
    body = " \\\\\n".join(lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
