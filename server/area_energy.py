"""What an area took and gave in a period: from the hours of its meters, never from raw readings."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from server.errors import SettingError
from server.registry import areas
from server.schema import INTERVAL_HOUR, METER, METER_INSTALL, USAGE_POINT

HOUR_S = 3600
HOURS_MAX = 24 * 800
TOP_MAX = 1000


@dataclass(frozen=True, slots=True)
class AreaHour:
    """One hour of the load curve."""

    start_utc_s: int
    import_j: int
    export_j: int
    meters: int

    @property
    def net_j(self) -> int:
        """What the area took beyond what it gave."""
        return self.import_j - self.export_j


@dataclass(frozen=True, slots=True)
class PointEnergy:
    """A usage point's part of it."""

    service_number: str
    serial: str
    import_j: int
    export_j: int
    estimated_s: int


@dataclass(frozen=True, slots=True)
class AreaEnergy:
    """The whole of an area and all below it, for ``(from, to]``."""

    area: str
    from_utc_s: int
    to_utc_s: int
    import_j: int
    export_j: int
    meters_reporting: int
    meters_expected: int
    covered_s: int  # of all meters
    expected_s: int
    estimated_s: int
    questionable_s: int
    hours: list[AreaHour]
    top: list[PointEnergy]

    @property
    def net_j(self) -> int:
        """What the area took beyond what it gave."""
        return self.import_j - self.export_j

    @property
    def coverage_pct(self) -> float:
        """How much of the time that its meters hung there has intervals."""
        return 100.0 * self.covered_s / self.expected_s if self.expected_s else 0.0


def consumption(
    connection: Connection, area: str, from_utc_s: int, to_utc_s: int, *, top: int = 10
) -> AreaEnergy:
    """Add up an area's meters over whole hours.

    Raises:
        NotFoundError: no such area.
        SettingError: not whole hours, backwards, too long, or too long a list.
    """
    if from_utc_s % HOUR_S or to_utc_s % HOUR_S:
        raise SettingError("the period begins and ends at whole hours of UTC")
    if not 0 < to_utc_s - from_utc_s <= HOURS_MAX * HOUR_S:
        raise SettingError(f"the period has 1 to {HOURS_MAX} hours")
    if not 0 <= top <= TOP_MAX:
        raise SettingError(f"the list has at most {TOP_MAX} lines")
    tree = areas.below(areas.named(connection, area))
    inside = USAGE_POINT.c.area_id.in_(select(tree.c.id))
    meters, expected_s = _expected(connection, inside, from_utc_s, to_utc_s)
    table = INTERVAL_HOUR.c
    # A meter's hours are one range of the key: the cost is that of the area and the period.
    of_area = and_(
        table.meter_id.in_(
            select(METER_INSTALL.c.meter_id)
            .join(USAGE_POINT, USAGE_POINT.c.id == METER_INSTALL.c.usage_point_id)
            .where(inside)
        ),
        table.start_utc_s >= from_utc_s,
        table.start_utc_s < to_utc_s,
    )
    hours = _hours(connection, of_area)
    reporting, covered_s, estimated_s, questionable_s = connection.execute(
        select(
            func.count(table.meter_id.distinct()),
            func.coalesce(func.sum(table.covered_s), 0),
            func.coalesce(func.sum(table.estimated_s), 0),
            func.coalesce(func.sum(table.questionable_s), 0),
        ).where(of_area)
    ).one()
    return AreaEnergy(
        area,
        from_utc_s,
        to_utc_s,
        sum(hour.import_j for hour in hours),
        sum(hour.export_j for hour in hours),
        reporting,
        meters,
        covered_s,
        expected_s,
        estimated_s,
        questionable_s,
        hours,
        _top(connection, of_area, top) if top else [],
    )


def _hours(connection: Connection, of_area: ColumnElement[bool]) -> list[AreaHour]:
    table = INTERVAL_HOUR.c
    query = (
        select(table.start_utc_s, func.sum(table.import_j), func.sum(table.export_j), func.count())
        .where(of_area)
        .group_by(table.start_utc_s)
        .order_by(table.start_utc_s)
    )
    return [AreaHour(*row) for row in connection.execute(query)]


def _top(connection: Connection, of_area: ColumnElement[bool], top: int) -> list[PointEnergy]:
    table = INTERVAL_HOUR.c
    sums = (
        select(
            table.meter_id,
            table.usage_point_id,
            func.sum(table.import_j).label("import_j"),
            func.sum(table.export_j).label("export_j"),
            func.sum(table.estimated_s).label("estimated_s"),
        )
        .where(of_area)
        .group_by(table.meter_id, table.usage_point_id)
        .subquery()
    )
    query = (
        select(
            USAGE_POINT.c.service_number,
            METER.c.serial,
            sums.c.import_j,
            sums.c.export_j,
            sums.c.estimated_s,
        )
        .join(METER, METER.c.id == sums.c.meter_id)
        .join(USAGE_POINT, USAGE_POINT.c.id == sums.c.usage_point_id)
        .order_by(sums.c.import_j.desc(), USAGE_POINT.c.service_number, METER.c.serial)
        .limit(top)
    )
    return [PointEnergy(*row) for row in connection.execute(query)]


def _expected(
    connection: Connection, inside: ColumnElement[bool], from_utc_s: int, to_utc_s: int
) -> tuple[int, int]:
    """How many meters hung there in the period, and for how long together."""
    install = METER_INSTALL.c
    query = (
        select(install.from_utc_s, install.to_utc_s)
        .join(USAGE_POINT, USAGE_POINT.c.id == install.usage_point_id)
        .where(
            inside,
            install.from_utc_s < to_utc_s,
            or_(install.to_utc_s.is_(None), install.to_utc_s > from_utc_s),
        )
    )
    times = [
        min(to_utc_s, until or to_utc_s) - max(from_utc_s, begun)
        for begun, until in connection.execute(query)
    ]
    return len(times), sum(times)
