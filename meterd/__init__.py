"""The device: a bidirectional electricity meter on a Raspberry Pi.

Start reading at ``meterd.daemon.run``, then ``meterd.model``.
"""

from importlib.metadata import version

__version__ = version("meterd")

BUILT_UTC_S = 1_795_564_800
"""25 November 2026: no clock that says an earlier date than the program's own can be right."""
