"""The card in place of the CPU, on which the other tests run."""

from collections.abc import Iterator

import pytest
from accelerate.state import AcceleratorState

from rem_release.training.precision import use_precision


@pytest.fixture(scope="module", autouse=True)
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Accelerate looks for a device once in a process, and is let look again here and afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "false")
        patch.setenv("REM_RELEASE_CACHE", str(tmp_path_factory.mktemp("cache")))
        AcceleratorState._reset_state(reset_partial_state=True)
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def full_precision() -> None:
    """Products of float32 in float32, as on a CPU; torch's own setting for convolutions on a GPU is TF32."""
    use_precision("fp32")
