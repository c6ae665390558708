"""Bounds of numbers that are written down. JSON readers are exact to 2^53, MongoDB to 2^63; a sender's slip or malice
must be refused when the message is read, not when a decision is stored.
"""

from typing import Annotated

from pydantic import Field

EXACT = 2**53

Whole = Annotated[int, Field(ge=-EXACT, le=EXACT)]
Count = Annotated[int, Field(ge=0, le=EXACT)]
Positive = Annotated[int, Field(ge=1, le=EXACT)]
Duration = Annotated[int, Field(ge=0, le=10 * 366 * 86_400_000)]  # milliseconds, ten years at most
Amount = Annotated[float, Field(ge=-1e12, le=1e12)]
Price = Annotated[float, Field(ge=0, le=1e12)]
