import json

import pyarrow as pa
import pytest
from datasets import Array2D, ClassLabel, Features, Image, LargeList, List, Value

from rem_release.release.schema import compare_schema, read_features, write_features

FEATURES = Features(
    {
        "image": Image(),
        "label": ClassLabel(names=[str(number) for number in range(12)]),
        "b": {"z": Value("string"), "a": List(Value("float32"))},
        "fixed": List(Value("int8"), length=3),
        "matrix": Array2D((2, 2), "float32"),
        "many": LargeList(Value("timestamp[us]")),
        "a": List({"z": Value("bool"), "a": ClassLabel(names=["ü", ""])}),
    }
)


def test_features_read_back_with_every_order_kept():
    again = read_features(write_features(FEATURES))
    assert again == FEATURES
    assert list(again) == list(FEATURES)
    assert again.arrow_schema.equals(FEATURES.arrow_schema, check_metadata=True)


@pytest.mark.parametrize("text", ["", "[]", "1", '{"a": 1}', '{"a": {"_type": "NoSuchType"}}'])
def test_text_that_describes_no_columns_is_refused(text):
    with pytest.raises(ValueError, match="does not describe columns"):
        read_features(text)


def test_a_schema_equals_its_features():
    assert compare_schema(FEATURES.arrow_schema, FEATURES) == []


def test_faults_of_a_schema_are_named():
    schema = FEATURES.arrow_schema
    assert "has the columns" in compare_schema(schema.append(pa.field("more", pa.int8())), FEATURES)[0]
    position = schema.get_field_index("label")
    text = schema.set(position, pa.field("label", pa.string()))
    assert compare_schema(text, FEATURES)[0] == "column label is string instead of int64"
    assert "metadata nothing" in compare_schema(schema.remove_metadata(), FEATURES)[0]
    more = schema.with_metadata({**schema.metadata, b"origin": b"somewhere"})
    assert "huggingface, origin" in compare_schema(more, FEATURES)[0]
    other = Features({**FEATURES, "label": ClassLabel(names=["x", "y"])})
    assert "other features" in compare_schema(other.arrow_schema, FEATURES)[0]
    broken = schema.with_metadata({b"huggingface": b"{"})
    assert "other features" in compare_schema(broken, FEATURES)[0]


@pytest.mark.parametrize(
    "features",
    [
        '{"a": ' * 100_000 + "1" + "}" * 100_000,
        json.dumps({"label": {"names": [f"class {number}" for number in range(500_000)], "_type": "ClassLabel"}}),
        *(json.dumps({"a": {"dtype": name, "_type": "Value"}}) for name in ("cpu_count", "system_memory_pool", "", 7)),
        json.dumps({"a": {"b": {"dtype": "total_allocated_bytes", "_type": "Value"}}}),
    ],
    ids=["deep", "many classes", "a function", "another function", "nothing", "a number", "a function inside"],
)
def test_features_that_are_made_to_harm_are_none(features: str) -> None:
    """`datasets` would call any function of Arrow that has the name of a type."""
    with pytest.raises(ValueError, match="does not describe columns"):
        read_features(features)
