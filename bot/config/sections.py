"""What every section of the configuration is made of: the class of a table, and kinds of numbers.

It knows no key.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A table of the file: frozen, strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
