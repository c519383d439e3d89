"""python -m tollgate_dashboards COMMAND: what make calls."""

import argparse
import sys
from pathlib import Path

from .generate import differences, write
from .render import everything
from .shipped import Span
from .validate import problems

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "istio" / "monitoring" / "dashboards"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tollgate_dashboards", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("generate", help="write the dashboards' JSON anew")
    check = commands.add_parser("check", help="hold the JSON against its source and against Grafana's schema")
    check.add_argument("--schema", type=Path, required=True, help="the JSON Schema that tools/setup.sh makes")
    draw = commands.add_parser("render", help="draw every dashboard from what a Prometheus has")
    draw.add_argument("--prometheus", required=True, help="the URL of its API")
    draw.add_argument("--out", type=Path, required=True, help="the directory for the pictures")
    draw.add_argument("--start", type=float, required=True, help="from when on, in seconds since 1970")
    draw.add_argument("--end", type=float, required=True, help="until when")
    draw.add_argument("--scrape-interval", type=float, required=True, help="seconds between two scrapes")
    arguments = parser.parse_args()
    if arguments.command == "generate":
        for name in write(SHIPPED):
            print(f"wrote {name}")
        return 0
    if arguments.command == "check":
        found = differences(SHIPPED) + problems(SHIPPED, arguments.schema)
        for problem in found:
            print(f"error: {problem}", file=sys.stderr)
        if not found:
            print("dashboards: as their source says, and as Grafana's own types allow")
        return 1 if found else 0
    span = Span(arguments.start, arguments.end, arguments.scrape_interval)
    return everything(SHIPPED, arguments.prometheus, span, arguments.out)


if __name__ == "__main__":
    sys.exit(main())
