"""From the answers of victims to a verdict: recipe, rows, bounds, certificate. Anyone can do it again; no torch here."""
