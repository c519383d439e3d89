// Command manifests holds what the kustomizations under istio/ build against the definitions of every version of Istio that
// definitions.txt names, of the Prometheus operator, and of Kubernetes, the way the API server would: unknown fields are
// refused, and the definitions' own rules (CEL) are run. It is kubectl-validate, once for each version.
//
//	manifests fetch SOURCE OUT                     puts the definitions of SOURCE/definitions.txt into OUT
//	manifests check [-write] ROOT DEFINITIONS KUSTOMIZE  checks, and compares ROOT/docs/compatibility.md, or writes it
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "fetch":
		return fetch(args[1], args[2])
	case len(args) == 4 && args[0] == "check":
		return check(args[1], args[2], args[3], false)
	case len(args) == 5 && args[0] == "check" && args[1] == "-write":
		return check(args[2], args[3], args[4], true)
	default:
		return errors.New("usage: manifests fetch SOURCE OUT, or manifests check [-write] ROOT DEFINITIONS KUSTOMIZE")
	}
}
