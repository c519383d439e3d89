"""Writes the dashboards' JSON, and says where the files differ from their source. The same source gives the same bytes."""

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from .control_plane import control_plane
from .decisions import decisions
from .golden import golden_signals
from .logs import logs


def sources() -> Mapping[str, str]:
    """What each file is to contain, by its name: the dashboard's uid."""
    made = [golden_signals(), decisions(), control_plane(), logs()]
    return {f"{one.uid}.json": _text(one) for one in made}


def _text(made: dashboard.Dashboard) -> str:
    content = json.loads(json.dumps(made, cls=JSONEncoder))
    # The SDK knows no other place for a link than a menu that newer Grafanas have. Without it, it is where one sees it.
    for links in [content["links"], *(panel.get("links", []) for panel in content["panels"])]:
        for link in links:
            del link["placement"]
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def write(directory: Path) -> list[str]:
    """Writes all files; the names of those that changed."""
    changed = []
    for name, text in sources().items():
        file = directory / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
            changed.append(name)
    return changed


def differences(directory: Path) -> list[str]:
    """Files that are not what the source says, and files that have no source."""
    wanted = sources()
    found = {file.name: file.read_text() for file in directory.glob("*.json")}
    return [
        f"{directory / name}: not what tools/dashboards makes; run make dashboards-json"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]
