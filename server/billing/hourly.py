"""Energy by hours of a period, whose sum is the registers' difference, and the hours' prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, insert, select

from meterd_tariff.bill import Segment
from meterd_tariff.charges import HoursEnergy, Terms
from meterd_tariff.errors import PriceMissingError
from meterd_tariff.netting import HourExport
from meterd_tariff.seasons import is_summer
from meterd_tariff.tariff import Season, Tariff, hours_name
from meterd_tariff.units import JOULES_PER_WH, half_up
from server import history
from server.energy import HOUR_S, Point
from server.errors import ConflictError
from server.registry import meter_named
from server.schema import ENERGY_PRICE

Hourly = dict[int, tuple[int, int]]
"""Import and export by the hour's beginning, in joules."""


def by_hours(connection: Connection, segments: Sequence[Segment], step_wh: int) -> Hourly:
    """What the segments counted, each hour by the readings that end in it.

    What was counted while readings were missing falls in the hour of the next one.
    """
    found: Hourly = {}
    for segment in segments:
        meter_id, _ = meter_named(connection, segment.meter)
        first, last = segment.opening, segment.closing
        points = history.profile(connection, meter_id, first.utc_s, last.utc_s)
        for hour, energy in _hours(segment, points, step_wh * JOULES_PER_WH).items():
            had = found.get(hour, (0, 0))
            found[hour] = (had[0] + energy[0], had[1] + energy[1])
    return found


def time_of_use(
    tariff: Tariff, terms: Terms, zone: ZoneInfo, hours: Hourly
) -> tuple[HoursEnergy, ...]:
    """Imports by season and price, in the order of their names."""
    sums: dict[tuple[Season, str], int] = {}
    for start_utc_s, (import_j, _) in hours.items():
        local = datetime.fromtimestamp(start_utc_s, UTC).astimezone(zone)
        day = local.date()
        season: Season = "summer" if is_summer(tariff, terms.summer_from_month, day) else "winter"
        key = (season, hours_name(tariff, day, local.hour, season))
        sums[key] = sums.get(key, 0) + import_j
    return tuple(HoursEnergy(*key, energy_j) for key, energy_j in sorted(sums.items()))


def priced_exports(connection: Connection, node: str | None, hours: Hourly) -> list[HourExport]:
    """Each hour's export with the local price of the hour.

    Raises:
        PriceMissingError: the price of an hour with exports is not known.
    """
    exports = {hour: export_j for hour, (_, export_j) in sorted(hours.items()) if export_j}
    if not exports:
        return []
    if node is None:
        raise PriceMissingError(
            "the agreement names no node whose local prices exports are paid at"
        )
    prices = _prices(connection, node, min(exports), max(exports))
    for hour in exports:
        if hour not in prices:
            when = datetime.fromtimestamp(hour, UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise PriceMissingError(f"node {node} has no local price for the hour from {when}")
    return [HourExport(hour, export_j, prices[hour]) for hour, export_j in exports.items()]


def mean_price(
    connection: Connection, node: str | None, start_utc_s: int, end_utc_s: int
) -> int | None:
    """The mean of a period's hourly prices; None unless each hour has one."""
    if node is None:
        return None
    start_utc_s -= start_utc_s % HOUR_S
    prices = _prices(connection, node, start_utc_s, end_utc_s - 1)
    wanted = -((start_utc_s - end_utc_s) // HOUR_S)
    return half_up(sum(prices.values()), wanted) if len(prices) == wanted else None


def keep_prices(connection: Connection, node: str, prices: Mapping[int, int]) -> int:
    """Keep hourly prices, millicents by the hour's beginning; returns how many are new.

    Raises:
        ConflictError: an hour has another price already.
    """
    known = _prices(connection, node, min(prices, default=0), max(prices, default=0))
    for hour, price in prices.items():
        if known.get(hour, price) != price:
            raise ConflictError(f"node {node} has another price for the hour {hour} already")
    new = [
        {"node": node, "start_utc_s": hour, "millicents_per_kwh": price}
        for hour, price in prices.items()
        if hour not in known
    ]
    if new:
        connection.execute(insert(ENERGY_PRICE), new)
    return len(new)


def nodes(connection: Connection) -> list[tuple[str, int]]:
    """Every node with the number of its hours."""
    query = (
        select(ENERGY_PRICE.c.node, func.count())
        .group_by(ENERGY_PRICE.c.node)
        .order_by(ENERGY_PRICE.c.node)
    )
    return [(node, count) for node, count in connection.execute(query)]


def _prices(connection: Connection, node: str, first_utc_s: int, last_utc_s: int) -> dict[int, int]:
    query = select(ENERGY_PRICE.c.start_utc_s, ENERGY_PRICE.c.millicents_per_kwh).where(
        ENERGY_PRICE.c.node == node, ENERGY_PRICE.c.start_utc_s.between(first_utc_s, last_utc_s)
    )
    return {hour: price for hour, price in connection.execute(query)}


def _hours(segment: Segment, points: Sequence[Point], step_j: int) -> Hourly:
    """Differences of registers cut to whole steps; the last reading closes the sum."""
    found: Hourly = {}
    before = (segment.opening.import_j // step_j, segment.opening.export_j // step_j)
    closing = (
        segment.closing.utc_s,
        segment.closing.import_j + segment.decided_import_j,
        segment.closing.export_j + segment.decided_export_j,
    )
    told = [(point.utc_s, point.import_j, point.export_j) for point in points]
    for utc_s, import_j, export_j in [*sorted(told), closing]:
        if not segment.opening.utc_s < utc_s <= segment.closing.utc_s:
            continue
        here = (max(before[0], import_j // step_j), max(before[1], export_j // step_j))
        hour = (utc_s - 1) // HOUR_S * HOUR_S
        had = found.get(hour, (0, 0))
        found[hour] = (
            had[0] + (here[0] - before[0]) * step_j,
            had[1] + (here[1] - before[1]) * step_j,
        )
        before = here
    return found
