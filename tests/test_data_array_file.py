"""Images on disk: brought near in pieces where they fit, and written only where the disk has room for them."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rem_release.audit.inputs.sets import count_temporary
from rem_release.data import array_file
from rem_release.data.array_file import ArrayFile, StoredImages, TemporaryImages, require_temporary, to_device
from rem_release.errors import RemReleaseError
from rem_release.threats.kinds.resized_crop.pipeline import CropPipeline

SHAPE = (50, 3, 4, 4)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGES = torch.randint(0, 256, SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture
def stored(tmp_path: Path) -> StoredImages:
    """`IMAGES` on disk."""
    file = ArrayFile(tmp_path / "images.npy", SHAPE, np.uint8, new=True)
    file.write(0, IMAGES.numpy())
    file.flush()
    return StoredImages(file, torch.arange(len(IMAGES)))


def set_free_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))


@pytest.mark.parametrize("rows", [torch.arange(50), torch.tensor([7, 8, 9, 3, 49, 0, 21]), torch.arange(0)])
def test_images_go_to_a_device_in_pieces(
    stored: StoredImages, rows: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No read is larger than a piece: here of four images."""
    read, reads = ArrayFile.read, []

    def note(file: ArrayFile, wanted: np.ndarray) -> np.ndarray:
        reads.append(len(wanted))
        return read(file, wanted)

    monkeypatch.setattr(ArrayFile, "read", note)
    monkeypatch.setattr(array_file, "_PIECE", 4 * 3 * 4 * 4 + 1)
    found = stored.subset(rows).to(CPU)
    assert torch.equal(found, IMAGES[rows])
    assert max(reads, default=0) <= 4
    assert sum(reads) == len(rows)


def test_what_fits_is_brought_whole_and_what_does_not_stays_on_disk(
    stored: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert to_device(stored, CPU) is stored
    assert to_device(IMAGES, CPU) is IMAGES
    monkeypatch.setattr(array_file, "_fits", lambda images, device: True)
    assert torch.equal(to_device(stored, CPU), IMAGES)


@pytest.mark.parametrize(
    ("driver", "reserved", "allocated", "fits"),
    [
        (6000, 0, 0, True),  # 2,400 bytes of images in 40 % of 6,000
        (5999, 0, 0, False),
        (1000, 9000, 4000, True),  # torch keeps 5,000 bytes that nothing uses
        (1000, 9000, 4001, False),
        (1000, 9000, 9000, False),
    ],
)
def test_memory_that_torch_keeps_without_need_is_free(
    driver: int, reserved: int, allocated: int, fits: bool, stored: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (driver, 10**6))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)
    assert array_file._fits(stored, GPU) is fits


def test_a_temporary_folder_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    set_free_disk(monkeypatch, 2399)
    with pytest.raises(RemReleaseError) as caught:
        TemporaryImages(SHAPE)
    assert not list(tmp_path.iterdir())
    assert "\n" not in str(caught.value)
    assert f"temporary folder {tmp_path}" in str(caught.value)
    set_free_disk(monkeypatch, 2400)
    TemporaryImages(SHAPE)


def test_eight_views_at_224_pixels_of_imagenet100_are_154_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    size = count_temporary(128_000, CropPipeline(224))
    assert size == 128_000 * 8 * 3 * 224 * 224 == 154_140_672_000
    assert count_temporary(128_000, 224) == size // 8
    assert count_temporary(50_000, 32) == 0, "memory holds them"
    assert count_temporary(128_000, CropPipeline(224), test=True) == size // 8
    set_free_disk(monkeypatch, 100 * 10**9)
    with pytest.raises(RemReleaseError, match=r"need 154\.14 GB in the temporary folder .*, and 100\.00 GB are free"):
        require_temporary(size)
