"""Lines over time, and how observations are spread over a histogram's buckets."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from .box import FAINT, INK, RULE, Box, colour_of
from .prometheus import Series
from .shipped import Panel, Span
from .units import written

LEGEND_LINE = 0.165


@dataclass(frozen=True)
class Line:
    """A series by the name that the legend gives it."""

    name: str
    series: Series


def draw_lines(box: Box, panel: Panel, found: list[Line], span: Span) -> None:
    """A panel of type timeseries."""
    defaults = panel.json["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    found = sorted(found, key=lambda line: -_largest(line.series.values))
    shown = max(1, min(len(found), int((box.height - 1.2) * 0.4 / LEGEND_LINE)))
    axes = box.axes(0.78, 0.4, 0.18, 0.34 + LEGEND_LINE * (shown + 1.5))
    styles = {line.name: colour_of(index) for index, line in enumerate(sorted(found, key=lambda line: line.name))}
    styles |= {name: (colour, "-") for name, colour in _fixed_colours(panel).items() if name in styles}
    dashed = _dashed(panel)
    styles = {name: (colour, (0, (5, 3)) if dashed(name) else dashes) for name, (colour, dashes) in styles.items()}
    if custom["stacking"]["mode"] == "normal":
        _stack(axes, found, styles)
    else:
        for line in found:
            colour, dashes = styles[line.name]
            axes.plot(_dates(line.series.times), line.series.values, color=colour, linestyle=dashes, linewidth=1.5)
    _scale(axes, found, custom["stacking"]["mode"] == "normal", defaults.get("max"))
    if custom.get("thresholdsStyle", {}).get("mode") == "dashed":
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] <= axes.get_ylim()[1]:
                axes.axhline(step["value"], color=step["color"], linewidth=1, linestyle=(0, (6, 4)), zorder=1)
    _finish(axes, unit, span)
    _legend(box, found[:shown], styles, unit, len(found) - shown)


def draw_heatmap(box: Box, panel: Panel, found: list[Line], span: Span) -> None:
    """A panel of type heatmap, from a histogram's cumulative buckets by `le`."""
    unit = panel.json["options"]["yAxis"]["unit"]
    buckets = sorted(found, key=lambda line: float(line.series.labels["le"]))
    times = np.unique(np.concatenate([line.series.times for line in buckets]))
    counts = np.zeros((len(buckets), len(times)))
    for row, line in enumerate(buckets):
        counts[row, np.searchsorted(times, line.series.times)] = np.nan_to_num(line.series.values)
    counts = np.diff(counts, axis=0, prepend=0).clip(min=0)
    used = np.flatnonzero(counts.sum(axis=1) > 1e-9)
    low, high = (max(used[0] - 1, 0), min(used[-1] + 2, len(buckets))) if len(used) else (0, len(buckets))
    counts = np.ma.masked_less(counts[low:high], 1e-9)
    axes = box.axes(0.78, 0.4, 1.0, 0.42)
    edges = np.append(times, times[-1] + (times[-1] - times[-2] if len(times) > 1 else span.scrape_interval))
    mesh = axes.pcolormesh(
        _dates(edges), np.arange(high - low + 1), counts, cmap="viridis", norm=PowerNorm(0.5, vmin=0), shading="flat"
    )
    bounds = [float(line.series.labels["le"]) for line in buckets[low:high]]
    axes.set_yticks(np.arange(1, high - low + 1), [written(bound, unit) if np.isfinite(bound) else "more" for bound in bounds])
    bar = axes.figure.colorbar(mesh, ax=None, cax=box.axes(box.width - 0.85, 0.45, 0.72, 0.45))
    bar.ax.yaxis.set_major_locator(MaxNLocator(4))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, "reqps")))
    bar.ax.tick_params(labelsize=7, colors=FAINT, length=0)
    bar.outline.set_visible(False)
    _time_axis(axes, span)
    axes.tick_params(axis="y", labelsize=7, colors=FAINT, length=0)


def sparkline(box: Box, series: Series, colour: str, span: Span) -> None:
    """The course of one number, small, at the lower edge."""
    axes = box.axes(0, box.height * 0.62, 0, 0)
    axes.fill_between(_dates(series.times), np.nan_to_num(series.values), color=colour, alpha=0.18, linewidth=0)
    axes.plot(_dates(series.times), series.values, color=colour, linewidth=1)
    axes.set_xlim(*_dates(np.array([span.start, span.end])))
    axes.set_ylim(bottom=0)
    axes.axis("off")


def _stack(axes: Axes, found: list[Line], styles: dict[str, Any]) -> None:
    times = np.unique(np.concatenate([line.series.times for line in found]))
    bottom = np.zeros(len(times))
    for line in found:
        values = np.zeros(len(times))
        values[np.searchsorted(times, line.series.times)] = np.nan_to_num(line.series.values)
        colour = styles[line.name][0]
        axes.fill_between(_dates(times), bottom, bottom + values, color=colour, alpha=0.65, linewidth=0)
        axes.plot(_dates(times), bottom + values, color=colour, linewidth=0.8)
        bottom = bottom + values


def _scale(axes: Axes, found: list[Line], stacked: bool, maximum: float | None) -> None:
    largest = [_largest(line.series.values) for line in found]
    top = axes.get_ylim()[1] if stacked else max(largest, default=0) * 1.08
    lowest = min(float(np.min(np.nan_to_num(line.series.values))) for line in found)
    axes.set_ylim(min(0.0, lowest), maximum or (top if top > 0 else 1))


def _finish(axes: Axes, unit: str, span: Span) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=unit == "short"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", labelsize=7.5, colors=FAINT, length=0)
    _time_axis(axes, span)


def _time_axis(axes: Axes, span: Span) -> None:
    axes.set_xlim(*_dates(np.array([span.start, span.end])))
    locator = AutoDateLocator(minticks=3, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S" if span.seconds < 600 else "%H:%M"))
    axes.tick_params(axis="x", labelsize=7.5, colors=FAINT, length=3, color=RULE)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def _legend(box: Box, shown: list[Line], styles: dict[str, Any], unit: str, more: int) -> None:
    columns = [box.width - 1.55, box.width - 0.85, box.width - 0.15]
    y = box.height - LEGEND_LINE * (len(shown) + 1.1) + (0 if more else LEGEND_LINE * 0.5)
    for x, heading in zip(columns, ["mean", "max", "last"], strict=True):
        box.text(x, y, heading, size=7, colour=FAINT, align="right")
    room = int((columns[0] - 1.0) / 0.068)
    for line in shown:
        y += LEGEND_LINE
        colour, dashes = styles[line.name]
        box.text(0.14, y, "- -" if dashes != "-" else "—", size=8, colour=colour, weight="bold")
        box.text(0.42, y, line.name if len(line.name) <= room else f"{line.name[: room - 1]}…", size=7.5)
        numbers = line.series.values[np.isfinite(line.series.values)]
        values = [numbers.mean(), numbers.max(), numbers[-1]] if len(numbers) else [float("nan")] * 3
        for x, value in zip(columns, values, strict=True):
            box.text(x, y, written(float(value), unit), size=7.5, align="right", colour=INK)
    if more > 0:
        box.text(0.42, y + LEGEND_LINE * 0.8, f"and {more} more", size=7, colour=FAINT)


def _fixed_colours(panel: Panel) -> dict[str, str]:
    return {
        override["matcher"]["options"]: shown["value"]["fixedColor"]
        for override in panel.json["fieldConfig"]["overrides"]
        for shown in override["properties"]
        if override["matcher"]["id"] == "byName" and shown["id"] == "color"
    }


def _dashed(panel: Panel) -> Callable[[str], bool]:
    """Which lines an override dashes. Grafana's regular expressions stand between slashes."""
    expressions = [
        re.compile(override["matcher"]["options"].strip("/"))
        for override in panel.json["fieldConfig"]["overrides"]
        for shown in override["properties"]
        if shown["id"] == "custom.lineStyle"
    ]
    return lambda name: any(expression.search(name) for expression in expressions)


def _largest(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else 0.0


def _dates(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(date2num([datetime.fromtimestamp(time) for time in times]), dtype=np.float64)
