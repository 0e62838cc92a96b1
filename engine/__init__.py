"""The mathematics of Chainrule: pure functions and frozen dataclasses over NumPy arrays, and nothing else."""
