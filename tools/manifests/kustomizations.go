package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kubectl-validate/pkg/utils"
	"sigs.k8s.io/yaml"
)

// document is one resource of what a kustomization builds.
type document struct {
	apiVersion, kind, name string
	text                   []byte
}

func (d document) String() string { return d.apiVersion + " " + d.kind + " " + d.name }

// kustomization is a directory that can be applied, relative to the root, with what it builds.
type kustomization struct {
	directory string
	documents []document
}

// build finds every kustomization under root/istio and builds it. A component is built as part of what includes it, so one that
// nothing includes is an error.
func build(root, kustomize string) ([]kustomization, error) {
	var directories, components []string
	included := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "istio"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "kustomization.yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var content struct {
			Kind       string
			Components []string
		}
		if err := yaml.Unmarshal(text, &content); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		directory := filepath.Dir(path)
		if content.Kind == "Component" {
			components = append(components, directory)
		} else {
			directories = append(directories, directory)
		}
		for _, component := range content.Components {
			included[filepath.Join(directory, component)] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, component := range components {
		if !included[component] {
			return nil, fmt.Errorf("no kustomization includes the component %s, so nothing checks it", relative(root, component))
		}
	}
	if len(directories) == 0 {
		return nil, errors.New("no kustomization found")
	}
	slices.Sort(directories)
	built := make([]kustomization, len(directories))
	err = parallel(len(directories), func(i int) error {
		documents, err := buildOne(kustomize, directories[i])
		built[i] = kustomization{directory: relative(root, directories[i]), documents: documents}
		return err
	})
	return built, err
}

func buildOne(kustomize, directory string) ([]document, error) {
	output, err := exec.Command(kustomize, "build", directory).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = errors.New(string(exit.Stderr))
		}
		return nil, fmt.Errorf("kustomize build %s: %w", directory, err)
	}
	documents, err := split(output)
	if err == nil && len(documents) == 0 {
		err = errors.New("builds nothing")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", directory, err)
	}
	return documents, nil
}

func split(text []byte) ([]document, error) {
	parts, err := utils.SplitYamlDocuments(text)
	if err != nil {
		return nil, err
	}
	var documents []document
	for _, part := range parts {
		if utils.IsEmptyYamlDocument(part) {
			continue
		}
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string
			Metadata   struct{ Name string }
		}
		if err := yaml.Unmarshal(part, &head); err != nil {
			return nil, err
		}
		if head.APIVersion == "v1" && head.Kind == "Secret" {
			if part, err = unfold(part); err != nil {
				return nil, err
			}
		}
		documents = append(documents, document{apiVersion: head.APIVersion, kind: head.Kind, name: head.Metadata.Name, text: part})
	}
	return documents, nil
}

// unfold is the Secret with each value on one line: kustomize folds base64, the API server takes that, and kubectl-validate
// does not.
func unfold(secret []byte) ([]byte, error) {
	var content map[string]any
	if err := yaml.Unmarshal(secret, &content); err != nil {
		return nil, err
	}
	data, _ := content["data"].(map[string]any)
	for key, value := range data {
		if value, ok := value.(string); ok {
			data[key] = strings.ReplaceAll(value, "\n", "")
		}
	}
	return yaml.Marshal(content)
}

func relative(root, path string) string {
	short, err := filepath.Rel(root, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(short)
}
