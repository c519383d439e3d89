"""Latency, traffic, errors and saturation, by service and route: the first dashboard to look at."""

from grafana_foundation_sdk.models import dashboard

from .layout import Place, Section, across, compose, label, metrics_source, seen_by
from .panels import ORANGE, RED, Column, Limit, Query, figure, heat, lines, rows
from .promql import CHOSEN, UNDER_WAY, WHOLE, WINDOW, grown, per_second, quantile, selector, share, some_of

UID = "tollgate-golden-signals"

REQUESTS = "tollgate_requests_total"
DURATION = "tollgate_request_duration_milliseconds"
RECEIVED = "tollgate_request_bytes"
SENT = "tollgate_response_bytes"
IN_FLIGHT = "tollgate_requests_in_flight"

# What the alerts count as failed, by rules.yaml: a 5xx, or a status of gRPC that is the server's fault.
SERVER_ERRORS = 'response_code=~"5..",decision!~"limited|denied"'
GRPC_ERRORS = 'grpc_status=~"2|4|12|13|14|15"'
# Of a route's requests, one in a thousand may fail within 30 days.
BUDGET = 0.001
# A flood that is limited must not make the failures of the rest look rare, nor its answers them quick.
SERVED = 'decision!~"limited|denied"'
# WebSockets end when nobody wants them any more.
TIMED = 'response_code!~"101|403|429"'
CALLER_ERRORS = 'response_code=~"4.."'
TURNED_AWAY = 'decision=~"limited|denied"'
SIDECAR = 'namespace=~"$namespace",container="istio-proxy"'
BY_ROUTE = "destination_service, route"


def golden_signals() -> dashboard.Dashboard:
    return compose(
        UID,
        "Tollgate / Golden signals",
        "Requests as the sidecars that receive them saw them, counted by the filter route-metrics.",
        [
            metrics_source(),
            label("namespace", "namespace", REQUESTS, "Namespace"),
            label("destination_service", "destination_service", f'{REQUESTS}{{namespace=~"$namespace"}}', "Service called"),
            label(
                "route",
                "route",
                f'{REQUESTS}{{namespace=~"$namespace",destination_service=~"$destination_service"}}',
                "Route",
            ),
            seen_by(),
        ],
        [_glance(), _latency(), _traffic(), _errors(), _saturation(), _sizes()],
    )


def _failed(function: str, window: str, by: str = "") -> str:
    """How many failed, as `per_second` and `grown` have it for all."""
    each = [f"{function}({selector(REQUESTS, CHOSEN, errors)}[{window}])" for errors in (SERVER_ERRORS, GRPC_ERRORS)]
    return f"sum{f' by ({by})' if by else ''} ({' or '.join(each)})"


def _glance() -> Section:
    everything = per_second(REQUESTS, CHOSEN)
    return across(
        "At a glance",
        5,
        figure("Requests", "reqps", "Requests each second, whatever became of them.", Query(everything)),
        figure(
            "Failed",
            "percentunit",
            "Share of the requests that Tollgate let pass which got a 5xx, or a status of gRPC that is the server's fault.",
            Query(share(_failed("rate", WINDOW), per_second(REQUESTS, CHOSEN, extra=SERVED))),
            [Limit(0.001, ORANGE), Limit(0.01, RED)],
            decimals=2,
        ),
        figure(
            "Turned down: 4xx",
            "percentunit",
            "Share of requests with a 4xx. 429 and 403 are often Tollgate's: the next number says how many.",
            Query(share(per_second(REQUESTS, CHOSEN, extra=CALLER_ERRORS), everything)),
            [Limit(0.05, ORANGE), Limit(0.25, RED)],
            decimals=1,
        ),
        figure(
            "Turned away by Tollgate",
            "percentunit",
            "Share of requests that rate-limit limited or mtls-identity denied. Who and why: the dashboard Decisions.",
            Query(share(per_second(REQUESTS, CHOSEN, extra=TURNED_AWAY), everything)),
            [Limit(0.01, ORANGE), Limit(0.25, RED)],
            decimals=1,
        ),
        figure(
            "P95 latency",
            "ms",
            "19 of 20 requests were answered faster than this, filters and waiting included. 403, 429 and WebSockets do not count.",
            Query(quantile(0.95, DURATION, CHOSEN, extra=TIMED)),
            [Limit(500, ORANGE), Limit(2500, RED)],
        ),
        figure(
            "In flight",
            "short",
            "Requests that have arrived and not ended. It grows when the application is slower than its callers.",
            Query(f"sum({selector(IN_FLIGHT, UNDER_WAY)})"),
        ),
    )


def _latency() -> Section:
    return across(
        "Latency",
        9,
        lines(
            "How long requests take",
            "ms",
            "From the request's first byte to the response's last. P50 rises when everything is slower; P99 alone rises "
            "when some requests wait, for a lock, a connection or a cold replica. 403, 429 and WebSockets do not count.",
            Query(quantile(0.5, DURATION, CHOSEN, extra=TIMED), "P50"),
            Query(quantile(0.95, DURATION, CHOSEN, extra=TIMED), "P95"),
            Query(quantile(0.99, DURATION, CHOSEN, extra=TIMED), "P99"),
            runbooks=["TollgateLatencyP95High", "TollgateLatencyP99High"],
        ),
        heat(
            "How durations are spread",
            "ms",
            "Requests each second in each bucket of the histogram. Two bands are two kinds of request: quick refusals and "
            "real work, for instance, which no percentile tells apart.",
            per_second(f"{DURATION}_bucket", CHOSEN, "le"),
        ),
        lines(
            "P95 by route",
            "ms",
            "Which route is slow.",
            Query(quantile(0.95, DURATION, CHOSEN, "route", TIMED), "{{route}}"),
        ),
        lines(
            "P95 by service",
            "ms",
            "Which service is slow. Callees answer for their callers' time: the innermost service that rises is the cause.",
            Query(quantile(0.95, DURATION, CHOSEN, "destination_service", TIMED), "{{destination_service}}"),
        ),
        per_line=2,
    )


def _traffic() -> Section:
    return across(
        "Traffic",
        9,
        lines(
            "Requests by route",
            "reqps",
            "`default` is what no route of the configuration matched; `__other__` what came after `maxSeries` was reached.",
            Query(per_second(REQUESTS, CHOSEN, "route"), "{{route}}"),
        ),
        lines(
            "Requests by service",
            "reqps",
            "Who is called.",
            Query(per_second(REQUESTS, CHOSEN, "destination_service"), "{{destination_service}}"),
            runbooks=["TollgateScrapeMissing", "TollgateTargetDown"],
        ),
        lines(
            "Requests by caller",
            "reqps",
            "Who calls: the service account in the caller's certificate, `unknown` without one.",
            Query(per_second(REQUESTS, CHOSEN, "source_workload"), "{{source_workload}}"),
        ),
    )


def _burn(window: str) -> str:
    return f"max by (route) (route:tollgate_errors:ratio_rate{window}{{{CHOSEN}}}) / {BUDGET}"


def _errors() -> Section:
    by_route = per_second(REQUESTS, CHOSEN, "route")
    served_by_route = per_second(REQUESTS, CHOSEN, "route", SERVED)
    code_class = f'label_replace({per_second(REQUESTS, CHOSEN, "response_code")}, "class", "${{1}}xx", "response_code", "(.)..")'
    described = f'sum by (class) (label_replace({code_class}, "class", "none", "response_code", "0"))'
    unusual = per_second(REQUESTS, CHOSEN, "response_code, response_flags", 'response_code!~"2.."')
    label_of_none = f'label_replace(0 * {per_second(REQUESTS, CHOSEN)}, "response_code", "none", "", "")'
    counted = grown(REQUESTS, CHOSEN, BY_ROUTE)
    failed = _failed("increase", WHOLE, BY_ROUTE)
    served = grown(REQUESTS, CHOSEN, BY_ROUTE, SERVED)
    spread = grown(f"{DURATION}_bucket", CHOSEN, f"le, {BY_ROUTE}", TIMED)
    return Section(
        "Errors",
        9,
        [
            Place(
                lines(
                    "Responses by class",
                    "reqps",
                    "4xx is the caller's doing or a refusal, 5xx the service's; `none` is a request that ended without a response.",
                    Query(described, "{{class}}"),
                    stacked=True,
                ),
                8,
            ),
            Place(
                lines(
                    "Failing share by route",
                    "percentunit",
                    "5xx, and gRPC statuses that are the server's fault, of the requests that Tollgate let pass. The dashed line is 1 "
                    "percent.",
                    Query(share(_failed("rate", WINDOW, "route"), served_by_route), "{{route}}"),
                    limits=[Limit(0.01, RED)],
                ),
                8,
            ),
            Place(
                lines(
                    "Error budget, how fast it burns",
                    "short",
                    "1 uses up the budget of 30 days (one request in a thousand) in 30 days, 14.4 in two. The alerts wake somebody "
                    "above 14.4 within an hour or 6 within six. It needs the recording rules of rules.yaml.",
                    Query(_burn("1h"), "{{route}}, 1 h"),
                    Query(_burn("6h"), "{{route}}, 6 h"),
                    limits=[Limit(6, ORANGE), Limit(14.4, RED)],
                    dashed=["/6 h/"],
                    nothing="rules.yaml is not applied",
                    runbooks=["TollgateErrorBudgetBurnFast", "TollgateErrorBudgetBurnSlow"],
                ),
                8,
            ),
            Place(
                rows(
                    "Routes, the most failing first",
                    "Each route that was called in the time range shown.",
                    [
                        Query(f"{counted} > 0"),
                        Query(some_of(grown(REQUESTS, CHOSEN, BY_ROUTE, CALLER_ERRORS), counted)),
                        Query(some_of(failed, counted)),
                        Query(f"({some_of(failed, served)}) / {served}"),
                        Query(f"histogram_quantile(0.95, {spread}) and {counted} > 0"),
                    ],
                    [
                        Column("destination_service", "Service", width=330),
                        Column("route", "Route"),
                        Column("A", "Requests", "locale", decimals=0),
                        Column("B", "4xx", "locale", decimals=0),
                        Column("C", "Failed", "locale", decimals=0),
                        Column("D", "Failing", "percentunit", [Limit(0.001, ORANGE), Limit(0.01, RED)], decimals=2),
                        Column("E", "P95", "ms", decimals=1),
                    ],
                    "Failed",
                    nothing="Nobody called in this time",
                ),
                16,
            ),
            Place(
                lines(
                    "4xx share by route",
                    "percentunit",
                    "A route whose callers are turned down: refused, limited, not found.",
                    Query(share(per_second(REQUESTS, CHOSEN, "route", CALLER_ERRORS), by_route), "{{route}}"),
                ),
                8,
            ),
            Place(
                lines(
                    "Codes and flags other than 2xx",
                    "reqps",
                    "Envoy's response flags say where a response came from: UF and UC are trouble with the upstream, UH no healthy "
                    "one, UT a timeout, DC the caller hung up, NR no route; `-` is none of these. Code 0 is no response at all.",
                    Query(f"{unusual} or {label_of_none}", "{{response_code}} {{response_flags}}"),
                ),
                12,
            ),
            Place(
                lines(
                    "gRPC status",
                    "reqps",
                    "A gRPC error is HTTP 200, and hides from all panels above: 0 is OK, 8 limited, 7 denied, 14 unavailable; "
                    "`-` is a request that is not gRPC.",
                    Query(per_second(REQUESTS, CHOSEN, "grpc_status"), "{{grpc_status}}"),
                ),
                12,
            ),
        ],
    )


def _saturation() -> Section:
    used = f"max by (pod) (container_memory_working_set_bytes{{{SIDECAR}}})"
    # A native sidecar is an init container to Kubernetes.
    limits = [f'kube_pod_{kind}_resource_limits{{{SIDECAR},resource="memory"}}' for kind in ("container", "init_container")]
    limit = f"max by (pod) ({' or '.join(limits)})"
    throttled = (
        f"sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{{{SIDECAR}}}[$__rate_interval]))"
        f" / sum by (pod) (rate(container_cpu_cfs_periods_total{{{SIDECAR}}}[$__rate_interval]))"
    )
    kubelet = "The kubelet's container metrics are not scraped"
    return across(
        "Saturation",
        9,
        lines(
            "Requests in flight by route",
            "short",
            "A line that rises while the traffic does not: the application takes longer, or waits for something.",
            Query(f"sum by (route) ({selector(IN_FLIGHT, UNDER_WAY)})", "{{route}}"),
        ),
        lines(
            "Envoy's memory",
            "bytes",
            "What the sidecar's Envoy has allocated, by pod. It grows with clusters, routes and series, not with callers.",
            Query('max by (pod) (envoy_server_memory_allocated{namespace=~"$namespace"})', "{{pod}}"),
        ),
        lines(
            "Sidecar's memory, of its limit",
            "percentunit",
            "The kernel kills the sidecar at 100 percent, and the pod is without a network until it is back.",
            Query(f"{used} / {limit}", "{{pod}}"),
            limits=[Limit(0.8, ORANGE), Limit(0.95, RED)],
            maximum=1,
            nothing=kubelet,
        ),
        lines(
            "Sidecar's CPU, time held back",
            "percentunit",
            "Share of periods in which the sidecar used up its CPU limit and had to wait: latency that no application shows.",
            Query(throttled, "{{pod}}"),
            limits=[Limit(0.1, ORANGE), Limit(0.25, RED)],
            maximum=1,
            nothing=kubelet,
        ),
        per_line=2,
    )


def _sizes() -> Section:
    return across(
        "Sizes",
        8,
        lines(
            "Bytes received and sent",
            "Bps",
            "Bodies and headers of requests, and of their responses.",
            Query(per_second(f"{RECEIVED}_sum", CHOSEN), "received"),
            Query(per_second(f"{SENT}_sum", CHOSEN), "sent"),
        ),
        lines(
            "Large requests by route, P95",
            "bytes",
            "19 of 20 requests are smaller.",
            Query(quantile(0.95, RECEIVED, CHOSEN, "route"), "{{route}}"),
        ),
        lines(
            "Large responses by route, P95",
            "bytes",
            "19 of 20 responses are smaller. A refusal of Tollgate's is a few bytes.",
            Query(quantile(0.95, SENT, CHOSEN, "route"), "{{route}}"),
        ),
    )
