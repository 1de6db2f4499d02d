"""From the answers of victims to a verdict: recipe, rows, bounds, certificate. Without torch: anyone can repeat it."""
