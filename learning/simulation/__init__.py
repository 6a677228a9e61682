"""Scripted people who talk to the bot and vote, so that the whole loop can be measured."""
