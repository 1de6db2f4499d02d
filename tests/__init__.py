"""Tests. Threads wait without spinning, as in the command line; this must be said before torch is imported."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
