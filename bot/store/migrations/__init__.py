"""How older databases become the schema of today: one file in `versions` for each step.

A released step is never edited. A new one is written by hand next to the others, with
its own frozen tables (it must not import `bot.store.schema`, which moves on), and
`tests/store` holds the sum of all steps equal to the schema.
"""
