//go:build tools

package tools

// The module of this program carries the definitions of PodMonitor, ServiceMonitor, PrometheusRule and
// AlertmanagerConfig. It is never built: it is the smallest thing there that can be named.
import _ "github.com/prometheus-operator/prometheus-operator/example/alertmanager-webhook"
