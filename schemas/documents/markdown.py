"""A derivation as Markdown; formulas stand in fenced math blocks, which code hosts pass on to LaTeX as they are."""

import re

from engine.derivation.derivation import Derivation
from schemas.documents.latex import aligned_latex

SPECIAL = re.compile(r"([\\`*_{}\[\]#|<>&~$^@]|:(?=\S)|(?<=www)\.)")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffe\uffff]")
"""What is no text: control characters, ends of lines, changes of direction, and what XML does not allow."""
NOTE = "Numbers are shown to 6 significant digits; the JSON form of this derivation has every digit."


def printable(text: str) -> str:
    """Text with a sign in the place of each character that is none."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: every character that could mean something is escaped."""
    return SPECIAL.sub(r"\\\1", printable(text))


def markdown(derivation: Derivation) -> str:
    """The document; ends with a line end."""
    parts = [f"# {escaped(derivation.title)}", NOTE]
    for i, section in enumerate(derivation.sections):
        parts.append(f"## {i + 1}. {escaped(section.title)}")
        for step in section.steps:
            parts.append(escaped(step.text))
            if step.formula is not None:
                parts.append(f"```math\n{aligned_latex(step.formula)}\n```")
    return "\n\n".join(parts) + "\n"
