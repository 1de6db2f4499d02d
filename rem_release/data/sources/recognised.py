"""The words for what a source was recognised as, and for what of a picture's decoding was a choice."""

from typing import Literal

Layout = Literal[
    "class folders",
    "class folders of splits",
    "albums",
    "pictures without labels",
    "pictures with metadata",
    "Parquet files",
    "a folder of save_to_disk",
    "a dataset of the Hugging Face Hub",
]
Choice = Literal[
    "turned as EXIF says",
    "transparency laid on white",
    "empty alpha channel of a BMP ignored",
    "numbers of more than 8 bits brought to 8",
    "one picture chosen of several in the file",
    "channels of no stated meaning left out",
    "colours stated otherwise than by an ICC profile taken for those of sRGB",
]
