"""What the operator decides about a running server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scheme = Literal["http", "https"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once, at start."""

    url_scheme: Scheme = "http"
    """What customers' browsers speak: ``https`` behind a proxy that ends TLS."""
    proxies: int = 0
    """How many proxies of ours stand in front; only their X-Forwarded-For is believed."""
