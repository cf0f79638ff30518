"""Errors, named for what the caller can do about them."""


class ServerError(Exception):
    """Any failure of this package that has a sentence for its user."""


class SettingError(ServerError):
    """The command or its settings cannot work as given: correct them, retrying is useless."""


class DatabaseNotReadyError(ServerError):
    """The database is absent or of another version: run ``meterd-server init``."""


class AlreadyExistsError(ServerError):
    """That name, number or serial is taken: choose another, or use the one there is."""


class NotFoundError(ServerError):
    """There is no such customer or meter: check how it is written."""


class ConflictError(ServerError):
    """It contradicts what is booked for good: correct the request, or book a correction."""


class NotBillableError(ServerError):
    """The period cannot be billed yet, and the message says why: mend that and run again."""


class BadKeyError(ServerError):
    """What was given as a public key is none: the sender must send another."""


class TooManyError(ServerError):
    """As many are open as there may be: wait for some to be answered, or cancel them."""


class BusyError(ServerError):
    """Somebody else is writing, or too much is asked at once: try again later."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
