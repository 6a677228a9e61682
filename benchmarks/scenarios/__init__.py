"""What happens to an engine in its life, each measured by itself: `python -m benchmarks.engine`.

A scenario drives a `LocalEngine` of its own through the public coroutines, and gives back a frozen
value that is its part of the JSON and says itself in a few lines.
"""
