"""Peers in a process and an environment of their own, fed with prompts line by line.

What they need is no dependency of the project. `start` is our side; `vllm` and `llamacpp` are run
by the Python that has them, and share nothing with us but `lines`.
"""
