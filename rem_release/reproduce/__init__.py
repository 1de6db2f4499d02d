"""The paper's tables and figures: what they state, the runs that they stand on, and ours beside theirs."""
