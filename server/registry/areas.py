"""Zones and the feeders in them: a tree of areas, each with a name of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import CTE, Connection, func, insert, select, update

from server.errors import AlreadyExistsError, NotFoundError, SettingError
from server.registry.values import NO_AREA, AreaKind, new_id, require_text
from server.schema import AREA, USAGE_POINT

DEPTH_MAX = 20


@dataclass(frozen=True, slots=True)
class Area:
    """One area, how deep it stands in the tree, and how many usage points are right in it."""

    area_id: int
    name: str
    kind: str
    parent: str | None
    depth: int
    usage_points: int


def create(
    connection: Connection, *, name: str, kind: AreaKind = "zone", parent: str | None = None
) -> int:
    """A new area; returns its id.

    Raises:
        SettingError: a name that cannot be one, or a tree too deep.
        AlreadyExistsError: there is an area of that name.
        NotFoundError: no such parent.
    """
    require_text("the area's name", name)
    if name == NO_AREA:
        raise SettingError(f"{NO_AREA!r} means no area: choose a name")
    if kind not in ("zone", "feeder"):
        raise SettingError(f"an area is a zone or a feeder, not {kind!r}")
    if connection.scalar(select(AREA.c.id).where(AREA.c.name == name)) is not None:
        raise AlreadyExistsError(f"there is an area {name!r} already")
    parent_id = None if parent is None else named(connection, parent)
    if parent_id is not None and len(path(connection, parent_id)) >= DEPTH_MAX:
        raise SettingError(f"areas are at most {DEPTH_MAX} deep")
    created = insert(AREA).values(name=name, kind=kind, parent_id=parent_id)
    return new_id(connection.execute(created).inserted_primary_key)


def move(connection: Connection, *, name: str, parent: str | None) -> None:
    """Hang an area and all below it under another, or make it a root.

    Raises:
        NotFoundError: no such area or parent.
        SettingError: the parent is the area itself or below it.
    """
    area_id = named(connection, name)
    parent_id = None if parent is None else named(connection, parent)
    if parent_id is not None and area_id in path(connection, parent_id):
        raise SettingError(f"{parent!r} is {name!r} or below it: an area cannot be in itself")
    connection.execute(update(AREA).where(AREA.c.id == area_id).values(parent_id=parent_id))


def named(connection: Connection, name: str) -> int:
    """The id of the area of that name.

    Raises:
        NotFoundError: there is none.
    """
    area_id: int | None = connection.scalar(select(AREA.c.id).where(AREA.c.name == name))
    if area_id is None:
        raise NotFoundError(f"there is no area {name!r}: `meterd-server areas` lists them")
    return area_id


def named_or_new(connection: Connection, name: str) -> int | None:
    """The id of the area of that name, which becomes a zone if there is none; None for ``-``."""
    if name == NO_AREA:
        return None
    area_id: int | None = connection.scalar(select(AREA.c.id).where(AREA.c.name == name))
    return create(connection, name=name) if area_id is None else area_id


def path(connection: Connection, area_id: int) -> list[int]:
    """The area and all above it, root last."""
    found: list[int] = []
    here: int | None = area_id
    while here is not None:
        assert here not in found, "areas in a circle"
        found.append(here)
        here = connection.scalar(select(AREA.c.parent_id).where(AREA.c.id == here))
    return found


def below(area_id: int) -> CTE:
    """The ids of the area and all below it, to be joined in a query."""
    tree = select(AREA.c.id).where(AREA.c.id == area_id).cte("below", recursive=True)
    return tree.union_all(select(AREA.c.id).join(tree, AREA.c.parent_id == tree.c.id))


def listed(connection: Connection) -> list[Area]:
    """The whole tree, each area behind its parent, by name."""
    points = (
        select(USAGE_POINT.c.area_id, func.count().label("points"))
        .group_by(USAGE_POINT.c.area_id)
        .subquery()
    )
    query = (
        select(AREA, func.coalesce(points.c.points, 0).label("points"))
        .outerjoin(points, points.c.area_id == AREA.c.id)
        .order_by(AREA.c.name)
    )
    children: dict[int | None, list[Area]] = {}
    names: dict[int | None, str] = {}
    rows = connection.execute(query).all()
    for row in rows:
        names[row.id] = row.name
    for row in rows:
        area = Area(row.id, row.name, row.kind, names.get(row.parent_id), 0, row.points)
        children.setdefault(row.parent_id, []).append(area)
    return _in_order(children, None, 0)


def _in_order(children: dict[int | None, list[Area]], parent: int | None, depth: int) -> list[Area]:
    found = []
    for area in children.get(parent, []):
        here = Area(area.area_id, area.name, area.kind, area.parent, depth, area.usage_points)
        found += [here, *_in_order(children, area.area_id, depth + 1)]
    return found
