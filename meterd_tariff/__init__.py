"""What electricity costs: tariffs as dated data, and pure arithmetic from registers to centavos.

The server bills with it and the meter's owner checks a bill with it, offline; it knows neither of
them, no database, no clock and no network. Energy is integer joules, money integer centavos,
prices integer millicents per kilowatt-hour (a hundred-thousandth of the currency). Why a package
of its own: docs/decisions/billing.md.
"""
