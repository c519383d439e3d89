package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/openapi"
	"sigs.k8s.io/kubectl-validate/pkg/cmd"
	"sigs.k8s.io/kubectl-validate/pkg/openapiclient"
	"sigs.k8s.io/kubectl-validate/pkg/validator"
	"sigs.k8s.io/yaml"

	"tollgate.invalid/manifests/versions"
)

// kubernetes is the newest version whose built-in kinds kubectl-validate brings along.
const kubernetes = "1.30"

// because is the annotation of refused.yaml that says what the refusal has to say.
const because = "tollgate.invalid/refused-because"

// expectations is what expectations.yaml declares.
type expectations struct {
	// Since has, by its directory, from which version of Istio on a kustomization holds.
	Since map[string]string
	// Features are what docs/compatibility.md has a line of.
	Features []feature
}

func check(root, definitions, kustomize string, write bool) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	source := filepath.Join(root, "tools", "manifests")
	start := time.Now()
	text, err := os.ReadFile(filepath.Join(source, "expectations.yaml"))
	if err != nil {
		return err
	}
	var expected expectations
	if err := yaml.UnmarshalStrict(text, &expected); err != nil {
		return fmt.Errorf("expectations.yaml: %w", err)
	}
	istios, err := minors(definitions)
	if err != nil {
		return err
	}
	built, err := build(root, kustomize)
	if err != nil {
		return err
	}
	for directory := range expected.Since {
		if !slices.ContainsFunc(built, func(k kustomization) bool { return k.directory == directory }) {
			return fmt.Errorf("expectations.yaml: there is no kustomization %s", directory)
		}
	}
	text, err = os.ReadFile(filepath.Join(source, "refused.yaml"))
	if err != nil {
		return err
	}
	refused, err := split(text)
	if err != nil {
		return fmt.Errorf("refused.yaml: %w", err)
	}
	fmt.Printf("%d kustomizations, Istio %s to %s ...\n", len(built), istios[0], istios[len(istios)-1])
	findings, err := findAll(built, refused, definitions, istios)
	if err != nil {
		return err
	}
	since := map[string]string{}
	var troubles []error
	for i, kustomization := range built {
		if err := versions.Judge(expected.Since[kustomization.directory], findings[i]); err != nil {
			troubles = append(troubles, fmt.Errorf("%s %w", kustomization.directory, err))
			continue
		}
		since[kustomization.directory], _ = versions.Since(findings[i])
		fmt.Printf("%s: %d resources, %s\n", kustomization.directory, len(kustomization.documents), what(kustomization, since))
	}
	if err := errors.Join(troubles...); err != nil {
		return err
	}
	tables, err := tables(built, since, expected.Features, definitions, istios)
	if err != nil {
		return err
	}
	if err := compare(filepath.Join(root, "docs", "compatibility.md"), tables, write); err != nil {
		return err
	}
	fmt.Printf("and %d resources that are wrong are refused: %.1f s\n", len(refused), time.Since(start).Seconds())
	return nil
}

// minors are the versions of Istio whose definitions there are, oldest first.
func minors(definitions string) ([]string, error) {
	entries, err := os.ReadDir(definitions)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		if entry.Name() != operator {
			found = append(found, entry.Name())
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no definitions of Istio", definitions)
	}
	slices.SortFunc(found, versions.Compare)
	return found, nil
}

// findAll validates everything: what is not Istio's once, what is on each version. The findings are in the order of built.
func findAll(built []kustomization, refused []document, definitions string, istios []string) ([][]versions.Finding, error) {
	findings := make([][]versions.Finding, len(built))
	for i := range findings {
		findings[i] = make([]versions.Finding, len(istios))
	}
	// The last of these is for what is not Istio's: it knows no kind of Istio's, and those on the versions no other's.
	return findings, parallel(len(istios)+1, func(i int) error {
		if i == len(istios) {
			return others(built, refused, definitions)
		}
		istio, err := validatorOf(openapiclient.NewLocalCRDFiles(os.DirFS(filepath.Join(definitions, istios[i]))))
		if err != nil {
			return err
		}
		for j, kustomization := range built {
			findings[j][i].Version = istios[i]
			for _, document := range kustomization.documents {
				if !isIstios(document) {
					continue
				}
				if err := cmd.ValidateDocument(document.text, istio); err != nil {
					findings[j][i].Errors = append(findings[j][i].Errors, fmt.Sprintf("%s: %v", document, err))
				}
			}
		}
		for _, document := range refused {
			if !isIstios(document) {
				continue
			}
			if err := refuses(document, istio); err != nil {
				return fmt.Errorf("Istio %s: %w", istios[i], err)
			}
		}
		return nil
	})
}

func others(built []kustomization, refused []document, definitions string) error {
	kinds, err := validatorOf(openapiclient.NewComposite(
		openapiclient.NewLocalCRDFiles(os.DirFS(filepath.Join(definitions, operator))),
		openapiclient.NewOverlay(openapiclient.HardcodedPatchLoader(kubernetes), openapiclient.NewHardcodedBuiltins(kubernetes)),
	))
	if err != nil {
		return err
	}
	var troubles []error
	for _, kustomization := range built {
		for _, document := range kustomization.documents {
			if isIstios(document) {
				continue
			}
			if err := cmd.ValidateDocument(document.text, kinds); err != nil {
				troubles = append(troubles, fmt.Errorf("%s: %s: %w", kustomization.directory, document, err))
			}
		}
	}
	for _, document := range refused {
		if !isIstios(document) {
			troubles = append(troubles, refuses(document, kinds))
		}
	}
	return errors.Join(troubles...)
}

// refuses is whether a document of refused.yaml is refused for the reason that it gives: a check that lets everything pass
// would go unnoticed otherwise.
func refuses(document document, validator *validator.Validator) error {
	var content struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := yaml.Unmarshal(document.text, &content); err != nil {
		return err
	}
	reason := content.Metadata.Annotations[because]
	if reason == "" {
		return fmt.Errorf("refused.yaml: %s has no annotation %s", document, because)
	}
	err := cmd.ValidateDocument(document.text, validator)
	if err == nil {
		return fmt.Errorf("refused.yaml: %s is taken, though it is wrong: %s", document, reason)
	}
	if !strings.Contains(err.Error(), reason) {
		return fmt.Errorf("refused.yaml: %s is refused not for %q, but: %w", document, reason, err)
	}
	return nil
}

func validatorOf(client openapi.Client) (*validator.Validator, error) { return validator.New(client) }

func isIstios(document document) bool {
	group, _, _ := strings.Cut(document.apiVersion, "/")
	return strings.HasSuffix(group, ".istio.io")
}

// parallel calls work for each number below count, a few at a time, and joins the errors.
func parallel(count int, work func(int) error) error {
	failures := make([]error, count)
	slots := make(chan struct{}, min(count, runtime.GOMAXPROCS(0)))
	var group sync.WaitGroup
	for i := range count {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			failures[i] = work(i)
		})
	}
	group.Wait()
	return errors.Join(failures...)
}
