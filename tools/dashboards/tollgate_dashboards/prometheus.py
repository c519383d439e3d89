"""What a Prometheus answers over its HTTP API."""

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Series:
    """Labels, and a value for each time in seconds since 1970. Where there is no value, there is no time either."""

    labels: dict[str, str]
    times: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def last(self) -> float:
        """The last value that is a number, else not a number."""
        numbers = self.values[np.isfinite(self.values)]
        return float(numbers[-1]) if len(numbers) else float("nan")


class Refused(Exception):
    """Prometheus refuses the query."""


@dataclass(frozen=True)
class Prometheus:
    """Where it is."""

    url: str

    def over(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """A range query. Raises `Refused` with Prometheus's reason."""
        return self._ask("query_range", {"query": expr, "start": f"{start}", "end": f"{end}", "step": f"{step}"})

    def at(self, expr: str, time: float) -> list[Series]:
        """An instant query; each series has one value."""
        return self._ask("query", {"query": expr, "time": f"{time}"})

    def _ask(self, endpoint: str, parameters: dict[str, str]) -> list[Series]:
        url = f"{self.url}/api/v1/{endpoint}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                result = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise Refused(f"{parameters['query']}: {error.read().decode()}") from error
        return [
            Series(
                one["metric"],
                np.array([float(time) for time, _ in points]),
                np.array([float(value) for _, value in points]),
            )
            for one in result
            for points in [one["values"] if "values" in one else [one["value"]]]
        ]
