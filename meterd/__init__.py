"""The device: a bidirectional electricity meter on a Raspberry Pi.

Start reading at ``meterd.daemon.run``, then ``meterd.model``.
"""

from importlib.metadata import version

__version__ = version("meterd")
