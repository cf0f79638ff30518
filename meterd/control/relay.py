"""The contact between network and house: one verb, and the GPIO pin that does it."""

from __future__ import annotations

from typing import Any, Protocol

from meterd import config
from meterd.errors import HardwareError


class Relay(Protocol):
    """Open or close the contact; raises HardwareError when the pin cannot be set."""

    def set_connected(self, connected: bool, /) -> None: ...


class GpioRelay:
    """A coil behind a pin of the Raspberry Pi."""

    def __init__(self, device: Any, chosen: config.Relay) -> None:
        self._device, self._chosen = device, chosen

    def set_connected(self, connected: bool, /) -> None:
        """Give the coil power, or take it, whichever connects; raises HardwareError."""
        try:
            self._device.value = coil_power(self._chosen, connected)
        except Exception as error:  # lgpio.error and gpiozero's have no base but this
            raise _unusable(self._chosen, error) from error

    def close(self) -> None:
        """Let the pin go; the coil has no power then, and the contact is as it is at rest."""
        self._device.close()


def coil_power(chosen: config.Relay, connected: bool) -> bool:
    """Whether the coil has power in a state of the contact."""
    return connected != (chosen.at_rest == "connected")


def open_relay(chosen: config.Relay, *, connected: bool, factory: Any = None) -> GpioRelay:
    """The configured relay, put into the state ``connected`` as the pin is opened.

    ``factory`` is a pin factory of gpiozero, by default a new one of lgpio: never another one
    that happens to work.

    Raises:
        HardwareError: the packages are absent, or the pin cannot be had.
    """
    try:
        from gpiozero import DigitalOutputDevice

        if factory is None:
            from gpiozero.pins.lgpio import LGPIOFactory

            factory = LGPIOFactory()
        device = DigitalOutputDevice(
            chosen.pin,
            active_high=chosen.active_high,
            initial_value=coil_power(chosen, connected),
            pin_factory=factory,
        )
    except ImportError as error:
        raise HardwareError(
            "[relay] needs gpiozero and lgpio: install meterd with the extra relay"
        ) from error
    except Exception as error:  # lgpio.error and gpiozero's have no base but this
        raise _unusable(chosen, error) from error
    return GpioRelay(device, chosen)


def _unusable(chosen: config.Relay, error: Exception) -> HardwareError:
    return HardwareError(
        f"the relay's pin GPIO{chosen.pin} cannot be used: {error}: check that nothing else has "
        "it and that the user is in the group gpio"
    )
