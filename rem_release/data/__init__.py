"""Sources, the decoding policy, the working set, and Parquet shards."""
