"""[relay] in meterd.toml: the pin, the contact, and when it may close."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from meterd.errors import ConfigError
from meterd.metrology import synchronism
from meterd.toml_tables import allowed, refusal

BUS_PINS = frozenset({2, 3, 7, 8, 9, 10, 11})
"""GPIO numbers of the I2C bus and of SPI0 with both of its chip selects."""


class Relay(Struct, frozen=True, forbid_unknown_fields=True):
    """[relay]: the contact that the server may open, if the owner allows it; no table, no relay."""

    pin: Annotated[
        int, Meta(ge=0, le=27, description="0 to 27, the GPIO's number, and none of SPI's or I2C's")
    ]
    at_rest: Annotated[
        Literal["connected", "disconnected"],
        Meta(description='"connected" or "disconnected": the contact while the coil has no power'),
    ]
    active_high: Annotated[
        bool, Meta(description="true or false: whether a high level gives the coil power")
    ] = True
    allow_remote: Annotated[
        bool, Meta(description="true or false: whether the server's commands are obeyed")
    ] = False
    reconnect_delay_s: Annotated[float, Meta(ge=0, le=3600, description="0 to 3600 seconds")] = 60.0
    give_up_s: Annotated[
        float, Meta(ge=1, le=86_400, description="1 to 86400 seconds after the delay")
    ] = 600.0
    windows: Annotated[
        int, Meta(ge=1, le=100, description="1 to 100 measuring windows in step, one by one")
    ] = 5
    voltage_pct_max: Annotated[float, Meta(gt=0, le=20, description="above 0 to 20 percent")] = (
        synchronism.VOLTAGE_PCT_MAX
    )
    frequency_hz_max: Annotated[float, Meta(gt=0, le=1, description="above 0 to 1 hertz")] = (
        synchronism.FREQUENCY_HZ_MAX
    )
    phase_deg_max: Annotated[float, Meta(gt=0, le=45, description="above 0 to 45 degrees")] = (
        synchronism.PHASE_DEG_MAX
    )
    load_circuit: Annotated[
        Literal["leg2", "solar", "load"] | None,
        Meta(description="the role of a circuit whose own voltage channel is behind the contact"),
    ] = None
    dead_load: Annotated[
        bool, Meta(description="true or false: whether nothing behind the contact generates")
    ] = False


def check_relay(relay: Relay | None, own_voltages: Container[str], path: Path) -> None:
    """A pin that is free, and one clear word on the voltage behind the contact.

    ``own_voltages`` are the roles of the circuits whose voltage is not the grid's.

    Raises:
        ConfigError: the table cannot work as written.
    """
    if relay is None:
        return
    behind = relay.load_circuit
    if relay.pin in BUS_PINS:
        raise refusal(path, "[relay]", "pin", relay.pin, allowed(Relay, "pin"))
    if behind is not None and behind not in own_voltages:
        raise refusal(path, "[relay]", "load_circuit", behind, allowed(Relay, "load_circuit"))
    if behind is not None and relay.dead_load:
        raise ConfigError(
            f"{path}: [relay] has load_circuit, which measures the voltage behind the contact, and "
            "dead_load = true, which says that it need not be measured: take one out"
        )
    if behind is None and not relay.dead_load and relay.at_rest == "disconnected":
        raise ConfigError(
            f'{path}: [relay] at_rest = "disconnected" needs load_circuit, or dead_load = true '
            "where nothing behind the contact generates: it could never be closed"
        )
