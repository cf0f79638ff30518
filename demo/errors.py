"""What ends the demonstration."""


class DemoError(Exception):
    """The demonstration cannot go on; the sentence says why and what to do."""


class EndedError(Exception):
    """Somebody asked for the end, by a signal."""
