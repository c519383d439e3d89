"""What every dashboard has: variables, links to the others, refresh, and panels laid out in rows of 24 columns."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard

from .panels import LOKI, PROMETHEUS

COLUMNS = 24
TAG = "tollgate"


@dataclass(frozen=True)
class Place:
    """A panel and how wide it is."""

    panel: dashboard.Panel
    width: int


@dataclass(frozen=True)
class Section:
    """A heading and the panels under it, in lines of 24 columns, all of one height."""

    title: str
    height: int
    places: Sequence[Place]


def across(title: str, height: int, *panels: dashboard.Panel, per_line: int = 0) -> Section:
    """A section whose panels share the width evenly, `per_line` of them in a line, or all in one."""
    width = COLUMNS // (per_line or len(panels))
    return Section(title, height, [Place(panel, width) for panel in panels])


def compose(
    uid: str, title: str, description: str, variables: Sequence[dashboard.VariableModel], sections: Sequence[Section]
) -> dashboard.Dashboard:
    """The dashboard with `sections` from top to bottom. Panels are numbered in their order, headings from 100 on."""
    result = (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time("now-1h", "now")
        .timezone("browser")
        .refresh("30s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            build.DashboardLink("Tollgate")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
            .icon("external link")
            .tooltip("The other dashboards of Tollgate, at the same time and with the same choices")
        )
        .build()
    )
    for variable in variables:
        # Of interval variables alone; Grafana's types refuse them here.
        variable.auto = variable.auto_min = variable.auto_count = None
    result.templating = dashboard.DashboardDashboardTemplating(list_val=list(variables))
    result.panels = []
    number, y = 0, 0
    for index, section in enumerate(sections):
        result.panels.append(
            dashboard.RowPanel(
                title=section.title,
                id_val=100 + index,
                collapsed=False,
                grid_pos=dashboard.GridPos(h=1, w=COLUMNS, x=0, y=y),
            )
        )
        y += 1
        x = 0
        for place in section.places:
            if x + place.width > COLUMNS:
                x, y = 0, y + section.height
            number += 1
            place.panel.id_val = number
            place.panel.grid_pos = dashboard.GridPos(h=section.height, w=place.width, x=x, y=y)
            result.panels.append(place.panel)
            x += place.width
        y += section.height
    return result


def metrics_source() -> dashboard.VariableModel:
    """Which Prometheus."""
    return build.DatasourceVariable("datasource").label("Prometheus").type("prometheus").build()


def logs_source() -> dashboard.VariableModel:
    """Which Loki."""
    return build.DatasourceVariable("loki").label("Loki").type("loki").build()


def label(name: str, label_name: str, metric: str, caption: str) -> dashboard.VariableModel:
    """The values of a label of a metric, any number of them, and all at first, also those without the label."""
    return _query(name, caption, f"label_values({metric}, {label_name})")


def log_label(name: str, label_name: str, caption: str) -> dashboard.VariableModel:
    """The values of one of Loki's labels. Loki wants one matcher that can't match nothing, hence `.+`."""
    variable = _query(name, caption, f"label_values({label_name})")
    variable.datasource = LOKI
    variable.all_value = ".+"
    return variable


def _query(name: str, caption: str, query: str) -> dashboard.VariableModel:
    return (
        build.QueryVariable(name)
        .label(caption)
        .datasource(PROMETHEUS)
        .query(query)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(text=["All"], value=["$__all"]))
        .build()
    )


def seen_by() -> dashboard.VariableModel:
    """`$direction`: whose account of requests is shown, as a caller's and a callee's sidecar both count them."""
    # A route that nobody has called yet has a series of zero, whose direction is unknown.
    options = [("by the callee", "inbound|unspecified|unknown"), ("by the caller or a gateway", "outbound|unknown")]
    return choice("direction", "Seen", options)


def choice(name: str, caption: str, options: Sequence[tuple[str, str]]) -> dashboard.VariableModel:
    """One of a few fixed values, each with a name; the first one at first."""
    text, value = options[0]
    return (
        build.CustomVariable(name)
        .label(caption)
        .values(", ".join(f"{text} : {value}" for text, value in options))
        .current(dashboard.VariableOption(selected=True, text=text, value=value))
        .options(
            [dashboard.VariableOption(selected=index == 0, text=text, value=value) for index, (text, value) in enumerate(options)]
        )
        .build()
    )
