"""What the display is told: the mean of the last second, pages in turn, and the meter's state."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from meterd import calc, lcd, store, wiring
from meterd.config import Config
from meterd.display import rotation
from meterd.display.rotation import Shown
from meterd.errors import StoreError
from meterd.lcd import LatestScreen
from meterd.metrology.demand import predicted_w as predicted
from meterd.model import NO_DEMAND, Demand, Message, Quality, Quantities, Registers, Screen, Status
from meterd.store import SyncStatus

SHOW_S = 1.0
STATUS_S = 5.0
LATE_SYNCS = 3
"""The server counts as late after this many synchronisations without success."""


class Panel:
    """Collects windows and puts a screen into the display's slot once a second.

    ``stream`` names the meter's own record, ``clock_state`` tells how sure its clock is,
    ``fingerprint`` is the one of the meter's key, None where it has none.
    """

    def __init__(
        self,
        config: Config,
        stream: str,
        clock_ns: Callable[[], int],
        utc_s: Callable[[], float],
        clock_state: Callable[[], str],
        last_seq: Callable[[], int],
        fingerprint: str | None = None,
    ) -> None:
        self._config, self._stream = config, stream
        self._clock_ns, self._utc_s = clock_ns, utc_s
        self._clock_state, self._last_seq = clock_state, last_seq
        self._fingerprint = fingerprint
        self._messages: tuple[Message, ...] = ()
        self._alarms: tuple[str, ...] = ()
        self._demand = NO_DEMAND
        self._wanted = LatestScreen()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: list[Quantities] = []
        self._began_ns = clock_ns()
        self._shown_ns = self._status_ns = self._began_ns - round(1e9 * STATUS_S)
        self._status = Status(config.meter.serial, None, "unknown", "unknown")

    def start(self, on_screen: Callable[[Screen], None] | None = None) -> None:
        """Keep the configured display, if there is one, at the latest screen.

        ``on_screen`` sees each screen of a simulated display, read back from its controller.
        """
        display = self._config.display
        if display.device == "none":
            return
        if display.device == "simulated":
            opener = wiring.simulated_display(display.address, self._clock_ns, on_screen)
        else:
            opener = partial(lcd.open_display, display.port, display.address)
        self._thread = lcd.start_display(opener, self._wanted, self._stop)

    def stop(self, timeout_s: float) -> bool:
        """Write the last screen and let go of the display; False: it still hangs."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def follow(
        self,
        config: Config,
        messages: tuple[Message, ...] = (),
        alarms: tuple[str, ...] = (),
        demand: Demand = NO_DEMAND,
    ) -> None:
        """Take over what is in effect from now on; ``alarms`` as :class:`Status` names them.

        The display itself stays the one that it was started with.
        """
        self._config, self._messages = config, messages
        self._alarms, self._demand = alarms, demand

    def show(self, window: Quantities | None, registers: Registers) -> None:
        """Take note of a window; None: it could not be measured."""
        if window is not None:
            self._recent.append(window)
        now_ns = self._clock_ns()
        if now_ns - self._shown_ns < SHOW_S * 1e9:
            return
        self._shown_ns = now_ns
        if now_ns - self._status_ns >= STATUS_S * 1e9:
            self._status, self._status_ns = self._ask_status(), now_ns
        mean = calc.aggregate(self._recent) if self._recent else None
        self._recent = []
        display = self._config.display
        self._wanted.put(
            rotation.screen(
                Shown(mean, registers, self._now(mean), next(iter(self._messages), None)),
                display.pages,
                page_s=display.page_s,
                began_ns=self._began_ns,
                now_ns=now_ns,
                language=display.language,
            )
        )

    def _now(self, mean: Quantities | None) -> Status:
        """The status with what changes from second to second."""
        display, limits, demand = self._config.display, self._config.demand, self._demand
        predicted_w = None
        if mean is not None:
            block_s = 60 * limits.block_min
            predicted_w = predicted(demand, mean.power_w, self._utc_s(), block_s)
        return replace(
            self._status,
            key=self._fingerprint,
            claimed=self._config.meter.credential_path.exists(),
            alarms=alarms(self._alarms, mean, self._status.server),
            demand_w=demand.energy_j / demand.elapsed_s if demand.elapsed_s else None,
            predicted_w=predicted_w,
            limit_w=limits.limit_w,
            tariff_text=display.tariff_text,
        )

    def _ask_status(self) -> Status:
        try:
            sync = store.read_sync_status(self._config.meter.sync_path, self._stream)
        except StoreError:
            sync = None  # shown as unknown; meterctl status says why
        return status(
            self._config, self._last_seq(), self._stream, sync, self._clock_state(), self._utc_s()
        )


def alarms(told: tuple[str, ...], mean: Quantities | None, server: str) -> tuple[str, ...]:
    """What is wrong now, each once: what the meter was told, and what the display can see."""
    clipped = mean is not None and Quality.CLIPPED in mean.flags
    seen = [*told, *["adc"] * clipped, *["server"] * (server == "refused")]
    return tuple(dict.fromkeys(seen))


def status(
    config: Config,
    seq: int,
    stream: str,
    sync: SyncStatus | None,
    clock: str,
    now_utc_s: float,
) -> Status:
    """How the meter is doing, from its own record and from what the synchronisation has told."""
    if sync is None:
        return Status(config.meter.serial, None, clock, "unknown")
    unsent = seq - (sync.hwm if sync.stream == stream else 0)
    return Status(config.meter.serial, unsent, clock, server_state(config, sync, now_utc_s))


def server_state(config: Config, sync: SyncStatus, now_utc_s: float) -> str:
    """ok, late, refused or unknown."""
    if sync.refused:
        return "refused"
    if sync.last_success_utc_s is None:
        return "late" if sync.last_error else "unknown"
    silent_s = now_utc_s - sync.last_success_utc_s
    return "late" if silent_s > LATE_SYNCS * config.sync.every_s else "ok"
