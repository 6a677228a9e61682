"""The operators' dashboard: figures of votes, runs and versions, and the pages that show them."""
