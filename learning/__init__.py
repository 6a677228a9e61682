"""The half of Rapport that improves: votes become adapters, adapters are judged."""
