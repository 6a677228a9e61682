"""Whether a candidate may serve: measurements on the serving path, checks, a verdict."""
