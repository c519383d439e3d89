"""The kinds of panel that the dashboards are made of, in one style.

Always holds: a panel has a description and a unit; it asks the data source that the reader chose; what a panel shows
when there is nothing to show says why; colours with a meaning come from `COLOURS`, which colour-blind readers can tell apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.models import bargauge, common, dashboard, heatmap, loki, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import logs as loglines

PROMETHEUS = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
LOKI = dashboard.DataSourceRef(type_val="loki", uid="${loki}")

# Okabe and Ito's palette: each of these can be told from the others with any of the usual kinds of colour blindness.
GREEN, SKY, BLUE, YELLOW, ORANGE, RED, PINK, GREY = (
    "#009E73",
    "#56B4E9",
    "#0072B2",
    "#F0E442",
    "#E69F00",
    "#D55E00",
    "#CC79A7",
    "#999999",
)
# What always has the same colour on every dashboard: the lines of a legend, and their names.
COLOURS: Mapping[str, Mapping[str, str]] = {
    "{{decision}}": {
        "allowed": GREEN,
        "limited": ORANGE,
        "denied": RED,
        "shadow_limited": YELLOW,
        "shadow_denied": PINK,
        "shadow_allowed": SKY,
        "overflow": BLUE,
        "error": GREY,
    },
    "{{class}}": {"2xx": GREEN, "3xx": SKY, "4xx": ORANGE, "5xx": RED, "none": GREY},
    "P50": {"P50": SKY},
    "P95": {"P95": ORANGE},
    "P99": {"P99": RED},
}

NOTHING = "Nothing is scraped, or no module runs: docs/operations.md, Trouble"


# Where the alerts' runbooks are, as the alerts themselves have it.
RUNBOOKS = "https://github.com/tollgate/tollgate/blob/main/docs/runbooks"


@dataclass(frozen=True)
class Query:
    """One query. `legend` is Grafana's: {{label}} is that label's value. An instant one asks for the end of the time range."""

    expr: str
    legend: str = ""
    instant: bool = False
    heatmap: bool = False


@dataclass(frozen=True)
class LogQuery:
    """One LogQL query."""

    expr: str
    legend: str = ""
    instant: bool = False


@dataclass(frozen=True)
class Limit:
    """From this value on, this colour."""

    value: float
    colour: str


@dataclass(frozen=True)
class Column:
    """A column of a table: the label, or the ref of the query whose value it is, the heading, and how to show it."""

    name: str
    title: str
    unit: str = ""
    limits: Sequence[Limit] = ()
    decimals: int | None = None
    width: int | None = None


def lines(
    title: str,
    unit: str,
    description: str,
    *queries: Query | LogQuery,
    stacked: bool = False,
    limits: Sequence[Limit] = (),
    dashed: Sequence[str] = (),
    maximum: float | None = None,
    runbooks: Sequence[str] = (),
    nothing: str = NOTHING,
) -> dashboard.Panel:
    """Lines over time; `stacked` ones add up. `limits` are dashed lines across the panel, `dashed` the names of lines to dash."""
    custom = timeseries.FieldConfig(
        draw_style=common.GraphDrawStyle.LINE,
        line_width=1 if stacked else 2,
        fill_opacity=60 if stacked else 0,
        show_points=common.VisibilityMode.NEVER,
        span_nulls=False,
        axis_soft_min=0,
        stacking=common.StackingConfig(mode=common.StackingMode.NORMAL if stacked else common.StackingMode.NONE, group="A"),
    )
    if limits:
        custom.thresholds_style = common.GraphThresholdsStyleConfig(mode=common.GraphThresholdsStyleMode.DASHED)
    panel = _panel("timeseries", title, unit, description, queries, limits, nothing)
    fields = _fields(panel)
    fields.custom = custom
    fields.color = dashboard.FieldColor(mode=dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME)
    fields.max_val = maximum
    panel.field_config = dashboard.FieldConfigSource(
        defaults=fields,
        overrides=[
            _override("byName", name, ("color", {"mode": "fixed", "fixedColor": colour}))
            for query in queries
            for name, colour in COLOURS.get(query.legend, {}).items()
        ]
        + [_override("byRegexp", name, ("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})) for name in dashed],
    )
    panel.options = timeseries.Options(
        legend=common.VizLegendOptions(
            display_mode=common.LegendDisplayMode.TABLE,
            placement=common.LegendPlacement.BOTTOM,
            show_legend=True,
            calcs=["mean", "max", "lastNotNull"],
            sort_by="Max",
            sort_desc=True,
        ),
        tooltip=common.VizTooltipOptions(mode=common.TooltipDisplayMode.MULTI, sort=common.SortOrder.DESCENDING),
    )
    panel.links = _links(runbooks)
    return panel


def figure(
    title: str,
    unit: str,
    description: str,
    query: Query | LogQuery,
    limits: Sequence[Limit] = (),
    *,
    no_number: str = "no requests",
    decimals: int | None = None,
    nothing: str = NOTHING,
) -> dashboard.Panel:
    """One large number with its recent course. `no_number` is shown for a division by nothing at all."""
    panel = _panel("stat", title, unit, description, [query], limits or [Limit(float("-inf"), BLUE)], nothing)
    fields = _fields(panel)
    fields.color = dashboard.FieldColor(mode=dashboard.FieldColorModeId.THRESHOLDS)
    fields.decimals = decimals
    fields.mappings = [
        dashboard.SpecialValueMap(
            options=dashboard.DashboardSpecialValueMapOptions(
                match=dashboard.SpecialValueMatch.NULL_AND_NAN,
                result=dashboard.ValueMappingResult(text=no_number, color=GREY),
            )
        )
    ]
    panel.options = stat.Options(
        graph_mode=common.BigValueGraphMode.AREA,
        color_mode=common.BigValueColorMode.VALUE,
        justify_mode=common.BigValueJustifyMode.AUTO,
        text_mode=common.BigValueTextMode.VALUE_AND_NAME if query.legend else common.BigValueTextMode.VALUE,
        wide_layout=True,
        reduce_options=common.ReduceDataOptions(calcs=["lastNotNull"]),
        orientation=common.VizOrientation.AUTO,
        show_percent_change=False,
        percent_change_color_mode=common.PercentChangeColorMode.STANDARD,
    )
    return panel


def bars(
    title: str,
    unit: str,
    description: str,
    query: Query,
    limits: Sequence[Limit],
    *,
    maximum: float | None = None,
    runbooks: Sequence[str] = (),
    nothing: str = NOTHING,
) -> dashboard.Panel:
    """A bar for each series, as it is at the end of the time range, coloured by `limits`."""
    panel = _panel("bargauge", title, unit, description, [query], limits, nothing)
    fields = _fields(panel)
    fields.color = dashboard.FieldColor(mode=dashboard.FieldColorModeId.THRESHOLDS)
    fields.min_val = 0
    fields.max_val = maximum
    panel.options = bargauge.Options(
        display_mode=common.BarGaugeDisplayMode.BASIC,
        value_mode=common.BarGaugeValueMode.COLOR,
        name_placement=common.BarGaugeNamePlacement.LEFT,
        show_unfilled=True,
        sizing=common.BarGaugeSizing.AUTO,
        min_viz_width=8,
        min_viz_height=16,
        max_viz_height=300,
        legend=common.VizLegendOptions(
            display_mode=common.LegendDisplayMode.LIST,
            placement=common.LegendPlacement.BOTTOM,
            show_legend=False,
            calcs=[],
        ),
        reduce_options=common.ReduceDataOptions(calcs=["lastNotNull"]),
        orientation=common.VizOrientation.HORIZONTAL,
    )
    panel.links = _links(runbooks)
    return panel


def heat(title: str, unit: str, description: str, expr: str, *, nothing: str = NOTHING) -> dashboard.Panel:
    """How requests spread over a histogram's buckets, which `expr` gives by `le`, over time."""
    panel = _panel("heatmap", title, "", description, [Query(expr, "{{le}}", heatmap=True)], (), nothing)
    fields = _fields(panel)
    fields.unit = None
    fields.custom = heatmap.FieldConfig(
        scale_distribution=common.ScaleDistributionConfig(type_val=common.ScaleDistribution.LINEAR)
    )
    panel.options = heatmap.Options(
        calculate=False,
        cell_gap=1,
        color=heatmap.HeatmapColorOptions(
            mode=heatmap.HeatmapColorMode.SCHEME,
            scheme="Viridis",
            fill="dark-blue",
            scale=heatmap.HeatmapColorScale.EXPONENTIAL,
            exponent=0.5,
            steps=64,
            reverse=False,
        ),
        filter_values=heatmap.FilterValueRange(le=1e-9),
        rows_frame=heatmap.RowsHeatmapOptions(layout=common.HeatmapCellLayout.AUTO),
        show_value=common.VisibilityMode.NEVER,
        tooltip=heatmap.HeatmapTooltip(mode=common.TooltipDisplayMode.SINGLE, y_histogram=True, show_color_scale=True),
        legend=heatmap.HeatmapLegend(show=True),
        exemplars=heatmap.ExemplarConfig(color="rgba(255,0,255,0.7)"),
        y_axis=heatmap.YAxisConfig(axis_placement=common.AxisPlacement.LEFT, unit=unit),
        cell_values=heatmap.CellValues(unit="reqps"),
    )
    return panel


def rows(
    title: str,
    description: str,
    queries: Sequence[Query | LogQuery],
    columns: Sequence[Column],
    sort: str,
    *,
    runbooks: Sequence[str] = (),
    nothing: str = NOTHING,
) -> dashboard.Panel:
    """A table: one row for each set of labels, one column for each of `columns`, the highest of column `sort` first."""
    panel = _panel("table", title, "", description, queries, (), nothing)
    fields = _fields(panel)
    fields.unit = None
    fields.custom = table.FieldConfig(
        align=common.FieldTextAlignment.AUTO,
        inspect=False,
        filterable=True,
        cell_options=common.TableAutoCellOptions(),
    )
    names = {(f"Value #{column.name}" if len(column.name) == 1 else column.name): column for column in columns}
    panel.transformations = [
        dashboard.DataTransformerConfig(id_val="merge", options={}),
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "includeByName": dict.fromkeys(names, True),
                "indexByName": {name: index for index, name in enumerate(names)},
                "renameByName": {name: column.title for name, column in names.items()},
            },
        ),
        dashboard.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": sort, "desc": True}]}),
    ]
    panel.field_config = dashboard.FieldConfigSource(
        defaults=fields, overrides=[override for column in columns for override in _cell(column)]
    )
    options = table.Options(show_header=True, cell_height=common.TableCellHeight.SM, frame_index=0)
    # Grafana 13 has no footer here any more, and its types refuse what the SDK would write.
    options.footer = None
    panel.options = options
    panel.links = _links(runbooks)
    return panel


def records(title: str, description: str, expr: str, *, nothing: str) -> dashboard.Panel:
    """Log lines as they are, the newest first."""
    panel = _panel("logs", title, "", description, [LogQuery(expr)], (), nothing)
    _fields(panel).unit = None
    panel.options = loglines.Options(
        show_labels=False,
        show_common_labels=False,
        show_time=True,
        show_log_context_toggle=False,
        wrap_log_message=True,
        prettify_log_message=False,
        enable_log_details=True,
        dedup_strategy=common.LogsDedupStrategy.NONE,
        sort_order=common.LogsSortOrder.DESCENDING,
    )
    return panel


def _links(alerts: Sequence[str]) -> list[dashboard.DashboardLink] | None:
    """What to do when these alerts fire, whose subject the panel shows."""
    return [
        dashboard.DashboardLink(
            title=f"Runbook: {alert}",
            type_val=dashboard.DashboardLinkType.LINK,
            icon="doc",
            url=f"{RUNBOOKS}/{alert}.md",
            target_blank=True,
        )
        for alert in alerts
    ] or None


def _cell(column: Column) -> list[dashboard.DashboardFieldConfigSourceOverrides]:
    properties: list[tuple[str, object]] = []
    if column.unit:
        properties.append(("unit", column.unit))
    if column.decimals is not None:
        properties.append(("decimals", column.decimals))
    if column.width is not None:
        properties.append(("custom.width", column.width))
    if column.limits:
        properties.append(("thresholds", _thresholds(column.limits)))
        properties.append(("custom.cellOptions", {"type": "color-text"}))
    return [_override("byName", column.title, *properties)] if properties else []


def _panel(
    kind: str,
    title: str,
    unit: str,
    description: str,
    queries: Sequence[Query | LogQuery],
    limits: Sequence[Limit],
    nothing: str,
) -> dashboard.Panel:
    source = LOKI if isinstance(queries[0], LogQuery) else PROMETHEUS
    fields = dashboard.FieldConfig(unit=unit, no_value=nothing, thresholds=_thresholds(limits), mappings=[], description=None)
    return dashboard.Panel(
        type_val=kind,
        title=title,
        description=description,
        datasource=source,
        targets=[_target(query, chr(ord("A") + index), kind) for index, query in enumerate(queries)],
        field_config=dashboard.FieldConfigSource(defaults=fields, overrides=[]),
    )


def _fields(panel: dashboard.Panel) -> dashboard.FieldConfig:
    assert panel.field_config is not None
    return panel.field_config.defaults


def _target(query: Query | LogQuery, ref: str, kind: str) -> prometheus.Dataquery | loki.Dataquery:
    instant = query.instant or kind in ("table", "bargauge")
    if isinstance(query, LogQuery):
        instant = instant and kind != "logs"
        return loki.Dataquery(
            expr=query.expr,
            legend_format=query.legend or None,
            ref_id=ref,
            query_type="instant" if instant else "range",
            editor_mode=loki.QueryEditorMode.CODE,
            datasource=LOKI,
        )
    form = prometheus.PromQueryFormat.TIME_SERIES
    if query.heatmap:
        form = prometheus.PromQueryFormat.HEATMAP
    elif kind == "table":
        form = prometheus.PromQueryFormat.TABLE
    return prometheus.Dataquery(
        expr=query.expr,
        legend_format=query.legend or "__auto",
        ref_id=ref,
        instant=instant,
        range_val=not instant,
        format_val=form,
        editor_mode=prometheus.QueryEditorMode.CODE,
        datasource=PROMETHEUS,
    )


def _thresholds(limits: Sequence[Limit]) -> dashboard.ThresholdsConfig:
    first = [] if limits and limits[0].value == float("-inf") else [dashboard.Threshold(value=None, color=GREEN)]
    return dashboard.ThresholdsConfig(
        mode=dashboard.ThresholdsMode.ABSOLUTE,
        steps=first
        + [
            dashboard.Threshold(value=None if limit.value == float("-inf") else limit.value, color=limit.colour)
            for limit in limits
        ],
    )


def _override(matcher: str, name: str, *properties: tuple[str, object]) -> dashboard.DashboardFieldConfigSourceOverrides:
    return dashboard.DashboardFieldConfigSourceOverrides(
        matcher=dashboard.MatcherConfig(id_val=matcher, options=name),
        properties=[dashboard.DynamicConfigValue(id_val=key, value=value) for key, value in properties],
    )
