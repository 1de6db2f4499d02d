"""What this machine does in a second, beside a plain reference in the same run."""
