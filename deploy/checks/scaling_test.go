package checks

import (
	"slices"
	"strings"
	"testing"

	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

func hpaTarget(o objects) string {
	if o.HPA == nil {
		return ""
	}
	return o.HPA.Spec.ScaleTargetRef.Name
}

func kedaTarget(o objects) string {
	if o.KEDA == nil {
		return ""
	}
	return o.KEDA.Spec.ScaleTargetRef.Name
}

func TestThereAreNeverMoreReplicasThanPartitions(t *testing.T) {
	for _, tt := range []struct{ partitions, maxReplicas, want int32 }{
		{6, 0, 6}, {6, 4, 4}, {6, 6, 6}, {6, 100, 6}, {1, 0, 1},
	} {
		for _, kind := range []string{"keda", "hpa"} {
			values := valueFiles(t)["default"]
			values["autoscaling"] = map[string]any{"enabled": true, "kind": kind, "partitions": tt.partitions, "maxReplicas": tt.maxReplicas}
			o := release(t, values)
			var got int32
			if kind == "keda" {
				got = *o.KEDA.Spec.MaxReplicaCount
			} else {
				got = o.HPA.Spec.MaxReplicas
			}
			if got != tt.want {
				t.Errorf("%s: %d partitions, at most %d asked for: %d", kind, tt.partitions, tt.maxReplicas, got)
			}
			if o.Deployment.Spec.Replicas != nil {
				t.Errorf("%s: the Deployment sets the number of replicas too", kind)
			}
		}
	}
}

func TestScalingIsOffByDefault(t *testing.T) {
	o := release(t, valueFiles(t)["default"])
	if o.KEDA != nil || o.HPA != nil || o.Deployment.Spec.Replicas == nil || *o.Deployment.Spec.Replicas != 2 {
		t.Errorf("%v, %v, %v", o.KEDA, o.HPA, o.Deployment.Spec.Replicas)
	}
}

func TestKEDAWatchesTheLagOfEachTopic(t *testing.T) {
	o := release(t, valueFiles(t)["keda"])
	var topics []string
	for _, trigger := range o.KEDA.Spec.Triggers {
		topics = append(topics, trigger.Metadata["topic"])
		for key, want := range map[string]string{
			"bootstrapServers": "kafka-0:9092,kafka-1:9092", "consumerGroup": "segment-to-launchdarkly", "lagThreshold": "100000",
			"offsetResetPolicy": "latest", "allowIdleConsumers": "false", "limitToPartitionsWithLag": "true",
			"excludePersistentLag": "true", "version": "2.5.0", "sasl": "scram_sha512", "tls": "enable",
		} {
			if got := trigger.Metadata[key]; got != want {
				t.Errorf("%s: %q, want %q", key, got, want)
			}
		}
		if trigger.Type != "kafka" || trigger.AuthenticationRef == nil || trigger.AuthenticationRef.Name != "kafka" {
			t.Errorf("trigger: %+v", trigger)
		}
	}
	if !slices.Equal(topics, []string{"segment", "segment.eu"}) {
		t.Errorf("topics: %v", topics)
	}
	if got := release(t, valueFiles(t)["everything"]).KEDA.Spec.Triggers[0].Metadata["offsetResetPolicy"]; got != "earliest" {
		t.Errorf("start_at is a time: %s", got)
	}
}

func TestTheNetworkPolicyLetsThroughWhatIsNeeded(t *testing.T) {
	ports := func(rules []networking.NetworkPolicyPort) (out []string) {
		for _, p := range rules {
			out = append(out, p.Port.String()+" "+string(*p.Protocol))
		}
		return out
	}
	for name, want := range map[string][]string{"production": {"9093 TCP", "443 TCP"}, "everything": {"9093 TCP", "3128 TCP"}} {
		o := release(t, valueFiles(t)[name])
		spec := o.Network.Spec
		if got := ports(spec.Ingress[0].Ports); !slices.Equal(got, []string{"admin TCP"}) {
			t.Errorf("%s: in: %v", name, got)
		}
		if got := append(ports(spec.Egress[0].Ports), ports(spec.Egress[1].Ports)...); !slices.Equal(got, append([]string{"53 UDP", "53 TCP"}, want...)) {
			t.Errorf("%s: out: %v", name, got)
		}
		if all := name == "everything"; (len(spec.Ingress[0].From) == 1) != all || (len(spec.Egress) == 3) != all {
			t.Errorf("%s: %+v", name, spec)
		}
	}
}

// The program's own bound, 64 MiB beside the bodies, and as much again as air.
func TestTheMemoryLimitCoversTheBuffer(t *testing.T) {
	everyRelease(t, func(t *testing.T, o objects) {
		buffer, err := resource.ParseQuantity(strings.TrimSuffix(setting(t, o, "delivery", "max_buffered", "64MiB"), "B"))
		if err != nil {
			t.Fatal(err)
		}
		limits := container(o).Resources.Limits
		if limit := limits.Memory(); limit.Value() < buffer.Value()+2*64<<20 {
			t.Errorf("memory limit %v, max_buffered %v", limit, &buffer)
		}
	})
}

func TestTheChartBringsTheRulesAndTheDashboard(t *testing.T) {
	o := release(t, valueFiles(t)["production"])
	var file struct{ Groups any }
	if err := yaml.Unmarshal(readFile(t, rulesFile), &file); err != nil {
		t.Fatal(err)
	}
	want, err := yaml.Marshal(file.Groups)
	if err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(o.Rules.Spec.Groups)
	if err != nil || string(got) != string(want) {
		t.Errorf("the rules are not those of %s: %v\n%s", rulesFile, err, got)
	}
	if strings.TrimSpace(o.Dashboard.Data["segment-to-launchdarkly.json"]) != strings.TrimSpace(string(readFile(t, dashboardFile))) {
		t.Errorf("the dashboard is not %s", dashboardFile)
	}
	if o.Rules.Labels["release"] != "prometheus" || o.PodMonitor.Labels["release"] != "prometheus" || o.Dashboard.Labels["grafana_dashboard"] != "1" {
		t.Error("nobody selects them")
	}
}
