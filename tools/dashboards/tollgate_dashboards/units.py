"""Numbers as Grafana writes them: with a unit, and short enough for an axis."""

import math

_SIZES = {
    "short": (1000, ["", " K", " Mil", " Bil"]),
    "reqps": (1000, [" req/s", "K req/s", "M req/s"]),
    "ops": (1000, [" ops/s", "K ops/s", "M ops/s"]),
    "bytes": (1024, [" B", " KiB", " MiB", " GiB"]),
    "Bps": (1000, [" B/s", " kB/s", " MB/s", " GB/s"]),
}
_TIMES = [(86400.0, "day"), (3600.0, "hour"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us")]


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """`value` with its unit; a dash for what is no number."""
    if not math.isfinite(value):
        return "-"
    if unit == "percentunit":
        return f"{_digits(value * 100, decimals)}%"
    if unit == "locale":
        return f"{value:,.{decimals or 0}f}"
    if unit in ("s", "ms"):
        return _time(value / 1000 if unit == "ms" else value, decimals)
    base, names = _SIZES.get(unit, _SIZES["short"])
    power = 0
    while abs(value) >= base and power < len(names) - 1:
        value /= base
        power += 1
    return f"{_digits(value, decimals)}{names[power]}"


def _time(seconds: float, decimals: int | None) -> str:
    if seconds == 0:
        return "0 s"
    size, name = next(((size, name) for size, name in _TIMES if abs(seconds) >= size), _TIMES[-1])
    number = _digits(seconds / size, decimals)
    return f"{number} {name}{'s' if name in ('day', 'hour', 'min') and number != '1' else ''}"


def _digits(value: float, decimals: int | None) -> str:
    if decimals is None:
        decimals = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        decimals = min(decimals, 4)
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{decimals}f}"
