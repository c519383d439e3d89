"""Tollgate's Grafana dashboards: their source, what checks them, and what draws them without Grafana.

The JSON files of istio/monitoring/dashboards come from here and from nowhere else.
"""
