"""One file a command: the order of its stages, and nothing else."""
