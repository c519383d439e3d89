"""The few shapes of PromQL that the dashboards repeat."""

# The requests that the reader chose. `route` and `direction` alone name a request in flight.
CHOSEN = 'namespace=~"$namespace",destination_service=~"$destination_service",route=~"$route",direction=~"$direction"'
UNDER_WAY = 'namespace=~"$namespace",route=~"$route",direction=~"$direction"'
# The proxies that the reader chose.
PROXIES = 'namespace=~"$namespace",app=~"$app",pod=~"$pod"'

WINDOW = "$__rate_interval"
WHOLE = "$__range"


def selector(metric: str, chosen: str, extra: str = "") -> str:
    """`metric{chosen,extra}`."""
    return f"{metric}{{{chosen}{',' if extra else ''}{extra}}}"


def per_second(metric: str, chosen: str, by: str = "", extra: str = "") -> str:
    """How fast a counter grows, each second, added up by the labels `by`."""
    return f"{_sum(by)} (rate({selector(metric, chosen, extra)}[{WINDOW}]))"


def grown(metric: str, chosen: str, by: str = "", extra: str = "") -> str:
    """By how much a counter grew in the time range shown."""
    return f"{_sum(by)} (increase({selector(metric, chosen, extra)}[{WHOLE}]))"


def or_zero_of(expr: str, whole: str) -> str:
    """`expr`, and zero for what `whole` has and `expr` does not: of requests that were seen, none was like that."""
    return f"{expr} or 0 * {whole}"


def some_of(part: str, whole: str) -> str:
    """Of those that `whole` has more than none of, how many are `part` too: zero, if need be. The rows of a table."""
    return f"({part}) > 0 or 0 * ({whole} > 0)"


def share(part: str, whole: str) -> str:
    """The part of a whole, from 0 to 1; zero where the whole is there and the part is not, no number for nothing at all."""
    return f"({or_zero_of(part, whole)}) / {whole}"


def quantile(q: float, histogram: str, chosen: str, by: str = "", extra: str = "") -> str:
    """The value that the share `q` of all observations lies below, by Prometheus's interpolation within a bucket."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {per_second(f'{histogram}_bucket', chosen, labels, extra)})"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"
