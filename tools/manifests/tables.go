package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kubectl-validate/pkg/utils"
	"sigs.k8s.io/yaml"

	"tollgate.invalid/manifests/versions"
)

// feature is a kind, a field or a value of a field that Istio has from some version on.
type feature struct {
	// Kind and APIVersion say of which resource.
	Kind       string
	APIVersion string `json:"apiVersion"`
	// Field is the path below the resource, with [] for the items of a list and {} for the values of a map. Empty for the kind
	// itself.
	Field string
	// Value is one of those that the field takes, if it is about one.
	Value string
	// For is what Tollgate uses it for.
	For string
}

func (f feature) String() string {
	if f.Field == "" {
		return fmt.Sprintf("%s `%s`", f.Kind, f.APIVersion)
	}
	if f.Value != "" {
		return fmt.Sprintf("%s `%s: %s`", f.Kind, f.Field, f.Value)
	}
	return fmt.Sprintf("%s `%s`", f.Kind, f.Field)
}

// tables are the parts of docs/compatibility.md that are written by this program, by name.
func tables(built []kustomization, since map[string]string, features []feature, definitions string, istios []string) (map[string]string, error) {
	var manifests, fields strings.Builder
	manifests.WriteString("| `kubectl apply -k` | Istio |\n|---|---|\n")
	for _, kustomization := range built {
		fmt.Fprintf(&manifests, "| `%s` | %s |\n", kustomization.directory, what(kustomization, since))
	}
	all := make([]map[string]any, len(istios))
	for i, istio := range istios {
		schemas, err := schemasOf(filepath.Join(definitions, istio, "definitions.yaml"))
		if err != nil {
			return nil, err
		}
		all[i] = schemas
	}
	fields.WriteString("| | Istio | |\n|---|---|---|\n")
	for _, feature := range features {
		findings := make([]versions.Finding, len(istios))
		for i, istio := range istios {
			findings[i].Version = istio
			if !has(all[i][feature.APIVersion+" "+feature.Kind], feature) {
				findings[i].Errors = []string{"there is no such thing"}
			}
		}
		from, err := versions.Since(findings)
		if err == nil && from == versions.None {
			err = errors.New("no version has it")
		}
		if err != nil {
			return nil, fmt.Errorf("expectations.yaml: %s: %w", feature, err)
		}
		fmt.Fprintf(&fields, "| %s | %s | %s |\n", feature, described(from), feature.For)
	}
	return map[string]string{"manifests": manifests.String(), "fields": fields.String()}, nil
}

// what says on which versions a kustomization holds.
func what(kustomization kustomization, since map[string]string) string {
	if !slices.ContainsFunc(kustomization.documents, isIstios) {
		return "nothing of Istio's in it"
	}
	return described(since[kustomization.directory])
}

func described(since string) string {
	if since == versions.Every {
		return "every version"
	}
	return "from " + since
}

// schemasOf has the schema of each kind of a file of definitions, by its apiVersion and name.
func schemasOf(file string) (map[string]any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	documents, err := utils.SplitYamlDocuments(text)
	if err != nil {
		return nil, err
	}
	schemas := map[string]any{}
	for _, document := range documents {
		if utils.IsEmptyYamlDocument(document) {
			continue
		}
		var definition struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(document, &definition); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		spec := definition.Spec
		for _, version := range spec.Versions {
			schemas[spec.Group+"/"+version.Name+" "+spec.Names.Kind] = version.Schema.OpenAPIV3Schema
		}
	}
	return schemas, nil
}

// has is whether the schema of the kind knows the feature.
func has(schema any, feature feature) bool {
	node, ok := schema.(map[string]any)
	if !ok || feature.Field == "" {
		return ok
	}
	for _, step := range strings.Split(feature.Field, ".") {
		name := strings.TrimRight(step, "[]{}")
		properties, _ := node["properties"].(map[string]any)
		if node, ok = properties[name].(map[string]any); !ok {
			return false
		}
		below := map[string]string{"[]": "items", "{}": "additionalProperties"}[strings.TrimPrefix(step, name)]
		if below != "" {
			if node, ok = node[below].(map[string]any); !ok {
				return false
			}
		}
	}
	values, _ := node["enum"].([]any)
	return feature.Value == "" || slices.Contains(values, any(feature.Value))
}

// compare holds the tables against those of the document, each between two comments with its name, or writes them there.
func compare(file string, tables map[string]string, write bool) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := string(text)
	for name, table := range tables {
		begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
		before, rest, found := strings.Cut(changed, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			return fmt.Errorf("docs/compatibility.md has no place for the table %q", name)
		}
		changed = before + begin + "\n" + table + "\n" + end + after
	}
	if changed == string(text) {
		return nil
	}
	if write {
		return os.WriteFile(file, []byte(changed), 0o644)
	}
	return errors.New("docs/compatibility.md is not up to date: make compatibility writes its tables")
}
