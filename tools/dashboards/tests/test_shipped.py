"""Queries are sent as Grafana sends them, and numbers are written as Grafana writes them."""

import unittest
from typing import Any

from tollgate_dashboards.shipped import Dashboard, Panel, Span
from tollgate_dashboards.units import written


def sent(expr: str, span: Span, points: int, *variables: dict[str, Any]) -> str:
    """What becomes of a query."""
    target = {"expr": expr, "refId": "A", "datasource": {"type": "prometheus"}}
    dashboard = Dashboard("uid", "title", [], {"templating": {"list": list(variables)}})
    return next(dashboard.targets(Panel("p", "timeseries", 0, 0, 1, 1, {"targets": [target]}), span, points)).expr


class Variables(unittest.TestCase):
    def test_a_rates_window_is_four_scrapes_or_a_step_and_a_scrape(self) -> None:
        self.assertEqual(sent("rate(a[$__rate_interval])", Span(0, 3600, 15), 1000), "rate(a[60000ms])")
        self.assertEqual(sent("rate(a[$__rate_interval])", Span(0, 86400, 15), 400), "rate(a[231000ms])")

    def test_all_values_are_what_the_variable_says_they_are(self) -> None:
        everything = {"name": "route", "allValue": ".*", "current": {"value": ["$__all"]}}
        self.assertEqual(sent('a{r=~"$route"}', Span(0, 60, 1), 10, everything), 'a{r=~".*"}')

    def test_a_choice_is_the_value_and_not_its_name(self) -> None:
        choice = {"name": "direction", "current": {"text": "by the callee", "value": "inbound|unknown"}}
        self.assertEqual(sent('a{d=~"${direction}"}', Span(0, 60, 1), 10, choice), 'a{d=~"inbound|unknown"}')

    def test_what_is_promqls_own_stays(self) -> None:
        self.assertEqual(sent('label_replace(a, "b", "${1}xx", "c", "(.)")', Span(0, 60, 1), 10).count("${1}xx"), 1)

    def test_a_variable_that_there_is_not_is_an_error(self) -> None:
        with self.assertRaises(KeyError):
            sent('a{r=~"$rout"}', Span(0, 60, 1), 10)


class Units(unittest.TestCase):
    def test_numbers_have_units_and_few_digits(self) -> None:
        for value, unit, expected in [
            (0.0123, "percentunit", "1.23%"),
            (1500, "ms", "1.5 s"),
            (0.25, "ms", "250 us"),
            (86400 * 2, "s", "2 days"),
            (3600, "s", "1 hour"),
            (1536, "bytes", "1.5 KiB"),
            (2500, "reqps", "2.5K req/s"),
            (0, "reqps", "0 req/s"),
            (1234567, "locale", "1,234,567"),
            (float("nan"), "short", "-"),
        ]:
            self.assertEqual(written(value, unit), expected)


if __name__ == "__main__":
    unittest.main()
