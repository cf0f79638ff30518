"""Errors, named for what the caller can do about them."""


class TariffError(Exception):
    """A tariff, price series or bill is not written as it must be: correct the file."""


class PriceMissingError(TariffError):
    """Nobody has entered the price of that month: enter it, it is never guessed."""
