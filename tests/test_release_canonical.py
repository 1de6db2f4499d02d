import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rem_release.errors import VerificationError
from rem_release.release.canonical import canonical_bytes, read_sealed, seal, sha256_file

DOCUMENT = {"b": [1, 2.5, None, True], "a": {"ü": "ß\n", "empty": {}}, "n": -0.0}
SEALED = seal(DOCUMENT)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def test_canonical_form_sorts_keys_and_ends_with_a_newline():
    assert canonical_bytes({"b": 1, "a": "ü"}) == '{\n  "a": "ü",\n  "b": 1\n}\n'.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_refused(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_bytes({"value": number})


def test_seal_refuses_a_document_that_carries_the_key():
    with pytest.raises(ValueError, match="sha256"):
        seal({"sha256": "x"})


def test_the_seal_is_the_hash_of_the_document_without_it():
    sealed = json.loads(seal(DOCUMENT))
    assert sealed.pop("sha256") == hashlib.sha256(canonical_bytes(DOCUMENT)).hexdigest()


@given(document=st.dictionaries(st.text(alphabet="abc", max_size=5), JSON, max_size=4))
def test_sealed_documents_read_back(document, tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "facts.json"
    path.write_bytes(seal(document))
    assert read_sealed(path) == document


def test_every_flipped_bit_is_seen(tmp_path):
    path = tmp_path / "facts.json"
    for position in range(len(SEALED)):
        for bit in range(8):
            flipped = bytearray(SEALED)
            flipped[position] ^= 1 << bit
            path.write_bytes(bytes(flipped))
            with pytest.raises(VerificationError, match=r"facts\.json"):
                read_sealed(path)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(SEALED + b" ", id="space at the end"),
        pytest.param(SEALED[:-1], id="no newline"),
        pytest.param(SEALED.replace(b"\n", b"\r\n"), id="other newlines"),
        pytest.param(b"\xef\xbb\xbf" + SEALED, id="byte order mark"),
        pytest.param(b"\xff" + SEALED, id="not UTF-8"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[]\n", id="a list"),
        pytest.param(b"null\n", id="null"),
        pytest.param(b"[" * 100_000, id="deeply nested"),
        pytest.param(SEALED.replace(b"2.5", b"2.50"), id="another spelling of a number"),
        pytest.param(SEALED.replace(b'"a"', b'"\\u0061"'), id="another spelling of a key"),
        pytest.param(SEALED.replace(b"2.5", b"NaN"), id="not a number"),
        pytest.param(canonical_bytes(DOCUMENT), id="not sealed"),
    ],
)
def test_other_spellings_of_a_document_are_refused(tmp_path, found):
    path = tmp_path / "facts.json"
    path.write_bytes(found)
    with pytest.raises(VerificationError, match=r"facts\.json"):
        read_sealed(path)


def test_missing_files_links_and_folders_are_named(tmp_path):
    (tmp_path / "real.json").write_bytes(seal(DOCUMENT))
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("missing.json", "link.json", "folder.json"):
        with pytest.raises(VerificationError, match=f"{name} is missing or is not a plain file"):
            read_sealed(tmp_path / name)


def test_hash_of_a_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"abc")
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
