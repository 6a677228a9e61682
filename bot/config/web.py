"""The keys of the web pages: whether and where they are served.

Only keys and what people read about them; the token that lets people in comes from the environment.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bot.config.sections import Positive, Section


class WebConfig(Section):
    """Where the playground and the dashboard are."""

    enabled: bool = False
    """Whether `rapport run` serves the pages too; `rapport demo` always does."""
    host: str = "127.0.0.1"
    """The address they are served on. Anything but this machine itself needs a token in
    RAPPORT_WEB_TOKEN, and something in front of it that ends TLS."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """The port they are served on; 0 takes one that is free."""
    names: tuple[str, ...] = ()
    """Names by which browsers may ask for the pages besides `host` and localhost, such as
    "rapport.example.org"; requests for others are refused."""
    login_hours: Positive = 168
    """Hours after which the token is asked for again."""
    logins_per_minute: Positive = 10
    """Wrong tokens from one address within a minute after which it has to wait."""
