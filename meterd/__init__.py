"""The device: a bidirectional electricity meter on a Raspberry Pi.

Start reading at ``meterd.daemon.run``, then ``meterd.model``.
"""
