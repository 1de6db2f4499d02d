"""Which images are copies of each other: near ones, and those that were moved or mirrored."""
