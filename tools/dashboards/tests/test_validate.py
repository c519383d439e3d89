"""What is wrong with a dashboard is found: each test spoils one of the shipped files in memory."""

import copy
import json
import os
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tollgate_dashboards.generate import differences, write
from tollgate_dashboards.validate import problems, without_runbook, wrong

SCHEMA_FILE = Path(os.environ["TOLLGATE_DASHBOARD_SCHEMA"])
SCHEMA = json.loads(SCHEMA_FILE.read_text())
SHIPPED = Path(__file__).parents[3] / "istio/monitoring/dashboards"
DECISIONS = json.loads((SHIPPED / "tollgate-decisions.json").read_text())

Dashboard = dict[str, Any]


def panel(dashboard: Dashboard, kind: str) -> Dashboard:
    """The first panel of a type."""
    found: Dashboard = next(one for one in dashboard["panels"] if one["type"] == kind)
    return found


class Validation(unittest.TestCase):
    def assert_refused(self, spoil: Callable[[Dashboard], object], *said: str) -> None:
        """What `spoil` does to a dashboard is refused, with one line that names the place and the reason."""
        dashboard = copy.deepcopy(DECISIONS)
        spoil(dashboard)
        lines = wrong(dashboard, SCHEMA)
        self.assertTrue(any(all(word in line for word in said) for line in lines), f"{said} is in none of {lines}")

    def test_accepts_what_is_shipped(self) -> None:
        self.assertEqual(problems(SHIPPED, SCHEMA_FILE), [])

    def test_refuses_a_misspelled_field_of_the_dashboard(self) -> None:
        self.assert_refused(lambda it: it.update(refesh="30s"), "refesh")

    def test_refuses_a_misspelled_field_of_a_panel(self) -> None:
        self.assert_refused(lambda it: panel(it, "timeseries").update(titel="x"), "panels[", "titel")

    def test_refuses_a_misspelled_option_of_a_panels_own_type(self) -> None:
        self.assert_refused(lambda it: panel(it, "stat")["options"].update(graphmode="area"), "options", "graphmode")

    def test_refuses_an_option_of_another_type_of_panel(self) -> None:
        self.assert_refused(lambda it: panel(it, "bargauge")["options"].update(graphMode="area"), "options", "graphMode")

    def test_refuses_a_misspelled_setting_of_a_line(self) -> None:
        def spoil(dashboard: Dashboard) -> None:
            panel(dashboard, "timeseries")["fieldConfig"]["defaults"]["custom"]["linewidth"] = 2

        self.assert_refused(spoil, "fieldConfig.defaults.custom", "linewidth")

    def test_refuses_a_misspelled_field_of_a_query(self) -> None:
        self.assert_refused(lambda it: panel(it, "stat")["targets"][0].update(legend="x"), "targets[0]", "legend")

    def test_refuses_a_number_in_place_of_a_string(self) -> None:
        self.assert_refused(lambda it: panel(it, "stat").update(title=5), "title", "5")

    def test_refuses_a_string_in_place_of_a_number(self) -> None:
        self.assert_refused(lambda it: panel(it, "table")["gridPos"].update(w="12"), "gridPos.w", "'12'")

    def test_refuses_a_value_that_grafana_does_not_know(self) -> None:
        self.assert_refused(lambda it: panel(it, "stat")["options"].update(colorMode="loud"), "colorMode", "loud")

    def test_refuses_a_type_of_panel_that_nobody_added(self) -> None:
        self.assert_refused(lambda it: panel(it, "stat").update(type="grpah"), "panels[1]")

    def test_refuses_a_data_source_of_somebodys_own(self) -> None:
        self.assert_refused(lambda it: panel(it, "stat")["datasource"].update(uid="P1809F7CD0C75ACF3"), "datasource")

    def test_refuses_a_panel_that_explains_nothing(self) -> None:
        self.assert_refused(lambda it: panel(it, "stat").pop("description"), "description")

    def test_refuses_a_misspelled_setting_of_a_column(self) -> None:
        def spoil(dashboard: Dashboard) -> None:
            panel(dashboard, "table")["fieldConfig"]["overrides"][0]["properties"][0]["id"] = "custom.widht"

        self.assert_refused(spoil, "overrides[0]", "custom.widht")

    def test_refuses_panels_on_top_of_each_other(self) -> None:
        self.assert_refused(lambda it: panel(it, "table")["gridPos"].update(y=2), "lies on")

    def test_refuses_two_panels_of_one_name(self) -> None:
        self.assert_refused(lambda it: panel(it, "table").update(title=panel(it, "stat")["title"]), "another panel has its title")

    def test_finds_a_link_to_a_runbook_that_is_not_there(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            self.assertIn("no such page", without_runbook(DECISIONS, Path(empty))[0])


class Generation(unittest.TestCase):
    def test_writes_the_same_bytes_each_time(self) -> None:
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            for name in write(Path(first)):
                write(Path(second))
                self.assertEqual((Path(first) / name).read_bytes(), (Path(second) / name).read_bytes())

    def test_finds_a_file_that_somebody_edited(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            name = write(Path(directory))[0]
            self.assertEqual(differences(Path(directory)), [])
            file = Path(directory) / name
            file.write_text(file.read_text().replace("Tollgate", "Tolgate"))
            self.assertIn(name, differences(Path(directory))[0])

    def test_finds_a_file_without_a_source(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            write(Path(directory))
            (Path(directory) / "mine.json").write_text("{}")
            self.assertIn("mine.json", differences(Path(directory))[0])


if __name__ == "__main__":
    unittest.main()
