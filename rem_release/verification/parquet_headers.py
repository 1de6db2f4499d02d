"""The headers of a Parquet file, as parquet.thrift of the Parquet format names them, and which of them may be there.

What is left out here has no place in a release: files elsewhere, notes, encryption, indexes, Bloom filters, pages of
other kinds than protect writes.
"""

from rem_release.verification.compact_protocol import Kind, ListOf

DATA_PAGE, DICTIONARY_PAGE = 0, 2
PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY = 0, 2, 3, 8
UNCOMPRESSED, SNAPPY = 0, 1
BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY = range(8)
WIDTHS = {INT32: 4, INT64: 8, INT96: 12, FLOAT: 4, DOUBLE: 8}
"""bytes of a value, by physical type"""
_MAX_GROUPS, _MAX_ELEMENTS = 1 << 12, 1 << 15
"""row groups, and columns with what they lie in: readers keep far more of each than the byte that one can take"""

_UNIT: Kind = {1: {}, 2: {}, 3: {}}
_TIME: Kind = {1: bool, 2: _UNIT}
_LOGICAL_TYPE: Kind = {
    **{number: {} for number in (1, 2, 3, 4, 6, 11, 12, 13, 14, 15)},  # STRING to FLOAT16, less those below
    5: {1: int, 2: int},  # DECIMAL
    **{7: _TIME, 8: _TIME},  # TIME, TIMESTAMP
    10: {1: int, 2: bool},  # INTEGER
}
STATISTICS: dict[int, Kind] = {1: bytes, 2: bytes, 3: int, 4: int, 5: bytes, 6: bytes, 7: bool, 8: bool}
STATED_VALUES = (1, 2, 5, 6)
"""fields of STATISTICS that hold values: max, min, max_value, min_value"""
SCHEMA_ELEMENT: dict[int, Kind] = {
    **{1: int, 2: int, 3: int, 4: bytes, 5: int},  # type, type_length, repetition_type, name, num_children
    **{6: int, 7: int, 8: int, 9: int, 10: _LOGICAL_TYPE},  # converted_type, scale, precision, field_id, logicalType
}
COLUMN_METADATA: dict[int, Kind] = {
    **{1: int, 2: ListOf(int), 3: ListOf(bytes), 4: int, 5: int},  # type, encodings, path_in_schema, codec, num_values
    **{6: int, 7: int, 9: int, 11: int},  # sizes; data_page_offset, dictionary_page_offset
    **{12: STATISTICS, 13: ListOf({1: int, 2: int, 3: int})},  # statistics, encoding_stats
    16: {1: int, 2: ListOf(int), 3: ListOf(int)},  # size_statistics
}
ROW_GROUP: dict[int, Kind] = {
    1: ListOf({2: int, 3: COLUMN_METADATA}, _MAX_ELEMENTS),  # columns
    **{2: int, 3: int, 5: int, 6: int, 7: int},  # total_byte_size, num_rows, file_offset, compressed size, ordinal
}
FILE_METADATA: dict[int, Kind] = {
    **{1: int, 2: ListOf(SCHEMA_ELEMENT, _MAX_ELEMENTS), 3: int},  # version, schema, num_rows
    **{4: ListOf(ROW_GROUP, _MAX_GROUPS), 5: ListOf({1: bytes, 2: bytes}, 100)},  # row_groups, key_value_metadata
    **{6: bytes, 7: ListOf({1: {}}, _MAX_ELEMENTS)},  # created_by, column_orders
}
PAGE_HEADER: dict[int, Kind] = {
    **{1: int, 2: int, 3: int},  # type, uncompressed_page_size, compressed_page_size
    5: {1: int, 2: int, 3: int, 4: int, 5: STATISTICS},  # num_values, encodings of values and both kinds of levels
    7: {1: int, 2: int, 3: bool},  # num_values, encoding, is_sorted
}
