"""The gate: what must hold before a byte leaves, and what a repository must not hold already."""
