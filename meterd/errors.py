"""Errors, named for what the caller can do about them."""


class MeterdError(Exception):
    """Any failure of this package that has a sentence for its user."""


class ConfigError(MeterdError):
    """The configuration cannot work as written: correct it, retrying is useless."""


class HardwareError(MeterdError):
    """A bus or a chip did not answer: check the wiring, retrying may help."""


class BatchRefusedError(HardwareError):
    """The kernel takes no message of this many transfers: use fewer, or one at a time."""


class BadWindowError(MeterdError):
    """These samples cannot be measured: skip them, flag the interval and count the gap."""


class RecordingError(MeterdError):
    """A waveform file cannot be read as one: name another file or mend this one."""


class StoreError(MeterdError):
    """The local database refused: nothing was stored, the caller must say so."""


class ServerUnavailableError(MeterdError):
    """The server could not be asked now: keep the rows, try again later."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerRefusedError(MeterdError):
    """The server understood and said no: the rows stay, a person must look."""


class NotAReadingError(MeterdError):
    """Values or bytes that the protocol does not allow: keep them as they are and look."""


class CalibrationRefusedError(MeterdError):
    """These conditions are no place to calibrate at: change them and try again."""


class KeyUnusableError(MeterdError):
    """A key or a file of one cannot be used: name another one or put its backup back."""


class StoreDamagedError(StoreError):
    """The local database is damaged: quarantine it and begin a new stream."""


class DiskFullError(StoreError):
    """The local disk is full: free some space; nothing was stored."""


class NotSignedError(MeterdError):
    """The text is not the server's word to this meter: do not act on it, and look who sent it."""


class SettingRefusedError(MeterdError):
    """The server asks for a setting that cannot be: it must send another version."""
