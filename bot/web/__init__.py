"""The playground and what serves pages: chat, votes and learning in a browser."""
