"""Threads of libraries."""

from __future__ import annotations

import os


def keep_blas_single() -> None:
    """Let NumPy's matrix products run in the thread that asks for them. Call it before NumPy is imported.

    Comparisons measure tensors side by side, in a thread for each core. OpenBLAS would start as many again
    for each of their small products, which wait for each other by spinning: twice the processor time.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
