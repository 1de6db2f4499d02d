"""Training through accelerate: one loop, to which a step is handed."""
