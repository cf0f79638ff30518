"""The documentation names what is there, and what it names is there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path

import click
import numpy as np
import pytest

import meterd.cli
import server.cli
from meterd.analyze import analyze, as_json
from meterd.model import Quality, Reading
from meterd.recording import Recording

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")],
)
PROGRAMS: dict[str, click.Command] = {
    "meterd": meterd.cli.meterd,
    "meterd-sync": meterd.cli.meterd_sync,
    "meterctl": meterd.cli.meterctl,
    "meterd-server": server.cli.main,
}
EVERYWHERE = {"--help", "-h", "--version"}
PICTURE_BYTES_MAX = 200_000
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """What a user can type, down to the subcommands of subcommands."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    if command.invoke_without_command:
        yield name, command
    for child, inner in command.commands.items():
        yield from commands(f"{name} {child}", inner)


COMMANDS = dict(chain.from_iterable(commands(*program) for program in PROGRAMS.items()))


def table_rows(page: Path, title: str) -> list[list[str]]:
    """The cells of all tables under a title, without their heads and rules."""
    section = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(title))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
        if not set(line) <= set("|-: ")
    ]


def documented_commands() -> dict[str, set[str]]:
    """Commands of the README's table with their options; arguments are in capitals."""
    found = {}
    for command, _, options in table_rows(ROOT / "README.md", "Commands")[1:]:
        words = command.strip("`").split()
        name = " ".join(word for word in words if not word.isupper() and "_" not in word)
        found[name] = set(CODE.findall(options))
    return found


def anchors(page: Path) -> set[str]:
    """What a link can jump to on a page, as GitHub makes it of the titles."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        text = FENCED.sub("", page.read_text(encoding="utf-8"))
        for target in LINK.findall(text):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def test_the_readme_lists_every_command_and_no_other() -> None:
    assert documented_commands().keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_documented_with_all_its_options_and_no_others(name: str) -> None:
    options = {
        max(parameter.opts, key=len) if len(parameter.opts[0]) > 2 else parameter.opts[0]
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option)
    }
    assert documented_commands()[name] == options - EVERYWHERE


def test_a_commands_arguments_stand_behind_it() -> None:
    for cell, *_ in table_rows(ROOT / "README.md", "Commands")[1:]:
        words = cell.strip("`").split()
        given = [word for word in words if word.isupper()]
        name = " ".join(word for word in words if word not in given)
        wanted = [
            p.human_readable_name for p in COMMANDS[name].params if p.param_type_name == "argument"
        ]
        assert [word.lower() for word in given] == [word.lower() for word in wanted]


@pytest.mark.parametrize(
    ("page", "target"), [pytest.param(*link, id=f"{link[0].stem}-{link[1]}") for link in links()]
)
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    leads_to = (page.parent / path).resolve() if path else page
    assert leads_to.exists()
    assert leads_to.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(leads_to)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), {ROOT / "README.md"}
    while ahead:
        page = ahead.pop()
        reached.add(page)
        for origin, target in links():
            path = (origin.parent / target.partition("#")[0]).resolve()
            if origin == page:
                ahead |= {path} if path.suffix == ".md" else set(path.glob("*.md"))
        ahead -= reached
    assert reached >= set(PAGES)


def test_every_picture_is_shown_has_words_and_is_small() -> None:
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    for picture in (ROOT / "docs" / "images").iterdir():
        name = picture.relative_to(ROOT).as_posix()
        shown = (
            f"({os.path.relpath(picture, page.parent)})" in text for page, text in texts.items()
        )
        assert any(shown), name
        assert picture.stat().st_size < PICTURE_BYTES_MAX, name
    for page, text in texts.items():
        for words in re.findall(r"!\[([^\]]*)\]", text):
            assert len(words) > 40, f"{page}: a picture without a description"


def test_the_map_of_the_code_names_what_exists_and_every_module_of_the_front() -> None:
    named = {
        path for cells in table_rows(ROOT / "README.md", "Map") for path in CODE.findall(cells[0])
    }
    for path in named:
        assert (ROOT / path).exists(), path
        assert path.endswith("/") == (ROOT / path).is_dir(), path
    front = {f"meterd/{path.name}" for path in (ROOT / "meterd").glob("[a-z]*.py")}
    folders = {f"meterd/{path.parent.name}/" for path in (ROOT / "meterd").glob("*/__init__.py")}
    assert front | folders <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page: Path) -> None:
    tops = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"demo-state"}
    for code in CODE.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        path = code.strip()
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", path) and path.split("/")[0] in tops:
            assert (ROOT / path).exists(), path


def test_units_name_every_field_of_a_reading() -> None:
    text = (ROOT / "docs" / "units.md").read_text(encoding="utf-8")
    first_cells = re.findall(r"^\|([^|\n]+)\|", text, re.MULTILINE)
    named = {name for cell in first_cells for name in CODE.findall(cell)}
    assert {field.name for field in fields(Reading)} <= named
    assert {flag.name for flag in Quality} <= named


def test_units_list_the_keys_that_analyze_prints_and_no_others() -> None:
    t_s = np.arange(6000) / 10_000
    turned = 2 * np.pi * 60 * t_s
    recording = Recording(t_s, 180 * np.sin(turned), 6 * np.sin(turned - 0.5))
    printed = json.loads(json.dumps(as_json(analyze(recording))))
    rows = table_rows(ROOT / "docs" / "units.md", "`meterctl analyze --json`")[1:]
    assert {key for cells in rows for key in CODE.findall(cells[0])} == printed.keys()
    (harmonics,) = (cells[2] for cells in rows if cells[0] == "`harmonics`")
    assert set(CODE.findall(harmonics)) == printed["harmonics"].keys()


def test_the_layers_are_those_of_setup_cfg() -> None:
    contracts = re.findall(
        r"containers =\n\s+(\w+)\nlayers =\n((?: +.+\n)+)", (ROOT / "setup.cfg").read_text()
    )
    rows = table_rows(ROOT / "docs" / "architecture.md", "Layers")
    heads = [place for place, cells in enumerate(rows) if cells[1] == ""]
    parts = [rows[start:stop] for start, stop in zip(heads, [*heads[1:], None], strict=True)]
    tables = dict(zip(("meterd", "meterd_tariff", "server"), parts, strict=True))
    for container, layers in contracts:
        written = [name for cells in tables[container] for name in CODE.findall(cells[1])]
        assert written == re.findall(r"\w+", layers), container
