"""istiod and the autoscaler: whether what was configured reaches the proxies, and whether there are enough of them."""

from grafana_foundation_sdk.models import dashboard

from .layout import Section, across, compose, label, metrics_source
from .panels import GREEN, ORANGE, RED, Column, Limit, Query, figure, lines, rows

UID = "tollgate-control-plane"

WINDOW = "$__rate_interval"
# Most of istiod's counters appear when the first such thing happens. Where istiod is scraped, until then it is none.
UP = "sum(istiod_uptime_seconds)"
ISTIOD = "istiod is not scraped: service-monitor.yaml"
SCALER = "kube-state-metrics is not scraped, or the namespace has no HorizontalPodAutoscaler"
SCALED = 'namespace=~"$namespace"'
BY_SCALER = "namespace, horizontalpodautoscaler"


def control_plane() -> dashboard.Dashboard:
    return compose(
        UID,
        "Tollgate / Control plane",
        "istiod, which brings WasmPlugins and certificates to the proxies, and the autoscaler, which decides how many there are.",
        [
            metrics_source(),
            label("namespace", "namespace", "kube_horizontalpodautoscaler_info", "Namespace"),
        ],
        [_glance(), _delivery(), _admission(), _scaling()],
    )


def _events(metric: str) -> str:
    return f"sum(rate({metric}[{WINDOW}])) or 0 * {UP}"


def _glance() -> Section:
    return across(
        "At a glance",
        5,
        figure(
            "Proxies connected",
            "short",
            "To all istiods. What is connected to none keeps its configuration and gets no new one.",
            Query("sum(pilot_xds)"),
            nothing=ISTIOD,
        ),
        figure(
            "P99 until in force",
            "s",
            "From a change to the last proxy that was sent it. `kubectl apply` is over long before.",
            Query(f"histogram_quantile(0.99, sum by (le) (rate(pilot_proxy_convergence_time_bucket[{WINDOW}])))"),
            [Limit(5, ORANGE), Limit(30, RED)],
            no_number="no change",
            nothing=ISTIOD,
        ),
        figure(
            "Refused by proxies",
            "ops",
            "Configurations that a proxy sent back. A pluginConfig that a filter refuses is among these.",
            Query(_events("pilot_total_xds_rejects")),
            [Limit(0.000001, RED)],
            nothing=ISTIOD,
        ),
        figure(
            "Refused by the webhook",
            "ops",
            "Resources of Istio's that `kubectl apply` was refused, as they don't validate. It does not read pluginConfig.",
            Query(_events("galley_validation_failed")),
            [Limit(0.000001, ORANGE)],
            nothing=ISTIOD,
        ),
        figure(
            "Certificates refused",
            "ops",
            "Requests for a certificate that istiod did not sign. Callers without one are denied as `no_mtls`.",
            Query(
                f"(sum(rate(citadel_server_csr_sign_err_count[{WINDOW}])) or 0 * {UP})"
                f" + (sum(rate(citadel_server_authentication_failure_count[{WINDOW}])) or 0 * {UP})"
            ),
            [Limit(0.000001, RED)],
            nothing=ISTIOD,
        ),
        figure(
            "The mesh's authority ends in",
            "s",
            "Until istiod's root certificate ends. Then no proxy trusts another: renew it long before.",
            Query("min(citadel_server_root_cert_expiry_timestamp) - time()"),
            [Limit(float("-inf"), RED), Limit(7 * 86400, ORANGE), Limit(30 * 86400, GREEN)],
            nothing=ISTIOD,
        ),
    )


def _delivery() -> Section:
    convergence = f"sum by (le) (rate(pilot_proxy_convergence_time_bucket[{WINDOW}]))"
    return across(
        "From istiod to the proxies",
        9,
        lines(
            "Pushes by type",
            "ops",
            "`lds`, `rds`, `cds`, `eds` are Envoy's listeners, routes, clusters and endpoints; WasmPlugins travel as `ecds`. "
            "Those that end in `_senderr` did not arrive.",
            Query(f"sum by (type) (rate(pilot_xds_pushes[{WINDOW}]))", "{{type}}"),
            nothing=ISTIOD,
        ),
        lines(
            "How long a change takes",
            "s",
            "From a change to a proxy that was sent all of it.",
            Query(f"histogram_quantile(0.5, {convergence})", "P50"),
            Query(f"histogram_quantile(0.95, {convergence})", "P95"),
            Query(f"histogram_quantile(0.99, {convergence})", "P99"),
            nothing=ISTIOD,
        ),
        lines(
            "What made istiod push",
            "ops",
            "Restless endpoints (`endpoint`) are pods that come and go; `config` is somebody who applies resources.",
            Query(f"sum by (type) (rate(pilot_push_triggers[{WINDOW}]))", "{{type}}"),
            nothing=ISTIOD,
        ),
        lines(
            "Refused, and lost",
            "ops",
            "Configurations that proxies refused, by type, and errors of istiod's own. A refused configuration leaves the former in "
            "force. `ecds` is a pluginConfig that a filter refused: the proxy's log says why, event=configuration_refused.",
            Query(
                f'sum by (type) (rate(pilot_total_xds_rejects[{WINDOW}])) or label_replace(0 * {UP}, "type", "none", "", "")',
                "refused by a proxy: {{type}}",
            ),
            Query(_events("pilot_total_xds_internal_errors"), "istiod's own errors"),
            Query(_events("pilot_xds_write_timeout"), "timeouts"),
            nothing=ISTIOD,
            runbooks=["TollgateConfigRefused"],
        ),
        lines(
            "Proxies by version",
            "short",
            "Proxies that are connected, by their version of Istio.",
            Query("sum by (version) (pilot_xds)", "{{version}}"),
            nothing=ISTIOD,
        ),
        lines(
            "Refused, as the proxies count it",
            "ops",
            "Listeners and clusters that Envoy refused. istiod may be away, and this still counts.",
            Query(f"sum(rate(envoy_listener_manager_lds_update_rejected[{WINDOW}]))", "listeners"),
            Query(f"sum(rate(envoy_cluster_manager_cds_update_rejected[{WINDOW}]))", "clusters"),
            nothing="The sidecars are not scraped: pod-monitor.yaml",
        ),
        per_line=3,
    )


def _admission() -> Section:
    return across(
        "Webhooks and certificates",
        9,
        lines(
            "Validation of resources",
            "ops",
            "What the validating webhook let pass, refused, and could not answer.",
            Query(_events("galley_validation_passed"), "passed"),
            Query(_events("galley_validation_failed"), "refused"),
            Query(_events("galley_validation_http_error"), "error"),
            nothing=ISTIOD,
        ),
        lines(
            "Injection of sidecars",
            "ops",
            "Pods that the injecting webhook was asked about. A pod without its sidecar has no filters at all.",
            Query(_events("sidecar_injection_requests_total"), "asked"),
            Query(_events("sidecar_injection_success_total"), "injected"),
            Query(_events("sidecar_injection_failure_total"), "error"),
            nothing=ISTIOD,
        ),
        lines(
            "Certificates",
            "ops",
            "Asked for, signed, and refused. Each proxy asks about every 12 hours.",
            Query(_events("citadel_server_csr_count"), "asked"),
            Query(_events("citadel_server_success_cert_issuance_count"), "signed"),
            Query(_events("citadel_server_csr_sign_err_count"), "not signed"),
            Query(_events("citadel_server_authentication_failure_count"), "not authenticated"),
            nothing=ISTIOD,
        ),
    )


def _scaling() -> Section:
    current = f"sum by ({BY_SCALER}) (kube_horizontalpodautoscaler_status_current_replicas{{{SCALED}}})"
    wanted = f"sum by ({BY_SCALER}) (kube_horizontalpodautoscaler_status_desired_replicas{{{SCALED}}})"
    least = f"sum by ({BY_SCALER}) (kube_horizontalpodautoscaler_spec_min_replicas{{{SCALED}}})"
    most = f"sum by ({BY_SCALER}) (kube_horizontalpodautoscaler_spec_max_replicas{{{SCALED}}})"
    return across(
        "Replicas",
        9,
        lines(
            "Replicas that run",
            "short",
            "What runs. Each replica has buckets of its own: N replicas admit N times a rule's limit, unless `replicas` divides it.",
            Query(current, "{{horizontalpodautoscaler}}"),
            nothing=SCALER,
        ),
        lines(
            "Replicas, of the most allowed",
            "percentunit",
            "1 is an autoscaler at its end: more load makes everything slower from here on.",
            Query(f"{current} / {most}", "{{horizontalpodautoscaler}}"),
            limits=[Limit(1, RED)],
            maximum=1,
            nothing=SCALER,
            runbooks=["TollgateAutoscalerAtMaximum"],
        ),
        rows(
            "Autoscalers, the fullest first",
            "Where each one stands between the fewest and the most replicas, and where it wants to be.",
            [Query(current), Query(wanted), Query(least), Query(most), Query(f"{current} / {most}")],
            [
                Column("namespace", "Namespace"),
                Column("horizontalpodautoscaler", "Autoscaler"),
                Column("A", "Runs", "short", decimals=0),
                Column("B", "Wants", "short", decimals=0),
                Column("C", "Fewest", "short", decimals=0),
                Column("D", "Most", "short", decimals=0),
                Column("E", "Full", "percentunit", [Limit(0.8, ORANGE), Limit(1, RED)], decimals=0),
            ],
            "Full",
            nothing=SCALER,
        ),
    )
