"""Examples to an adapter: rows, losses, and the run that minimises them."""
