"""Draws the dashboards with what a real Prometheus answers, as Grafana would lay them out. An empty panel is an error."""

import re
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .box import FAINT, INK, PAPER, Box
from .curves import Line, draw_heatmap, draw_lines
from .figures import draw_bars, draw_figure, draw_table
from .prometheus import Prometheus, Refused, Series
from .shipped import Dashboard, Panel, Span, Target, dashboards

COLUMN, ROW, GAP, MARGIN, HEAD = 0.86, 0.4, 0.05, 0.2, 0.75
# What a panel of all 24 columns has room for.
POINTS = 1600
DRAWN = {"timeseries": draw_lines, "heatmap": draw_heatmap, "stat": draw_figure, "bargauge": draw_bars}


def everything(directory: Path, url: str, span: Span, out: Path) -> int:
    """Draws each dashboard to OUT/UID.png. Says what was empty, and what nothing here can answer; 1 if anything was empty."""
    mpl.use("agg")
    mpl.rcParams["font.family"] = "DejaVu Sans"
    out.mkdir(parents=True, exist_ok=True)
    server = Prometheus(url)
    empty: list[str] = []
    for dashboard in dashboards(directory):
        page = _Page(dashboard, server, span)
        page.draw().savefig(out / f"{dashboard.uid}.png", dpi=100, facecolor=PAPER)
        print(f"{out / dashboard.uid}.png: {page.shown} panels drawn, {len(page.elsewhere)} proved elsewhere")
        for line in page.elsewhere:
            print(f"  proved elsewhere: {line}")
        empty += page.empty
    for line in empty:
        print(f"error: nothing to show: {line}", file=sys.stderr)
    return 1 if empty else 0


class _Page:
    def __init__(self, dashboard: Dashboard, server: Prometheus, span: Span) -> None:
        self.dashboard, self.server, self.span = dashboard, server, span
        self.shown = 0
        self.empty: list[str] = []
        self.elsewhere: list[str] = []

    def draw(self) -> Figure:
        rows = max(panel.y + panel.h for panel in self.dashboard.panels)
        width, height = 24 * COLUMN + 2 * MARGIN, rows * ROW + HEAD + MARGIN
        figure = Figure(figsize=(width, height))
        head = Box(figure, MARGIN, 0, width - 2 * MARGIN, HEAD)
        head.text(0, 0.3, self.dashboard.title, size=17, weight="bold")
        head.text(0, 0.56, self.dashboard.json["description"], size=9.5, colour=FAINT)
        for panel in self.dashboard.panels:
            box = Box(
                figure,
                MARGIN + panel.x * COLUMN + GAP,
                HEAD + panel.y * ROW + GAP,
                panel.w * COLUMN - 2 * GAP,
                panel.h * ROW - 2 * GAP,
            )
            if panel.kind == "row":
                box.text(0.05, 0.2, panel.title, size=11.5, weight="bold", colour=INK)
            else:
                box.frame(panel.title)
                self._panel(box, panel)
        return figure

    def _panel(self, box: Box, panel: Panel) -> None:
        where = f"{self.dashboard.title}, {panel.title}"
        targets = list(self.dashboard.targets(panel, self.span, POINTS * panel.w // 24))
        found = {target.ref: answer for target in targets if (answer := self._ask(target, panel, where))}
        missing = [target for target in targets if target.ref not in found]
        self.elsewhere += [f"{where} ({target.ref}): {target.elsewhere}" for target in missing if target.elsewhere]
        if not found:
            whose = missing[0].elsewhere if missing else None
            said = f"proved elsewhere: {whose}" if whose else "No data"
            box.text(box.width / 2, box.height / 2, said, colour=FAINT, align="center")
            return
        self.shown += 1
        if panel.kind == "table":
            draw_table(box, panel, found)
            return
        named = [Line(_name(target.legend, series), series) for target in targets for series in found.get(target.ref, [])]
        DRAWN[panel.kind](box, panel, named, self.span)

    def _ask(self, target: Target, panel: Panel, where: str) -> list[Series]:
        """What there is to show; nothing is an error, unless the query is one of those that others answer."""
        if target.source != "prometheus":
            return []
        try:
            if target.instant:
                found = self.server.at(target.expr, self.span.end)
            else:
                step = self.span.step(POINTS * panel.w // 24)
                found = self.server.over(target.expr, self.span.start, self.span.end, step)
        except Refused as refused:
            self.empty.append(f"{where} ({target.ref}): {refused}")
            return []
        if not any(np.isfinite(series.values).any() for series in found):
            if not target.elsewhere:
                self.empty.append(f"{where} ({target.ref}): {target.expr}")
            return []
        return found


def _name(legend: str, series: Series) -> str:
    if legend in ("", "__auto"):
        return ", ".join(f"{name}={value}" for name, value in sorted(series.labels.items())) or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: series.labels.get(found[1], ""), legend)
