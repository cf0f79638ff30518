"""Sample blocks to waveforms to quantities to registers (the paper's ``getParams``).

Numpy only: no clock, no bus, no log. One file an idea: :mod:`align`, :mod:`resample`,
:mod:`quantities`, :mod:`windows`, :mod:`registers`.
"""

from meterd.calc.align import align
from meterd.calc.quantities import aggregate, quantify
from meterd.calc.registers import accumulate
from meterd.calc.windows import Lock, find_lock, measure, stream, window_cycles

__all__ = [
    "Lock",
    "accumulate",
    "aggregate",
    "align",
    "find_lock",
    "measure",
    "quantify",
    "stream",
    "window_cycles",
]
