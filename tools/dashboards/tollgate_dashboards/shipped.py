"""The shipped JSON files as a reader of Grafana meets them: panels, and queries with the variables filled in."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ELSEWHERE: Mapping[str, str] = json.loads((Path(__file__).parents[1] / "elsewhere.json").read_text())
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# A variable's name begins with a letter; ${1} is PromQL's own.
_VARIABLE = re.compile(r"\$(?:\{([a-zA-Z_]\w*)\}|([a-zA-Z_]\w*))")


@dataclass(frozen=True)
class Span:
    """The time range that is shown, in seconds since 1970, and how often the data source has a new value."""

    start: float
    end: float
    scrape_interval: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def step(self, points: int) -> float:
        """Grafana's $__interval for a panel that has room for so many points."""
        return max(self.scrape_interval, math.ceil(self.seconds / points))


@dataclass(frozen=True)
class Target:
    """A query as it is sent."""

    ref: str
    expr: str
    legend: str
    instant: bool
    # The type of the data source that it goes to.
    source: str
    # Why nothing here can answer it, if so.
    elsewhere: str | None


@dataclass(frozen=True)
class Panel:
    """A panel, with its own JSON."""

    title: str
    kind: str
    x: int
    y: int
    w: int
    h: int
    json: dict[str, Any]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard, with its own JSON."""

    uid: str
    title: str
    panels: list[Panel]
    json: dict[str, Any]

    def targets(self, panel: Panel, span: Span, points: int) -> Iterator[Target]:
        """The panel's queries as Grafana sends them before the reader has chosen anything."""
        for target in panel.json.get("targets", []):
            expr = self._filled(target["expr"], span, points)
            yield Target(
                ref=target["refId"],
                expr=expr,
                legend=target.get("legendFormat", ""),
                instant=bool(target.get("instant")),
                source=target["datasource"]["type"],
                elsewhere=_elsewhere(target["datasource"]["type"], expr),
            )

    def _filled(self, expr: str, span: Span, points: int) -> str:
        step = span.step(points)
        values = {
            "__interval": _duration(step),
            "__rate_interval": _duration(max(step + span.scrape_interval, 4 * span.scrape_interval)),
            "__range": _duration(span.seconds),
            "__auto": _duration(step),
        }
        for variable in self.json["templating"]["list"]:
            value = variable.get("current", {}).get("value", "")
            values[variable["name"]] = variable["allValue"] if value == ["$__all"] else str(value)
        return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expr)


def dashboards(directory: Path) -> list[Dashboard]:
    """All that lie there, by name."""
    result = []
    for file in sorted(directory.glob("*.json")):
        content = json.loads(file.read_text())
        panels = [
            Panel(panel["title"], panel["type"], place["x"], place["y"], place["w"], place["h"], panel)
            for panel in content["panels"]
            for place in [panel["gridPos"]]
        ]
        result.append(Dashboard(content["uid"], content["title"], panels, content))
    return result


def _elsewhere(source: str, expr: str) -> str | None:
    words = [source, *_WORD.findall(expr)]
    return next((whose for prefix, whose in ELSEWHERE.items() for word in words if word.startswith(prefix)), None)


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
