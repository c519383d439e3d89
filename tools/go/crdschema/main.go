// Command crdschema writes JSON schemas for kubeconform: one for each version of each custom resource definition it
// is given, and one for each built-in kind that Tollgate's manifests may hold.
//
//	crdschema OUT CRDS.yaml...
//
// Objects are closed: a field that the definition doesn't know is an error, as with kubectl's strict validation.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// builtIn are the kinds outside of custom resource definitions; whatever else turns up in a manifest has no schema,
// which kubeconform reports as an error.
var builtIn = map[string]string{
	"ConfigMap":                "io.k8s.api.core.v1",
	"Namespace":                "io.k8s.api.core.v1",
	"Secret":                   "io.k8s.api.core.v1",
	"Service":                  "io.k8s.api.core.v1",
	"ServiceAccount":           "io.k8s.api.core.v1",
	"DaemonSet":                "io.k8s.api.apps.v1",
	"Deployment":               "io.k8s.api.apps.v1",
	"StatefulSet":              "io.k8s.api.apps.v1",
	"NetworkPolicy":            "io.k8s.api.networking.v1",
	"PodDisruptionBudget":      "io.k8s.api.policy.v1",
	"CustomResourceDefinition": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
}

type object = map[string]any

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: crdschema OUT CRDS.yaml...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "crdschema:", err)
		os.Exit(1)
	}
}

func run(out string, files []string) error {
	for _, file := range files {
		if err := writeCustom(out, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return writeBuiltIn(out)
}

func writeCustom(out, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	documents, err := (&kio.ByteReader{Reader: bytes.NewReader(content), OmitReaderAnnotations: true}).Read()
	if err != nil {
		return err
	}
	for _, document := range documents {
		var definition struct {
			Kind string
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema object
					}
				}
			}
		}
		encoded, err := document.MarshalJSON()
		if err != nil {
			return err
		}
		if err := json.Unmarshal(encoded, &definition); err != nil {
			return err
		}
		if definition.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, version := range definition.Spec.Versions {
			schema := version.Schema.OpenAPIV3Schema
			if schema == nil {
				return fmt.Errorf("%s %s has no schema", definition.Spec.Names.Kind, version.Name)
			}
			// Every object has these three; definitions may leave them out.
			properties, ok := schema["properties"].(object)
			if !ok {
				return fmt.Errorf("%s %s has no properties", definition.Spec.Names.Kind, version.Name)
			}
			properties["apiVersion"] = object{"type": "string"}
			properties["kind"] = object{"type": "string"}
			properties["metadata"] = object{"type": "object"}
			closeObjects(schema)
			if err := write(out, definition.Spec.Group, definition.Spec.Names.Kind, version.Name, schema); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeBuiltIn(out string) error {
	definitions := openapi.Schema().Definitions
	for kind, home := range builtIn {
		definition, ok := definitions[home+"."+kind]
		if !ok {
			return fmt.Errorf("no built-in definition of %s.%s", home, kind)
		}
		encoded, err := definition.MarshalJSON()
		if err != nil {
			return err
		}
		var schema object
		if err := json.Unmarshal(encoded, &schema); err != nil {
			return err
		}
		inlined, err := inline(schema, nil)
		if err != nil {
			return err
		}
		schema = inlined.(object)
		closeObjects(schema)
		group := "v1" // kubeconform's name for the core group
		if parts := strings.Split(home, "."); parts[len(parts)-2] != "core" {
			group = groupNames[parts[len(parts)-2]]
		}
		if err := write(out, group, kind, "v1", schema); err != nil {
			return err
		}
	}
	return nil
}

var groupNames = map[string]string{
	"apps":          "apps",
	"apiextensions": "apiextensions.k8s.io",
	"networking":    "networking.k8s.io",
	"policy":        "policy",
}

// inline replaces references into the built-in definitions by what they refer to; one that leads back to itself (in
// the schema of schemas) becomes "anything".
func inline(node any, within []string) (any, error) {
	switch node := node.(type) {
	case []any:
		for i, item := range node {
			inlined, err := inline(item, within)
			if err != nil {
				return nil, err
			}
			node[i] = inlined
		}
	case object:
		if reference, ok := node["$ref"].(string); ok {
			name := strings.TrimPrefix(reference, "#/definitions/")
			for _, outer := range within {
				if outer == name {
					return object{}, nil
				}
			}
			switch {
			case strings.HasSuffix(name, ".IntOrString"), strings.HasSuffix(name, ".Quantity"):
				return object{"type": []string{"string", "number"}}, nil
			}
			definition, ok := openapi.Schema().Definitions[name]
			if !ok {
				return nil, fmt.Errorf("no definition of %s", name)
			}
			encoded, err := definition.MarshalJSON()
			if err != nil {
				return nil, err
			}
			var target object
			if err := json.Unmarshal(encoded, &target); err != nil {
				return nil, err
			}
			return inline(target, append(within[:len(within):len(within)], name))
		}
		for key, value := range node {
			inlined, err := inline(value, within)
			if err != nil {
				return nil, err
			}
			node[key] = inlined
		}
	}
	return node, nil
}

// closeObjects forbids unknown fields wherever an object names its fields and does not say that others may follow,
// and spells Kubernetes' own extensions in JSON Schema's words.
func closeObjects(node any) {
	switch node := node.(type) {
	case []any:
		for _, item := range node {
			closeObjects(item)
		}
	case object:
		if node["x-kubernetes-int-or-string"] == true {
			delete(node, "anyOf")
			node["type"] = []string{"string", "integer"}
		}
		_, named := node["properties"].(object)
		_, said := node["additionalProperties"]
		if named && !said && node["x-kubernetes-preserve-unknown-fields"] != true {
			if kind := node["type"]; kind == "object" || kind == nil && node["oneOf"] == nil {
				node["additionalProperties"] = false
			}
		}
		if kind, ok := node["type"].(string); ok && node["nullable"] == true {
			node["type"] = []string{kind, "null"}
		}
		for key, value := range node {
			switch key {
			// The branches of a choice repeat some of the fields of the object around them.
			case "oneOf", "anyOf", "allOf", "not", "enum", "default", "example":
			case "properties":
				for _, property := range value.(object) {
					closeObjects(property)
				}
			default:
				closeObjects(value)
			}
		}
	}
}

func write(out, group, kind, version string, schema object) error {
	directory := filepath.Join(out, group)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	encoded, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s_%s.json", strings.ToLower(kind), version)
	return os.WriteFile(filepath.Join(directory, name), encoded, 0o644)
}
