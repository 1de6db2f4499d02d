"""Files that belong to images and are none of a class's own: masks, boxes, depth, captions.

They are told by the words of their names alone:

- A folder is one of companions if its name is made of words for them (`masks`, `gtFine`, `SegmentationClass`), alone
  or with words for images, splits and either. It is in question if it holds no images, or if half of them have the
  names of images in folders without such words, less the words for what they are. So is any folder whose files have the
  names of those right in one that is called `images` or `img`; and so are folders that are all called `images`,
  `photos` and the like, with companions or without.
- A file is in question if its path is that of another once the words for what they are are taken out of both, and it
  has more words for companions: `masks/1.png`, `1_mask_2.png`, `benign/masks/1.png` and `benign_masks/1.png` belong to
  `images/1.png`, `1.png`, `benign/1.png` and `benign/images/1.png`, and `1_mask.png` to `1_sat.png`. If the file's own
  name says so the folders do not matter: `b/x7_mask.png` belongs to `a/x7.png`. `mask/1.png` and `no_mask/1.png` are
  of two keys.
- Where half of the files come in two formats under one name (`1.jpg`, `1.png`) the one belongs to the other.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from rem_release.data.sources.reading import is_image
from rem_release.data.sources.split_names import KNOWN, split_words
from rem_release.data.sources.walking import PathParts, enumerate_names
from rem_release.errors import InputError

_IMAGES = {"image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "jpeg", "jpg", "png"}
_COMPANIONS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "bboxes", "boxes", "keypoints", "segmentation"),
    *("segmentations", "groundtruth", "gt", "depth", "captions", "trimap", "trimaps", "segmim", "saliency", "thumbs"),
    *("thumbnails", "overlays", "heatmaps"),
}
_EITHER = {"tr", "ts", "va", "left", "right", "bit", "fine", "coarse", "class", "object", "raw", "sets", "set", "all"}
"""words in the names of folders that hold images, of those that hold their companions, and of either"""
_LOOSE = {"photo", "photos", "picture", "pictures", "jpg", "jpeg", "png"}
"""of which a name alone may be that of a class: photographs beside paintings"""
_COMPANIONS_OF_FILES = _COMPANIONS | {
    *("seg", "anno", "annot", "lbl", "bbox", "overlay", "heatmap", "masked", "maskcrop", "depthcrop", "depthmap"),
    *("parts", "roi", "contour", "contours", "masque", "thumb", "thumbnail"),
}
_IMAGES_OF_FILES = _IMAGES | {"rgb", "original"}
"""the same in the names of files"""
_WORDS_OF_FILES = _COMPANIONS_OF_FILES | _IMAGES_OF_FILES | _EITHER
_ROOTS = {
    *("mask", "masque", "label", "lbl", "anno", "box", "keypoint", "seg", "truth", "gt", "depth", "caption", "map"),
    *("salien", "thumb", "overlay", "part", "roi", "contour"),
}
"""one of which every word for companions holds"""
_GROUND_TRUTH = {"ground", "truth"}
_ANYWHERE = (("*",),)
"""in place of the folders of a path"""

Key = tuple[tuple[str, ...], ...]
Kind = Literal["images", "companions"]


def refuse_companions(path: Path, folders: list[str], files: list[PathParts], way: str) -> None:
    """Refuse class folders that are images and their companions, or in which companions lie beside images.

    Args:
        path: the folder.
        folders: at its top; none where they are no classes.
        files: below it, as path parts.
        way: what to do if they are classes.

    Raises:
        InputError: names the folders, or a companion and its image, and the ways to go on.
    """
    _refuse_folders(path, folders, files, way)
    pair = find_pair([parts for parts in files if len(parts) > 1 or not folders])
    if pair is not None:
        companion, image = ("/".join(parts) for parts in pair)
        raise InputError(
            f"{path} holds images and what looks like their masks or the like side by side ({companion}, {image}); "
            f"move those elsewhere, or {way} to release them all"
        )


def _refuse_folders(path: Path, folders: list[str], files: list[PathParts], way: str) -> None:
    kinds = {name: name_kind(name) for name in folders}
    are_paired = bool(folders) and all(kinds.values()) and "images" in kinds.values()
    if are_paired and "companions" not in kinds.values():
        are_paired = len({_distinguish(name) for name in folders}) == 1
    if not are_paired and not _hold_companions(kinds, files):
        return
    boxes = any(len(parts) > 1 and parts[-1].lower().endswith((".txt", ".xml", ".json")) for parts in files)
    what = "boxes in the manner of YOLO or Pascal VOC say nothing of a whole image" if boxes else "no class is named"
    deep = {parts[0] for parts in files if len(parts) > 2 and is_image(parts[-1])}
    of_images = [name for name in sorted(deep) if kinds.get(name) != "companions"]
    inner = next(iter(sorted(of_images, key=lambda name: kinds.get(name) != "images")), None)
    or_inner = f", or {path / inner}, where folders are" if inner else ""
    raise InputError(
        f"{path} holds {enumerate_names(folders)}, which look like images and what belongs to them, not like classes: "
        f"{what}. Give the folder of images with metadata.csv (file_name,label) in it, or with --label-from "
        f"clusters{or_inner}; or {way} if they are classes"
    )


def name_kind(name: str) -> Kind | None:
    """Whether a folder's name says that it holds images, or what belongs to each of them: `JPEGImages`, `gtFine`."""
    words = {word for word in _split(name) if not word.isdigit()} - _EITHER
    if words & _COMPANIONS and words <= _COMPANIONS | _IMAGES | KNOWN:
        return "companions"
    return "images" if words & _IMAGES and words <= _IMAGES | KNOWN else None


def _distinguish(name: str) -> str:
    """What tells folders of images apart: `left_images` and `right_images` may be classes."""
    return next((side for side in ("left", "right") if side in split_words(name)), "")


def _hold_companions(kinds: dict[str, Kind | None], files: list[PathParts]) -> bool:
    """Whether a folder called like companions holds no images, or half of a folder's have names of images elsewhere.

    Elsewhere: for one that is called like companions, in any folder without words for them; for any other, in one that
    is called `images` or the like.
    """
    if not any(kinds.values()):
        return False
    own: dict[str, list[PathParts]] = {name: [] for name in kinds}
    for parts in files:
        if len(parts) > 1 and is_image(parts[-1]):
            own[parts[0]].append(parts)
    named, plain = set[Key](), set[Key]()
    for name, images in own.items():
        if not _speaks_of_companions(name):
            plain |= {_list_keys(parts[-1:])[0] for parts in images}
        if kinds[name] == "images" and not _LOOSE.issuperset(_split(name)):
            named |= {_list_keys(parts[-1:])[0] for parts in images if len(parts) == 2}
    for name, images in own.items():
        others = {None: named, "images": set[Key](), "companions": plain}[kinds[name]]
        known = sum(not others.isdisjoint(_list_keys(parts[-1:])) for parts in images) if others else 0
        if 2 * known >= len(images) and (images or kinds[name] == "companions"):
            return True
    return False


def find_pair(files: list[PathParts]) -> tuple[PathParts, PathParts] | None:
    """The first file that by its name belongs to another, and that one; None where there is none.

    Of two files of one key that belongs to the other whose path has more words for companions. Where half of the files
    or more come in two formats under one name (`1.jpg`, `1.png`), one of the two is taken for the other's companion.
    """
    spoken = _count_spoken(files)
    if not spoken:
        return _find_formats(files)
    images: dict[Key, PathParts] = {}
    for parts in files:
        keys = _list_keys(parts)
        if not _names_companion(parts[-1]):
            keys += [_ANYWHERE + keys[0][-1:], *_without_last_word(keys[0])]
        for key in keys:
            if spoken.get(images.setdefault(key, parts), 0) > spoken.get(parts, 0):
                images[key] = parts
    for parts, count in spoken.items():
        keys = _list_keys(parts)
        if _names_companion(parts[-1]):
            keys += [_ANYWHERE + key[-1:] for key in keys]
        for key in keys:
            if key in images and spoken.get(images[key], 0) < count:
                return parts, images[key]
    return _find_formats(files)


def _find_formats(files: list[PathParts]) -> tuple[PathParts, PathParts] | None:
    images = [parts for parts in files if is_image(parts[-1])]
    first: dict[PathParts, PathParts] = {}
    pairs = []
    for parts in images:
        other = first.setdefault((*parts[:-1], _stem(parts[-1])), parts)
        if other is not parts:
            pairs.append((parts, other))
    return pairs[0] if 4 * len(pairs) >= len(images) > 2 else None


def _count_spoken(files: list[PathParts]) -> dict[PathParts, int]:
    """Of how many of a path's names a word is one for companions, where there is one."""
    by_folder: dict[PathParts, list[str]] = {}
    for parts in files:
        by_folder.setdefault(parts[:-1], []).append(parts[-1])
    spoken = {}
    for folder, names in by_folder.items():
        count = sum(map(_speaks_of_companions, folder))
        text = "\n".join(names).lower()  # at once, for most folders have no such word
        may_name = any(root in text for root in _ROOTS)
        for name in names if count or may_name else ():
            if own := count + (may_name and _names_companion(name)):
                spoken[*folder, name] = own
    return spoken


def _without_last_word(key: Key) -> list[Key]:
    """`1_sat` is the image of `1_mask`."""
    *folders, words = key
    return [(*folders, words[:-1])] if len(words) > 1 and not words[-1].isdigit() else []


def _names_companion(file: str) -> bool:
    small = file.lower()
    return any(root in small for root in _ROOTS) and not _COMPANIONS_OF_FILES.isdisjoint(_split(_stem(file)))


@lru_cache(maxsize=4096)
def _speaks_of_companions(folder: str) -> bool:
    return not _COMPANIONS.isdisjoint(_split(folder))


def _list_keys(parts: PathParts) -> list[Key]:
    """A path less the words for what it is: equal for an image and its companions. `1_mask_2` is `1 2`, and `1`, which
    stands before the first of those words."""
    folders = tuple(filter(None, map(_strip, parts[:-1])))
    words = _split(_stem(parts[-1]))
    marks = _COMPANIONS_OF_FILES if not _COMPANIONS_OF_FILES.isdisjoint(words) else _IMAGES_OF_FILES
    first = next((at for at, word in enumerate(words) if word in marks), 0)
    names = (words, words[:first]) if first else (words,)
    return [(*folders, tuple(word for word in name if word not in _WORDS_OF_FILES)) for name in names]


@lru_cache(maxsize=4096)
def _strip(folder: str) -> tuple[str, ...]:
    return tuple(word for word in _split(folder) if word not in _COMPANIONS | _IMAGES | _EITHER)


def _stem(file: str) -> str:
    return file.rpartition(".")[0] or file


def _split(name: str) -> list[str]:
    """The words of a name; `ground truth` is one."""
    words = split_words(name)
    if not set(words) >= _GROUND_TRUTH:
        return words
    return [*(word for word in words if word not in _GROUND_TRUTH), "groundtruth"]
