// Command authz writes the HTTP filters that Istio makes of AuthorizationPolicies, by Istio's own code.
//
// Standard input has one workload a line, an object as Workload describes it; standard output gets one line for each,
// an object as Translation describes it. What is not such an object ends the program with an error.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	authz "istio.io/api/security/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/security/authz/builder"
	"istio.io/istio/pilot/pkg/security/trustdomain"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/gvk"
	"istio.io/istio/pkg/config/validation"
	istiolog "istio.io/istio/pkg/log"
	"istio.io/istio/pkg/util/protomarshal"
)

// Workload is what its policies come to depend on.
type Workload struct {
	// The mesh's trust domain, then its aliases.
	TrustDomains []string `json:"trustDomains"`
	// All of the policies that hold for the workload.
	Policies []Resource `json:"policies"`
}

// Resource is an AuthorizationPolicy as it is applied to a cluster.
type Resource struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec"`
}

// Translation is what becomes of a workload's policies.
type Translation struct {
	// In the order in which they stand in the workload's chain.
	Filters []json.RawMessage `json:"filters"`
	// Why Istio's webhook refuses the policies, by their names. Those are not in the filters.
	Refused map[string]string `json:"refused,omitempty"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("authz: ")
	quiet := istiolog.DefaultOptions()
	quiet.SetDefaultOutputLevel(istiolog.OverrideScopeName, istiolog.NoneLevel)
	if err := istiolog.Configure(quiet); err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	if err := run(os.Stdin, out); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func run(in io.Reader, out io.Writer) error {
	decoder, encoder := json.NewDecoder(in), json.NewEncoder(out)
	decoder.DisallowUnknownFields()
	for number := 1; ; number++ {
		var workload Workload
		if err := decoder.Decode(&workload); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("workload %d: %w", number, err)
		}
		translation, err := workload.translate()
		if err != nil {
			return fmt.Errorf("workload %d: %w", number, err)
		}
		if err := encoder.Encode(translation); err != nil {
			return err
		}
	}
}

func (w Workload) translate() (*Translation, error) {
	if len(w.TrustDomains) == 0 {
		return nil, errors.New("trustDomains is empty")
	}
	translation := &Translation{Filters: []json.RawMessage{}}
	var policies model.AuthorizationPoliciesResult
	for _, resource := range w.Policies {
		policy, err := resource.policy()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resource.Name, err)
		}
		if err := resource.validate(policy); err != nil {
			if translation.Refused == nil {
				translation.Refused = map[string]string{}
			}
			translation.Refused[resource.Name] = err.Error()
			continue
		}
		switch action := policy.Spec.GetAction(); action {
		case authz.AuthorizationPolicy_ALLOW:
			policies.Allow = append(policies.Allow, policy)
		case authz.AuthorizationPolicy_DENY:
			policies.Deny = append(policies.Deny, policy)
		case authz.AuthorizationPolicy_AUDIT:
			policies.Audit = append(policies.Audit, policy)
		default:
			return nil, fmt.Errorf("%s: action %s needs a whole mesh", resource.Name, action)
		}
	}
	bundle := trustdomain.NewBundle(w.TrustDomains[0], w.TrustDomains[1:])
	chain := builder.New(bundle, nil, policies, builder.Option{})
	if chain == nil {
		return translation, nil
	}
	for _, filter := range chain.BuildHTTP() {
		encoded, err := encode(filter)
		if err != nil {
			return nil, err
		}
		translation.Filters = append(translation.Filters, encoded)
	}
	return translation, nil
}

func (r Resource) policy() (model.AuthorizationPolicy, error) {
	spec := &authz.AuthorizationPolicy{}
	if r.Kind != gvk.AuthorizationPolicy.Kind || r.Name == "" || r.Namespace == "" {
		return model.AuthorizationPolicy{}, fmt.Errorf("not an AuthorizationPolicy with a name and a namespace: %s", r.Kind)
	}
	if err := protomarshal.ApplyJSONStrict(string(r.Spec), spec); err != nil {
		return model.AuthorizationPolicy{}, err
	}
	return model.AuthorizationPolicy{Name: r.Name, Namespace: r.Namespace, Annotations: r.Annotations, Spec: spec}, nil
}

// As the webhook does before a policy gets to where the filters are made.
func (r Resource) validate(policy model.AuthorizationPolicy) error {
	meta := config.Meta{
		GroupVersionKind: gvk.AuthorizationPolicy,
		Name:             policy.Name,
		Namespace:        policy.Namespace,
		Annotations:      policy.Annotations,
	}
	_, err := validation.ValidateAuthorizationPolicy(config.Config{Meta: meta, Spec: policy.Spec})
	return err
}

func encode(filter *hcm.HttpFilter) (json.RawMessage, error) {
	encoded, err := protomarshal.MarshalProtoNames(filter)
	return encoded, err
}
