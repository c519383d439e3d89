"""What Tollgate decides: who is limited or denied, where and why, and whether what runs is what was configured."""

from grafana_foundation_sdk.models import dashboard

from .layout import Place, Section, across, compose, label, metrics_source, seen_by
from .panels import GREEN, ORANGE, RED, Column, Limit, Query, bars, figure, lines, rows
from .promql import PROXIES, grown, or_zero_of, per_second, selector, share, some_of

UID = "tollgate-decisions"

REQUESTS = "tollgate_requests_total"
LIMITS = "tollgate_rate_limit_total"
IDENTITY = "tollgate_identity_total"
SLOTS = "tollgate_rate_limit_slots"
CONTENTION = "tollgate_rate_limit_contention_total"
CONFIG = "tollgate_config_info"
DROPPED = "tollgate_series_dropped_total"
EXPIRY = "tollgate_peer_certificate_expiry_timestamp_seconds"

# Counted once, where the reader looks.
SEEN = f'{PROXIES},direction=~"$direction"'
RULES = 'rule!~"__.*"'
CALLER = "source_workload, destination_service, route"


def decisions() -> dashboard.Dashboard:
    return compose(
        UID,
        "Tollgate / Decisions",
        "Whom Tollgate turns away and why, how near the others are, and which configuration is in force where.",
        [
            metrics_source(),
            label("namespace", "namespace", CONFIG, "Namespace"),
            label("app", "app", f'{CONFIG}{{namespace=~"$namespace"}}', "Workload"),
            label("pod", "pod", f'{CONFIG}{{namespace=~"$namespace",app=~"$app"}}', "Proxy"),
            seen_by(),
        ],
        [_glance(), _outcome(), _limits(), _identity(), _configuration(), _health()],
    )


def _glance() -> Section:
    unmatched = per_second(LIMITS, PROXIES, extra='rule="__unmatched__"')
    mixed = (
        f"max(count by (namespace, filter, plugin) (count by (namespace, filter, plugin, config_hash, version) "
        f"({selector(CONFIG, PROXIES)} == 1)))"
    )
    return across(
        "At a glance",
        5,
        figure(
            "Limited",
            "reqps",
            "Requests each second that got 429 from rate-limit.",
            Query(per_second(LIMITS, PROXIES, extra='decision="limited"')),
            [Limit(0.001, ORANGE)],
        ),
        figure(
            "Denied",
            "reqps",
            "Requests each second that got 403 from mtls-identity. Zero if nobody was ever denied.",
            Query(or_zero_of(per_second(IDENTITY, PROXIES, extra='decision="denied"'), per_second(IDENTITY, PROXIES))),
            [Limit(0.001, RED)],
        ),
        figure(
            "No rule for it",
            "percentunit",
            "Share of requests to which no rate-limit rule applies. Right if some routes are meant to be free; else a "
            "match that is wrong, and a limit that limits nothing.",
            Query(share(unmatched, per_second(LIMITS, PROXIES, extra='decision!="overflow"'))),
            [Limit(0.01, ORANGE), Limit(0.5, RED)],
            decimals=1,
        ),
        figure(
            "Configurations of one plugin",
            "short",
            "1: all proxies of a plugin have the same. More, for longer than a rollout takes: some proxies refused the new "
            "configuration, or did not get it. Which ones is further down.",
            Query(mixed),
            [Limit(2, RED)],
            nothing="No module has a configuration in force",
        ),
        figure(
            "Limiter out of order",
            "reqps",
            "Requests that rate-limit let pass because the proxy's shared data failed. Anything but 0 is a fault.",
            Query(per_second(LIMITS, PROXIES, extra='decision="error"')),
            [Limit(0.000001, RED)],
        ),
        figure(
            "First certificate to end",
            "s",
            "Until the first of the callers' certificates ends. Istio renews after half of their 24 hours; below 6 hours "
            "a caller's agent does not get a new one.",
            Query(f"min({selector(EXPIRY, PROXIES)} - time())"),
            [Limit(float("-inf"), RED), Limit(3600, ORANGE), Limit(6 * 3600, GREEN)],
            nothing="No caller with a certificate yet",
        ),
    )


def _outcome() -> Section:
    by_route = per_second(REQUESTS, SEEN, "route")
    turned_away = per_second(REQUESTS, SEEN, "route", 'decision=~"limited|denied"')
    everything = grown(REQUESTS, SEEN, CALLER)
    away = grown(REQUESTS, SEEN, CALLER, 'decision=~"limited|denied"')
    return Section(
        "What becomes of requests",
        9,
        [
            Place(
                lines(
                    "Decisions",
                    "reqps",
                    "All requests, by what Tollgate made of them. What rules in shadow mode would do is further down.",
                    Query(per_second(REQUESTS, SEEN, "decision"), "{{decision}}"),
                    stacked=True,
                ),
                8,
            ),
            Place(
                lines(
                    "Decisions by route",
                    "reqps",
                    "The same for each route.",
                    Query(per_second(REQUESTS, SEEN, "route, decision"), "{{route}}: {{decision}}"),
                ),
                8,
            ),
            Place(
                lines(
                    "Turned away, share of a route",
                    "percentunit",
                    "Limited or denied. 1 is a route that nobody gets through to.",
                    Query(share(turned_away, by_route), "{{route}}"),
                    maximum=1,
                ),
                8,
            ),
            Place(
                rows(
                    "Callers, the most limited first",
                    "Who calls what in the time range shown, and how often Tollgate turned the caller away. The caller is the "
                    "service account in the certificate.",
                    [
                        Query(f"{everything} > 0"),
                        Query(some_of(grown(REQUESTS, SEEN, CALLER, 'decision="limited"'), everything)),
                        Query(some_of(grown(REQUESTS, SEEN, CALLER, 'decision="denied"'), everything)),
                        Query(f"({some_of(away, everything)}) / {everything}"),
                    ],
                    [
                        Column("source_workload", "Caller"),
                        Column("destination_service", "Service", width=330),
                        Column("route", "Route"),
                        Column("A", "Requests", "locale", decimals=0),
                        Column("B", "Limited", "locale", decimals=0),
                        Column("C", "Denied", "locale", decimals=0),
                        Column("D", "Turned away", "percentunit", [Limit(0.01, ORANGE), Limit(0.25, RED)], decimals=1),
                    ],
                    "Limited",
                    nothing="Nobody called in this time",
                ),
                24,
            ),
        ],
    )


def _limits() -> Section:
    all_rules = per_second(LIMITS, PROXIES, "rule", RULES)
    shadow = per_second(LIMITS, PROXIES, "rule", f'{RULES},decision="shadow_limited"')
    limited = per_second(LIMITS, PROXIES, "rule", f'{RULES},decision="limited"')
    fill = f"max by (pod, rule) ({selector('rule:tollgate_rate_limit_fill:ratio5m', PROXIES)})"
    none_matched = per_second(LIMITS, PROXIES, "pod", 'rule="__unmatched__"')
    return across(
        "Rate limits",
        9,
        lines(
            "How full the rules are",
            "percentunit",
            "What a rule admitted within five minutes, of what it can admit in the long run, for each proxy. Above 1 it lives on its "
            "burst, and limits soon. Rules with a key have a bucket for each caller, and are not here. The alerts see the same: "
            "it needs the recording rules of rules.yaml.",
            Query(fill, "{{rule}} at {{pod}}"),
            limits=[Limit(0.8, ORANGE), Limit(1, RED)],
            nothing="No rule without a key, or rules.yaml is not applied",
            runbooks=["TollgateLimitNearSaturation"],
        ),
        lines(
            "Decisions by limiting rule",
            "reqps",
            "Each rule's decisions. `overflow` counts beside the others: the caller had no slot of its own.",
            Query(per_second(LIMITS, PROXIES, "rule, decision", f'{RULES},decision!="error"'), "{{rule}}: {{decision}}"),
            nothing="No rate-limit rule in force",
        ),
        lines(
            "Limited, share of a rule",
            "percentunit",
            "Of the requests that a rule decides about, those that it turns away.",
            Query(share(limited, all_rules), "{{rule}}"),
            maximum=1,
            nothing="No rate-limit rule in force",
            runbooks=["TollgateLimitBitesCallers"],
        ),
        lines(
            "What shadow rules would limit",
            "percentunit",
            "The same for rules that are not enforced yet. Enforce one when its line is where you want it.",
            Query(share(shadow, all_rules), "{{rule}}"),
            maximum=1,
            dashed=["/.*/"],
            nothing="No rate-limit rule in force",
        ),
        lines(
            "Requests that no rule is for",
            "reqps",
            "By proxy. This is how a limit that silently does nothing looks: its match fits no request, and all of them are here.",
            Query(none_matched, "{{pod}}"),
            limits=[Limit(0.000001, RED)],
            nothing="No rate-limit in force",
            runbooks=["TollgateTrafficUnmatched", "TollgateRuleMatchesNothing"],
        ),
        lines(
            "Callers with a slot of their own",
            "short",
            "Slots in use in the tables of rules with a key. When a table is full, callers share a bucket (`overflow`): raise "
            "`slots`. Rules without a key have no table: 0.",
            Query(
                f"sum by (rule) ({selector(SLOTS, PROXIES)}) or 0 * {all_rules}",
                "{{rule}}",
            ),
            nothing="No rate-limit rule in force",
            runbooks=["TollgateLimitOverflow"],
        ),
        per_line=3,
    )


def _identity() -> Section:
    by_rule = per_second(IDENTITY, PROXIES, "rule")
    seen = grown(REQUESTS, SEEN, "source_principal")
    return Section(
        "Identity",
        9,
        [
            Place(
                lines(
                    "Decisions by identity rule",
                    "reqps",
                    "`__default__` is what no rule took, `__outbound__` a filter on an outbound listener, where it checks nothing.",
                    Query(per_second(IDENTITY, PROXIES, "rule, decision"), "{{rule}}: {{decision}}"),
                    runbooks=["TollgateIdentityInactive"],
                    nothing="No mtls-identity in force",
                ),
                8,
            ),
            Place(
                lines(
                    "Denied, by reason",
                    "reqps",
                    "`not_allowed`: a verified caller whom no rule lists. `no_mtls`: no certificate. `foreign_trust_domain`: another "
                    "mesh's. `ambiguous_path`: a path that two readers may understand differently. `-`: nobody was denied.",
                    Query(
                        or_zero_of(
                            per_second(IDENTITY, PROXIES, "rule, reason", 'decision="denied"'),
                            per_second(IDENTITY, PROXIES, "reason", 'decision="allowed"'),
                        ),
                        "{{rule}} {{reason}}",
                    ),
                    nothing="No mtls-identity in force",
                    runbooks=["TollgateIdentityDenialsSpike"],
                ),
                8,
            ),
            Place(
                lines(
                    "What shadow rules would deny",
                    "reqps",
                    "Requests that passed, and would be denied if the rule or the whole policy were enforced. Zero before you enforce.",
                    Query(
                        or_zero_of(per_second(IDENTITY, PROXIES, "rule", 'decision="shadow_denied"'), by_rule),
                        "{{rule}}",
                    ),
                    dashed=["/.*/"],
                    nothing="No mtls-identity in force",
                ),
                8,
            ),
            Place(
                rows(
                    "Callers by identity, the most denied first",
                    "Who, by the SPIFFE ID in the certificate, asked how often in the time range shown, and was turned away. "
                    "Whom a rule in shadow mode would deny is in the log: the dashboard Requests one by one.",
                    [
                        Query(f"{seen} > 0"),
                        Query(some_of(grown(REQUESTS, SEEN, "source_principal", 'decision="denied"'), seen)),
                        Query(some_of(grown(REQUESTS, SEEN, "source_principal", 'decision="limited"'), seen)),
                    ],
                    [
                        Column("source_principal", "Identity"),
                        Column("A", "Requests", "locale", decimals=0, width=110),
                        Column("B", "Denied", "locale", [Limit(1, RED)], decimals=0, width=110),
                        Column("C", "Limited", "locale", [Limit(1, ORANGE)], decimals=0, width=110),
                    ],
                    "Denied",
                    nothing="Nobody called in this time",
                ),
                14,
            ),
            Place(
                bars(
                    "Callers' certificates are valid for",
                    "s",
                    "Until the certificate of each caller ends, as last seen; of several replicas the first. Istio's live 24 hours "
                    "and are renewed at half of that.",
                    Query(f"sort(min by (source_principal) ({selector(EXPIRY, PROXIES)} - time()))", "{{source_principal}}"),
                    [Limit(float("-inf"), RED), Limit(3600, ORANGE), Limit(6 * 3600, GREEN)],
                    maximum=86400,
                    nothing="No caller with a certificate yet",
                    runbooks=["TollgateCertificateExpiring"],
                ),
                10,
            ),
        ],
    )


def _configuration() -> Section:
    in_force = f"{selector(CONFIG, PROXIES)} == 1"
    return Section(
        "Configuration in force",
        8,
        [
            Place(
                rows(
                    "What runs where",
                    "Each module, version and configuration that is in force, and in how many proxies. Two lines of one plugin that "
                    "stay are proxies that disagree; the log line event=configuration_refused says why.",
                    [Query(f"count by (namespace, plugin, filter, version, config_hash) ({in_force})")],
                    [
                        Column("namespace", "Namespace"),
                        Column("plugin", "Plugin"),
                        Column("filter", "Filter"),
                        Column("version", "Version"),
                        Column("config_hash", "Configuration"),
                        Column("A", "Proxies", "locale", decimals=0, width=90),
                    ],
                    "Proxies",
                    nothing="No module has a configuration in force",
                    runbooks=["TollgateFilterAbsent", "TollgateFilterSkipped", "TollgateModuleNotFetched"],
                ),
                12,
            ),
            Place(
                lines(
                    "Proxies by configuration",
                    "short",
                    "A rollout is one line that falls while another rises. Both flat, and above 0: proxies that disagree.",
                    Query(f"count by (filter, config_hash) ({in_force})", "{{filter}} {{config_hash}}"),
                    stacked=True,
                    nothing="No module has a configuration in force",
                    runbooks=["TollgateConfigRefused"],
                ),
                12,
            ),
        ],
    )


def _health() -> Section:
    restarts = f"sum by (wasm_plugin) (increase({selector('envoy_wasm_vm_reload', PROXIES)}[5m]))"
    return across(
        "Health of the filters",
        8,
        lines(
            "Requests whose labels were dropped",
            "reqps",
            "After `maxSeries` sets of labels route-metrics counts everything new as `__other__`.",
            Query(per_second(DROPPED, PROXIES, "filter"), "{{filter}}"),
            limits=[Limit(0.000001, RED)],
            runbooks=["TollgateSeriesDropped"],
        ),
        lines(
            "Limiter out of order, or crowded",
            "reqps",
            "`error`: let through because the proxy's shared data failed. `overflow`: a rule's table was full.",
            Query(per_second(LIMITS, PROXIES, "decision", 'decision=~"error|overflow"'), "{{decision}}"),
            nothing="No rate-limit in force",
            runbooks=["TollgateLimitErrors", "TollgateLimitOverflow"],
        ),
        lines(
            "Contention for buckets",
            "ops",
            "How often another worker thread was quicker and a bucket was asked again. It costs microseconds, and no accuracy.",
            Query(per_second(CONTENTION, PROXIES, "rule"), "{{rule}}"),
            nothing="No rate-limit in force",
        ),
        lines(
            "Filters started anew",
            "short",
            "How often a filter's machine had to be started again within the last five minutes, after it had failed. For about a "
            "second each time its requests were refused.",
            Query(restarts, "{{wasm_plugin}}"),
            limits=[Limit(0.000001, RED)],
            runbooks=["TollgateVmFailing"],
        ),
    )
