"""Benchmarks: ratios measured in one run, printed with the spread of their runs. All compute on one thread."""

import os

# BLAS reads these when NumPy or PyTorch is imported; the servers that are started take them over.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
