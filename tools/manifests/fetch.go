package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kubectl-validate/pkg/utils"
	"sigs.k8s.io/yaml"

	"tollgate.invalid/manifests/versions"
)

// operator is the directory of the Prometheus operator's definitions; Istio's have their minor version's name.
const operator = "operator"

// crds is where a module has its definitions.
var crds = map[string]string{
	"istio.io/api": "kubernetes/customresourcedefinitions.gen.yaml",
	"github.com/prometheus-operator/prometheus-operator": "example/prometheus-operator-crd/*.yaml",
}

// fetch downloads each module of definitions.txt, compares its checksum, and writes the definitions that it has, without
// the versions that an API server would not serve.
func fetch(source, out string) error {
	text, err := os.ReadFile(filepath.Join(source, "definitions.txt"))
	if err != nil {
		return err
	}
	wanted := map[string]string{} // By MODULE@VERSION.
	arguments := []string{"mod", "download", "-json"}
	for _, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return fmt.Errorf("definitions.txt: %q is not module, version and checksum", line)
		}
		module := fields[0] + "@" + fields[1]
		wanted[module] = fields[2]
		arguments = append(arguments, module)
	}
	command := exec.Command("go", arguments...)
	command.Dir = source
	command.Env = append(os.Environ(), "GOWORK=off")
	command.Stderr = os.Stderr
	output, runErr := command.Output()
	for decoder := json.NewDecoder(bytes.NewReader(output)); decoder.More(); {
		var module struct{ Path, Version, Dir, Sum, Error string }
		if err := decoder.Decode(&module); err != nil {
			return fmt.Errorf("what go mod download says: %w", err)
		}
		name := module.Path + "@" + module.Version
		switch {
		case module.Error != "":
			return fmt.Errorf("%s can't be downloaded: %s", name, module.Error)
		case module.Sum != wanted[name]:
			return fmt.Errorf("%s has the checksum %s, not the %s of definitions.txt", name, module.Sum, wanted[name])
		}
		delete(wanted, name)
		if err := extract(module.Path, module.Version, module.Dir, out); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if runErr != nil {
		return fmt.Errorf("go mod download: %w", runErr)
	}
	if len(wanted) != 0 {
		return fmt.Errorf("go mod download has not brought all: %v", wanted)
	}
	return nil
}

func extract(module, version, from, out string) error {
	name := operator
	if module == "istio.io/api" {
		minor, err := versions.Minor(version)
		if err != nil {
			return err
		}
		name = minor
	}
	files, err := filepath.Glob(filepath.Join(from, crds[module]))
	if err != nil {
		return err
	}
	if crds[module] == "" || len(files) == 0 {
		return errors.New("no definitions are known in this module")
	}
	var all bytes.Buffer
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		documents, err := utils.SplitYamlDocuments(text)
		if err != nil {
			return err
		}
		for _, document := range documents {
			if utils.IsEmptyYamlDocument(document) {
				continue
			}
			served, err := onlyServed(document)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			all.WriteString("---\n")
			all.Write(served)
		}
	}
	directory := filepath.Join(out, name)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "definitions.yaml"), all.Bytes(), 0o644)
}

// onlyServed is the definition without the versions that are in it but switched off: kubectl-validate would take them.
func onlyServed(document []byte) ([]byte, error) {
	var definition map[string]any
	if err := yaml.Unmarshal(document, &definition); err != nil {
		return nil, err
	}
	spec, ok := definition["spec"].(map[string]any)
	if !ok {
		return nil, errors.New("a definition without spec")
	}
	all, ok := spec["versions"].([]any)
	if !ok {
		return nil, errors.New("a definition without versions")
	}
	var served []any
	for _, version := range all {
		if version, ok := version.(map[string]any); ok && version["served"] == true {
			served = append(served, version)
		}
	}
	spec["versions"] = served
	return yaml.Marshal(definition)
}
