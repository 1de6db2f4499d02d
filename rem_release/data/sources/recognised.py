"""The words for what a source was recognised as, for what of an image's decoding was a choice, and for what was left
out. They are published: none of them names a file, a folder or a value of the owner's.
"""

from typing import Literal

Layout = Literal[
    "class folders",
    "class folders of splits",
    "albums",
    "images without labels",
    "pictures without labels",  # as versions before 0.5.0 said it
    "images with metadata",
    "pictures with metadata",  # as versions before 0.5.0 said it
    "Parquet files",
    "a folder of save_to_disk",
    "a dataset of the Hugging Face Hub",
]
DecodingChoice = Literal[
    "turned as EXIF says",
    "transparency laid on white",
    "empty alpha channel of a BMP ignored",
    "numbers of more than 8 bits brought to 8",
    "one image chosen of several in the file",
    "one picture chosen of several in the file",  # as versions before 0.5.0 said it
    "channels of no stated meaning left out",
    "colours stated otherwise than by an ICC profile taken for those of sRGB",
]
Fault = Literal[
    "damaged, or of a kind that is not read",
    "no image, but text, a film, an archive or a table",
    "several frames or pages",
    "too large",
    "missing, or unreadable on the disk",
    "no image in the row",
    "in no class folder",
    "nearly all of one level",
]
"""why a row is left out with `--skip-bad`"""
LeftOut = Literal[
    Fault,
    "kept back for audits",
    "not protected",
    "images that no metadata lists and no folder of the split holds",
    "hidden files, system files, documents, empty folders and files beside the class folders",
    "other splits, and tables and folders beside them",
]
"""why something of the source is not in the release"""
