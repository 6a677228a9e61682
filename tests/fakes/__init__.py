"""Servers that stand where the platforms stand: on the far side of a real socket."""
