"""A derivation as a document: Markdown with LaTeX, and HTML with MathML and a diagram, from the same formulas."""
