"""Rapport: a self-hosted chatbot that learns from the reactions it gets."""

import os

__version__ = "0.1.0"

# How long the engine's helper threads look out for the next operation before they sleep: about 30
# microseconds. OpenMP would have them look for milliseconds, which is well while nothing else runs
# on these cores, and many times slower where something does. It is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
