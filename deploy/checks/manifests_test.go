package checks

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	hpa "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	pdb "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// objects are a release's manifests. What is not rendered is nil.
type objects struct {
	Deployment *apps.Deployment
	Config     *core.ConfigMap
	Dashboard  *core.ConfigMap
	Secret     *core.Secret
	Account    *core.ServiceAccount
	Service    *core.Service
	Budget     *pdb.PodDisruptionBudget
	Network    *networking.NetworkPolicy
	HPA        *hpa.HorizontalPodAutoscaler
	KEDA       *scaledObject
	PodMonitor *monitoring.PodMonitor
	SvcMonitor *monitoring.ServiceMonitor
	Rules      *monitoring.PrometheusRule
}

// scaledObject is what the chart uses of KEDA's type of that name, keda.sh/v1alpha1.
type scaledObject struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		ScaleTargetRef struct {
			Name string `json:"name"`
		} `json:"scaleTargetRef"`
		MinReplicaCount *int32 `json:"minReplicaCount"`
		MaxReplicaCount *int32 `json:"maxReplicaCount"`
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior *hpa.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type              string            `json:"type"`
			Metadata          map[string]string `json:"metadata"`
			AuthenticationRef *struct {
				Name string `json:"name"`
			} `json:"authenticationRef"`
		} `json:"triggers"`
	} `json:"spec"`
}

// decode decodes rendered manifests strictly: a field that the kind does not have, or that is there twice, is an error.
func decode(manifests map[string]string) (o objects, err error) {
	for template, content := range manifests {
		if template == "NOTES.txt" {
			continue
		}
		var head struct {
			meta.TypeMeta `json:",inline"`
		}
		if err := yaml.Unmarshal([]byte(content), &head); err != nil {
			return o, fmt.Errorf("%s: %w", template, err)
		}
		into, ok := map[string]any{
			"apps/v1 Deployment": &o.Deployment, "v1 ConfigMap": &o.Config, "v1 Secret": &o.Secret, "v1 Service": &o.Service,
			"v1 ServiceAccount": &o.Account, "policy/v1 PodDisruptionBudget": &o.Budget,
			"networking.k8s.io/v1 NetworkPolicy": &o.Network, "autoscaling/v2 HorizontalPodAutoscaler": &o.HPA,
			"keda.sh/v1alpha1 ScaledObject": &o.KEDA, "monitoring.coreos.com/v1 PodMonitor": &o.PodMonitor,
			"monitoring.coreos.com/v1 ServiceMonitor": &o.SvcMonitor, "monitoring.coreos.com/v1 PrometheusRule": &o.Rules,
		}[head.APIVersion+" "+head.Kind]
		if !ok {
			return o, fmt.Errorf("%s: unknown kind %s %s", template, head.APIVersion, head.Kind)
		}
		if template == "dashboard.yaml" {
			into = &o.Dashboard
		}
		if !reflect.ValueOf(into).Elem().IsNil() {
			return o, fmt.Errorf("%s: a second %s", template, head.Kind)
		}
		content, err := yaml.YAMLToJSONStrict([]byte(content))
		if err != nil {
			return o, fmt.Errorf("%s: %w", template, err)
		}
		strict, err := json.UnmarshalStrict(content, into) // as the API server does: names are case-sensitive
		if err := errors.Join(append(strict, err)...); err != nil {
			return o, fmt.Errorf("%s: %w", template, err)
		}
	}
	return o, nil
}

// release renders and decodes the chart.
func release(t *testing.T, values map[string]any) objects {
	t.Helper()
	manifests, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	o, err := decode(manifests)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDecodingIsStrict(t *testing.T) {
	manifests, err := render(t, valueFiles(t)["default"])
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]string{
		"an unknown field": "apiVersion: v1\nkind: Service\nspec: {port: 80}",
		"a capital letter": "apiVersion: v1\nkind: Service\nspec: {clusterip: None}",
		"a field twice":    "apiVersion: v1\nkind: Service\nspec: {}\nspec: {}",
		"a wrong type":     "apiVersion: v1\nkind: Service\nspec: {ports: [{port: http}]}",
		"an unknown kind":  "apiVersion: v2\nkind: Service",
	} {
		manifests["service.yaml"] = broken
		if _, err := decode(manifests); err == nil {
			t.Error(name, "was not noticed")
		}
	}
}
