"""The engine room: one resident model serves replies, adapters and background work."""
