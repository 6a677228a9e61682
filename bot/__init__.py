"""Rapport: a self-hosted chatbot that learns from the reactions it gets."""

__version__ = "0.1.0"
