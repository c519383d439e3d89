package versions

import (
	"strings"
	"testing"
)

// found has one finding for each version from 1.20: whether it holds there.
func found(holds ...bool) []Finding {
	var findings []Finding
	for i, holds := range holds {
		finding := Finding{Version: []string{"1.20", "1.21", "1.22"}[i]}
		if !holds {
			finding.Errors = []string{"unknown field"}
		}
		findings = append(findings, finding)
	}
	return findings
}

func TestAccepts(t *testing.T) {
	for declared, findings := range map[string][]Finding{
		"":     found(true, true, true),
		"1.21": found(false, true, true),
		"1.22": found(false, false, true),
	} {
		if err := Judge(declared, findings); err != nil {
			t.Errorf("%q: %v", declared, err)
		}
	}
}

func TestRefusesWhatDoesNotHoldFromTheDeclaredVersion(t *testing.T) {
	for _, declared := range []string{"", "1.20", "1.21"} {
		err := Judge(declared, found(false, false, true))
		if err == nil || !strings.Contains(err.Error(), "Istio 1.21: unknown field") {
			t.Errorf("%q: %v", declared, err)
		}
	}
}

func TestRefusesWhatHoldsBeforeTheDeclaredVersion(t *testing.T) {
	for _, declared := range []string{"1.21", "1.22"} {
		if err := Judge(declared, found(true, true, true)); err == nil || !strings.Contains(err.Error(), "every version") {
			t.Errorf("%q: %v", declared, err)
		}
	}
	if err := Judge("1.22", found(false, true, true)); err == nil {
		t.Error("it holds from 1.21 on")
	}
}

func TestRefusesWhatHeldOnceOrNever(t *testing.T) {
	for _, findings := range [][]Finding{found(true, false, true), found(true, true, false), found(false, false, false), nil} {
		for _, declared := range []string{"", "1.21", "1.22"} {
			if err := Judge(declared, findings); err == nil {
				t.Errorf("%q of %v", declared, findings)
			}
		}
	}
}

func TestOrdersByNumbers(t *testing.T) {
	if Compare("1.9", "1.20") >= 0 || Compare("1.31", "1.4") <= 0 || Compare("1.20", "1.20") != 0 {
		t.Error("not by numbers")
	}
}

func TestTakesTheMinorVersion(t *testing.T) {
	if minor, err := Minor("v1.20.1"); minor != "1.20" || err != nil {
		t.Error(minor, err)
	}
	if _, err := Minor("v1"); err == nil {
		t.Error("v1 has no minor version")
	}
}
