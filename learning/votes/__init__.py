"""Votes to examples: what a vote weighs, what a reply comes to, what may be learned from."""
