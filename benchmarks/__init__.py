"""Measurements: each script compares Rapport with a peer in the same run."""
