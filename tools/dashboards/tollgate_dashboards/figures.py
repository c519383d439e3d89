"""Single numbers, bars and tables."""

import math
from dataclasses import dataclass
from typing import Any

from .box import FAINT, INK, RULE, Box
from .curves import Line, sparkline
from .prometheus import Series
from .shipped import Panel, Span
from .units import written


def draw_figure(box: Box, panel: Panel, found: list[Line], span: Span) -> None:
    """A panel of type stat."""
    defaults = panel.json["fieldConfig"]["defaults"]
    line = found[0]
    value = line.series.last
    colour = reached(defaults["thresholds"]["steps"], value)
    text = written(value, defaults["unit"], defaults.get("decimals"))
    if not math.isfinite(value):
        text, colour = _named(defaults["mappings"]), FAINT
    if len(line.series.values) > 1:
        sparkline(box, line.series, colour, span)
    box.text(box.width / 2, box.height * 0.42, text, size=24, colour=colour, weight="bold", align="center")


def draw_bars(box: Box, panel: Panel, found: list[Line], span: Span) -> None:
    """A panel of type bargauge."""
    del span
    defaults = panel.json["fieldConfig"]["defaults"]
    found = sorted(found, key=lambda line: line.series.last)
    most = defaults.get("max") or max(line.series.last for line in found)
    height = min(0.34, (box.height - 0.6) / len(found))
    left = min(0.4 * box.width, 0.3 + 0.07 * max(len(line.name) for line in found))
    for index, line in enumerate(found):
        y = 0.55 + height * (index + 0.5)
        box.text(0.15, y, line.name, size=8)
        axes = box.axes(left + 0.2, y - height * 0.33, 1.1, box.height - y - height * 0.33)
        axes.axis("off")
        axes.set_xlim(0, most or 1)
        axes.set_ylim(0, 1)
        axes.barh(0.5, most or 1, height=1, color="#eef0f2")
        axes.barh(0.5, line.series.last, height=1, color=reached(defaults["thresholds"]["steps"], line.series.last))
        box.text(box.width - 0.15, y, written(line.series.last, defaults["unit"]), size=8, align="right")


@dataclass(frozen=True)
class _Column:
    name: str
    title: str
    settings: dict[str, Any]

    def written(self, value: float | str) -> str:
        if isinstance(value, str):
            return value
        return written(value, self.settings.get("unit", "short"), self.settings.get("decimals"))

    def colour(self, value: float | str) -> str:
        steps = self.settings.get("thresholds", {}).get("steps")
        return reached(steps, value) if steps and isinstance(value, float) else INK


def draw_table(box: Box, panel: Panel, found: dict[str, list[Series]]) -> None:
    """A panel of type table: the queries' answers joined by their labels, which is what the transformations do."""
    organize = next(step["options"] for step in panel.json["transformations"] if step["id"] == "organize")
    sort = next(step["options"]["sort"][0] for step in panel.json["transformations"] if step["id"] == "sortBy")
    settings = {
        override["matcher"]["options"]: {shown["id"]: shown["value"] for shown in override["properties"]}
        for override in panel.json["fieldConfig"]["overrides"]
    }
    titles = organize["renameByName"]
    columns = [
        _Column(name, titles[name], settings.get(titles[name], {}))
        for name in sorted(organize["indexByName"], key=lambda name: organize["indexByName"][name])
    ]
    only = f"Value #{next(iter(found))}"
    merged: dict[tuple[tuple[str, str], ...], dict[str, float | str]] = {}
    for ref, answer in found.items():
        for series in answer:
            row = merged.setdefault(tuple(sorted(series.labels.items())), dict(series.labels))
            row[f"Value #{ref}"] = series.last
    assert len(found) > 1 or only in titles
    by = next(column.name for column in columns if column.title == sort["field"])
    table = sorted(merged.values(), key=lambda row: _ordered(row.get(by)), reverse=sort["desc"])
    room = int((box.height - 0.75) / 0.215)
    widths = [
        max([len(column.title), *(len(column.written(row.get(column.name, math.nan))) for row in table[:room])]) + 2
        for column in columns
    ]
    unit = (box.width - 0.3) / sum(widths)
    x = 0.15
    for column, width in zip(columns, widths, strict=True):
        is_number = column.name.startswith("Value #")
        edge = x + unit * width - 0.1 if is_number else x
        align = "right" if is_number else "left"
        box.text(edge, 0.5, column.title, size=8, colour=FAINT, weight="bold", align=align)
        for index, row in enumerate(table[:room]):
            value = row.get(column.name, math.nan)
            size = 8 if unit > 0.062 else 7
            box.text(edge, 0.74 + 0.215 * index, column.written(value), size=size, colour=column.colour(value), align=align)
        x += unit * width
    axes = box.axes(0.12, 0.615, 0.12, box.height - 0.62)
    axes.axis("off")
    axes.axhline(0, color=RULE, linewidth=1)
    if len(table) > room:
        box.text(box.width - 0.15, 0.2, f"{room} of {len(table)} rows", size=7.5, colour=FAINT, align="right")


def reached(steps: list[dict[str, Any]], value: float) -> str:
    """The colour of the highest threshold that a value reaches."""
    colour: str = FAINT
    for step in steps:
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    return colour


def _named(mappings: list[dict[str, Any]]) -> str:
    return next((str(mapping["options"]["result"]["text"]) for mapping in mappings if mapping["type"] == "special"), "-")


def _ordered(value: float | str | None) -> tuple[bool, float, str]:
    if isinstance(value, str):
        return True, 0.0, value
    return value is not None and math.isfinite(value), value if value is not None and math.isfinite(value) else 0.0, ""
