"""A version after its promotion: whether people like it less, whether it has fallen ill."""
