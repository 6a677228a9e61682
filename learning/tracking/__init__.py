"""The curves of learning runs, for programs that draw them."""
