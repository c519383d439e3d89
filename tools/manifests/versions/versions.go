// Package versions holds what is declared of versions of Istio against what was found. It knows nothing of Kubernetes.
package versions

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Every is what holds on each version that there is.
const Every = "every version"

// None is what holds on no version.
const None = "no version"

// Finding is what one version of Istio says of something: nothing, when it holds there.
type Finding struct {
	// Version is the minor version, "1.20".
	Version string
	// Errors is why it does not hold.
	Errors []string
}

// Holds is whether nothing was found.
func (f Finding) Holds() bool { return len(f.Errors) == 0 }

// Since is from which version on something holds: the oldest from which every newer one has it too. It is an error if it
// held once and does not any more, as then no single version says it.
func Since(findings []Finding) (string, error) {
	sorted := slices.SortedFunc(slices.Values(findings), func(a, b Finding) int { return Compare(a.Version, b.Version) })
	if len(sorted) == 0 {
		return "", fmt.Errorf("no version was looked at")
	}
	since := None
	for i, finding := range sorted {
		switch {
		case finding.Holds() && since == None && i == 0:
			since = Every
		case finding.Holds() && since == None:
			since = finding.Version
		case !finding.Holds() && since != None:
			return "", fmt.Errorf("holds from %s on but not on %s: %s", since, finding.Version, strings.Join(finding.Errors, "; "))
		}
	}
	return since, nil
}

// Judge says whether something holds from exactly the version that is declared: not on any older one, and on it and each
// newer one. What is not declared, "", has to hold on every version.
func Judge(declared string, findings []Finding) error {
	if declared == "" {
		declared = Every
	}
	found, err := Since(findings)
	if err != nil {
		return err
	}
	if found == declared {
		return nil
	}
	var why []string
	for _, finding := range findings {
		if !finding.Holds() && (declared == Every || Compare(finding.Version, declared) >= 0) {
			why = append(why, fmt.Sprintf("Istio %s: %s", finding.Version, strings.Join(finding.Errors, "; ")))
		}
	}
	if len(why) != 0 {
		return fmt.Errorf("has to hold on %s, but holds on %s\n  %s", on(declared), on(found), strings.Join(why, "\n  "))
	}
	return fmt.Errorf("is declared to hold on %s, but holds on %s", on(declared), on(found))
}

func on(since string) string {
	if since == Every || since == None {
		return since
	}
	return since + " and newer"
}

// Compare orders minor versions by their numbers: 1.9 before 1.20.
func Compare(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		left, leftErr := strconv.Atoi(a)
		right, rightErr := strconv.Atoi(b)
		if leftErr != nil || rightErr != nil {
			return cmp.Compare(a, b)
		}
		return cmp.Compare(left, right)
	})
}

// Minor is "1.20" of "v1.20.1".
func Minor(version string) (string, error) {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) < 3 {
		return "", fmt.Errorf("%q is not a version such as v1.20.1", version)
	}
	return parts[0] + "." + parts[1], nil
}
