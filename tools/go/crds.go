// Package tools pins what the project's checks need from the Go module proxy: see go.mod.
package tools

// The module of this package carries the custom resource definitions of the Istio release it belongs to; the import
// is what keeps its version and checksum in go.mod and go.sum.
import _ "istio.io/api/extensions/v1alpha1"
