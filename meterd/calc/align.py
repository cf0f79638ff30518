"""Sample blocks to waveforms: codes become volts and amperes, each at its own instant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from meterd.model import ADC_CODES, Calibration, Quality, SampleBlock, Waveform


def align(block: SampleBlock, channels: tuple[int, int], calibration: Calibration) -> Waveform:
    """Volts and amperes of one circuit, each sample at the instant it was taken.

    ``channels`` are the circuit's voltage and current channel. The skew between them, the
    current sensor's delay taken off, stays in the instants; nothing is moved here.
    """
    voltage = block.valid & (block.channels == channels[0])
    current = block.valid & (block.channels == channels[1])
    pairs = min(np.count_nonzero(voltage), np.count_nonzero(current))
    volt_codes = block.codes[voltage][:pairs].astype(np.float64)
    amp_codes = block.codes[current][:pairs].astype(np.float64)
    start_ns = int(block.t_ns[0])
    clipped = _at_the_rails(volt_codes) | _at_the_rails(amp_codes)
    return Waveform(
        start_ns=start_ns,
        t_s=(block.t_ns[voltage][:pairs] - start_ns) / 1e9,
        voltage_v=(volt_codes - calibration.voltage_zero_code) * calibration.voltage_v_per_code,
        current_t_s=(block.t_ns[current][:pairs] - start_ns) / 1e9 - calibration.current_delay_s,
        current_a=(amp_codes - calibration.current_zero_code) * calibration.current_a_per_code,
        quality=np.where(clipped, int(block.flags | Quality.CLIPPED), int(block.flags)).astype(
            np.uint16
        ),
    )


def _at_the_rails(channel_codes: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (channel_codes <= 0) | (channel_codes >= ADC_CODES - 1)
