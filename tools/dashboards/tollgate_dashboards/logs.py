"""The access log in Loki: single requests, where the metrics only have sums.

The queries are those of istio/monitoring/logql.yaml, which the tests run against a real Loki, word for word.
"""

from grafana_foundation_sdk.models import dashboard

from .layout import Place, Section, across, choice, compose, log_label, logs_source
from .panels import ORANGE, RED, Column, Limit, LogQuery, lines, records, rows

UID = "tollgate-logs"

ACCESS = '{namespace=~"$namespace", log="access"}'
QUIET = "No such request in this time"
SILENT = "No filter had anything to say in this time"


def logs() -> dashboard.Dashboard:
    return compose(
        UID,
        "Tollgate / Requests one by one",
        "The sidecars' access log, and what the filters say themselves. Metrics say that something is wrong; here is which "
        "requests it concerns.",
        [
            logs_source(),
            log_label("namespace", "namespace", "Namespace"),
            choice("threshold", "Slow is over", [("1 s", "1000"), ("100 ms", "100"), ("250 ms", "250"), ("5 s", "5000")]),
        ],
        [_course(), _callers(), _lines()],
    )


def _course() -> Section:
    return across(
        "Over time",
        9,
        lines(
            "Requests by decision",
            "reqps",
            "As the log has them. Where it differs much from the metrics, lines are lost between the sidecar and Loki.",
            LogQuery(f"sum by (decision) (rate({ACCESS} [$__auto]))", "{{decision}}"),
            stacked=True,
            nothing="No access log: is telemetry applied, and is Promtail running?",
        ),
        lines(
            "P95 of durations by route",
            "ms",
            "From each request's own duration, so without a histogram's buckets.",
            LogQuery(
                f"quantile_over_time(0.95, {ACCESS} | unwrap duration_ms [$__auto]) by (route)",
                "{{route}}",
            ),
            nothing="No access log: is telemetry applied, and is Promtail running?",
        ),
        lines(
            "5xx by route",
            "short",
            "How many requests failed in each step of time, by route and response code.",
            LogQuery(
                "sum by (route, response_code) (count_over_time("
                '{namespace=~"$namespace", log="access", response_code=~"5.."} [$__auto]))',
                "{{route}} {{response_code}}",
            ),
            nothing=QUIET,
        ),
    )


def _counted(by: str, decision: str) -> LogQuery:
    stream = f'{{namespace=~"$namespace", log="access", decision="{decision}"}}'
    return LogQuery(f"sum by ({by}) (count_over_time({stream} [$__range]))")


def _callers() -> Section:
    who = Column("source_principal", "Caller")
    many = Column("A", "Requests", "locale", [Limit(100, ORANGE), Limit(1000, RED)], width=110)
    reason = Column("reason", "Reason", width=180)
    return across(
        "Whom to ask",
        8,
        rows(
            "Limited, by rule and caller",
            "Who got 429, by which rule, in the time range shown. The caller is the SPIFFE ID in the certificate.",
            [_counted("rule, source_principal", "limited")],
            [Column("rule", "Rule", width=140), who, many],
            "Requests",
            nothing=QUIET,
        ),
        rows(
            "Denied, by reason and caller",
            "Who got 403, and why. `not_allowed` is a verified caller whom no rule lists.",
            [_counted("reason, source_principal", "denied")],
            [reason, who, many],
            "Requests",
            nothing=QUIET,
        ),
        rows(
            "Would be denied, by reason and caller",
            "Who passed, and would not if the rule in shadow mode were enforced. Ask them before you do.",
            [_counted("reason, source_principal", "shadow_denied")],
            [reason, who, many],
            "Requests",
            nothing=QUIET,
        ),
    )


def _lines() -> Section:
    line = (
        '| json path="path" | line_format "{{.duration_ms}} ms {{.response_code}} {{.method}} {{.path}} '
        '{{.source_principal}} trace={{.trace_id}}"'
    )
    turned_away = (
        '{namespace=~"$namespace", log="access", decision=~"limited|denied|shadow_denied"} | json path="path" | line_format '
        '"{{.decision}} {{.rule}}{{.reason}} {{.method}} {{.path}} {{.source_principal}} trace={{.trace_id}}"'
    )
    trouble = (
        '{namespace=~"$namespace", log="tollgate", '
        'event=~"configuration_refused|overflow|store_failed|unreachable_rule|inactive"}'
    )
    slowest = f"topk(10, max by (route, method) (max_over_time({ACCESS} | unwrap duration_ms [$__range])))"
    return Section(
        "Which requests",
        10,
        [
            Place(
                records(
                    "Requests that were turned away",
                    "Each request that was limited or denied, or would be, the newest first.",
                    turned_away,
                    nothing=QUIET,
                ),
                14,
            ),
            Place(
                rows(
                    "The slowest request of each route",
                    "The longest duration in the time range shown: what a percentile leaves out.",
                    [LogQuery(slowest)],
                    [Column("route", "Route"), Column("method", "Method"), Column("A", "Longest", "ms", width=110)],
                    "Longest",
                    nothing=QUIET,
                ),
                10,
            ),
            Place(
                records(
                    "Slow requests",
                    "Each request that took longer than what is chosen above, with its trace.",
                    f"{ACCESS} | duration_ms > $threshold {line}",
                    nothing=QUIET,
                ),
                14,
            ),
            Place(
                lines(
                    "What the filters say, by event",
                    "short",
                    "Lines of the filters' own log. Single decisions are at level info, which Istio's proxies log only when told "
                    "to: docs/operations.md, Log.",
                    LogQuery(
                        'sum by (filter, event) (count_over_time({namespace=~"$namespace", log="tollgate"} [$__auto]))',
                        "{{filter}} {{event}}",
                    ),
                    nothing=SILENT,
                ),
                10,
            ),
            Place(
                records(
                    "Configurations refused, limits that overflow or cannot be kept",
                    "What needs somebody: docs/operations.md, Log, says what each event means.",
                    trouble,
                    nothing=SILENT,
                ),
                24,
            ),
        ],
    )
