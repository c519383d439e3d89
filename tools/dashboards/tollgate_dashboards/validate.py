"""Holds the JSON files against the schema that is made of Grafana's own types, and against what no schema can say."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from jsonschema import Draft7Validator, ValidationError


def problems(directory: Path, schema_file: Path) -> list[str]:
    """What is wrong with any dashboard there, one line each."""
    schema = json.loads(schema_file.read_text())
    runbooks = Path(__file__).parents[3] / "docs" / "runbooks"
    found: list[str] = []
    uids: dict[str, str] = {}
    for file in sorted(directory.glob("*.json")):
        dashboard = json.loads(file.read_text())
        found += [f"{file}: {line}" for line in wrong(dashboard, schema)]
        found += [f"{file}: {line}" for line in without_runbook(dashboard, runbooks)]
        other = uids.setdefault(dashboard.get("uid"), file.name)
        if other != file.name:
            found.append(f"{file}: uid {dashboard.get('uid')} is {other}'s")
    if not uids:
        found.append(f"{directory}: no dashboards")
    return found


def wrong(dashboard: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """What Grafana's types, the SDK, or the grid have against one dashboard."""
    lines = sorted({_said(error) for error in _innermost(Draft7Validator(schema).iter_errors(dashboard))})
    if not lines:
        lines = _lost(dashboard) + _placed(dashboard)
    return lines


def without_runbook(dashboard: dict[str, Any], runbooks: Path) -> list[str]:
    """Links to pages that are not there."""
    return [
        f"{panel['title']}: no such page: {page}"
        for panel in dashboard["panels"]
        for link in panel.get("links", [])
        for page in [runbooks / link["url"].rpartition("/")[2]]
        if not page.is_file()
    ]


def _innermost(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    """Of a choice that nothing fits, the errors of what was meant: the branches that agree on `type`, `id` and data source."""
    for error in errors:
        if not error.context:
            yield error
            continue
        branches: dict[object, list[ValidationError]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        meant = [branch for branch in branches.values() if not any(_names_kind(inner) for inner in branch)]
        if meant:
            fewest = min(len(branch) for branch in meant)
            yield from _innermost(iter(next(branch for branch in meant if len(branch) == fewest)))
        else:
            yield error


def _names_kind(error: ValidationError) -> bool:
    path = list(error.relative_path)
    return path in (["type"], ["id"], ["datasource"], ["datasource", "type"])


def _said(error: ValidationError) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    message = error.message if len(error.message) < 200 else f"{error.message[:120]} ... {error.message[-60:]}"
    return f"{path or 'the dashboard'}: {message}"


def _lost(dashboard: dict[str, Any]) -> list[str]:
    """Fields that Grafana's SDK reads and does not write again, as it does not know them. What it adds are its defaults."""
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(dict(dashboard)), cls=JSONEncoder))
    return [f"{path}: lost or changed when Grafana's SDK reads and writes it" for path in _differing(dashboard, again, "")]


def _differing(one: object, other: object, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key, value in one.items():
            yield from _differing(value, other.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differing(left, right, f"{path}[{index}]")
    elif one != other:
        yield path


def _placed(dashboard: dict[str, Any]) -> list[str]:
    """Panels that leave the grid, lie on others, or share an id or a title with another."""
    lines: list[str] = []
    taken: dict[tuple[int, int], str] = {}
    ids: set[int] = set()
    titles: set[str] = set()
    for panel in dashboard["panels"]:
        place, title = panel["gridPos"], panel["title"]
        if panel["id"] in ids:
            lines.append(f"{title}: another panel has its id")
        ids.add(panel["id"])
        if title in titles:
            lines.append(f"{title}: another panel has its title")
        titles.add(title)
        if place["x"] + place["w"] > 24:
            lines.append(f"{title}: reaches beyond the 24 columns")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), title)
                if other != title:
                    lines.append(f"{title}: lies on {other}")
    return sorted(set(lines))
