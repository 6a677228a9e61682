"""What people like, as a small head on the base model, and what is made of it."""
