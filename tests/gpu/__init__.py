"""What a GPU does: held against figures of the CPU, or against what only a GPU has. `pytest -m gpu` runs it.

The other tests run on the CPU wherever they are run, for bytes are promised for CPUs. What a test here needs it makes.
"""

import pytest
import torch

GPU, CPU = torch.device("cuda"), torch.device("cpu")
on_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is false"),
]
"""marks of every test here"""
