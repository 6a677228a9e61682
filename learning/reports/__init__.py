"""Versions and verdicts made readable: documents, pictures, comparisons."""
