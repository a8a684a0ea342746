package checks

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// everyRelease runs a test on the release of each value file.
func everyRelease(t *testing.T, test func(t *testing.T, o objects)) {
	t.Helper()
	for name, values := range valueFiles(t) {
		t.Run(name, func(t *testing.T) { test(t, release(t, values)) })
	}
}

func container(o objects) core.Container { return o.Deployment.Spec.Template.Spec.Containers[0] }

func TestPodsAreRestricted(t *testing.T) {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	violations := func(o objects) (found []string) {
		pod := o.Deployment.Spec.Template
		for _, r := range judge.EvaluatePod(psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
			if !r.Allowed {
				found = append(found, r.ForbiddenReason+": "+r.ForbiddenDetail)
			}
		}
		return found
	}
	everyRelease(t, func(t *testing.T, o objects) {
		for _, v := range violations(o) {
			t.Error(v)
		}
		pod := o.Deployment.Spec.Template.Spec
		if c := container(o); c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
			t.Error("the root file system is writable")
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Error("the pod holds a token of the Kubernetes API")
		}
		if o.Account != nil && (o.Account.AutomountServiceAccountToken == nil || *o.Account.AutomountServiceAccountToken) {
			t.Error("the service account gives out tokens of the Kubernetes API")
		}
		if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
			t.Error("a Service named s2ld would give the program variables that it refuses")
		}
	})
	values := valueFiles(t)["default"]
	values["securityContext"] = map[string]any{"capabilities": map[string]any{"drop": []any{}}}
	if len(violations(release(t, values))) == 0 {
		t.Error("a container that keeps its capabilities passes")
	}
}

// A replica takes so long to end, at most: to deliver what is in flight (the default), for the last commit, and to leave
// the group, close its connections and stop the admin server.
const (
	drainTimeout = 20 * time.Second
	finalCommit  = 10 * time.Second
	air          = 5 * time.Second
)

func TestTheGracePeriodCoversTheDrain(t *testing.T) {
	everyRelease(t, func(t *testing.T, o objects) {
		drain, err := time.ParseDuration(setting(t, o, "delivery", "drain_timeout", drainTimeout.String()))
		if err != nil {
			t.Fatal(err)
		}
		grace := time.Duration(*o.Deployment.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second
		if grace < drain+finalCommit+air {
			t.Errorf("grace period %v, drain %v", grace, drain)
		}
	})
}

// setting returns a text of the rendered configuration.
func setting(t *testing.T, o objects, section, key, otherwise string) string {
	t.Helper()
	var config map[string]map[string]any
	if err := yaml.Unmarshal([]byte(o.Config.Data["config.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	if s, ok := config[section][key].(string); ok {
		return s
	}
	return otherwise
}

func TestProbesAskTheAdminPort(t *testing.T) {
	everyRelease(t, func(t *testing.T, o objects) {
		c := container(o)
		if len(c.Ports) != 1 || c.Ports[0].Name != "admin" {
			t.Fatalf("ports: %v", c.Ports)
		}
		listen := setting(t, o, "admin", "listen", ":9464")
		if port := intstr.FromInt32(c.Ports[0].ContainerPort); !strings.HasSuffix(listen, ":"+port.String()) || o.Service.Spec.Ports[0].Port != port.IntVal {
			t.Errorf("listens on %s, container port %v, service port %d", listen, &port, o.Service.Spec.Ports[0].Port)
		}
		for path, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port != intstr.FromString("admin") {
				t.Errorf("%s: %v", path, probe)
			}
		}
	})
}

// A rollout adds a replica before it takes one away; a node that is drained takes one at a time, ready or not.
func TestReplicasAreReplacedOneByOne(t *testing.T) {
	everyRelease(t, func(t *testing.T, o objects) {
		s := o.Deployment.Spec.Strategy
		if s.Type != apps.RollingUpdateDeploymentStrategyType || s.RollingUpdate.MaxSurge.IntVal != 1 || s.RollingUpdate.MaxUnavailable.IntVal != 0 {
			t.Errorf("strategy: %v", s)
		}
		if p := o.Budget.Spec.UnhealthyPodEvictionPolicy; p == nil || *p != "AlwaysAllow" {
			t.Error("while LaunchDarkly refuses us, nodes cannot be drained")
		}
	})
}

func TestWhatIsSelectedIsThere(t *testing.T) {
	everyRelease(t, func(t *testing.T, o objects) {
		pod := o.Deployment.Spec.Template
		selectors := map[string]*meta.LabelSelector{"Deployment": o.Deployment.Spec.Selector, "PodDisruptionBudget": o.Budget.Spec.Selector}
		for _, c := range pod.Spec.TopologySpreadConstraints {
			selectors[c.TopologyKey] = c.LabelSelector
		}
		if len(pod.Spec.TopologySpreadConstraints) != 2 {
			t.Error("pods are not spread")
		}
		if o.Network != nil {
			selectors["NetworkPolicy"] = &o.Network.Spec.PodSelector
		}
		if o.PodMonitor != nil {
			selectors["PodMonitor"] = &o.PodMonitor.Spec.Selector
		}
		selectors["Service"] = &meta.LabelSelector{MatchLabels: o.Service.Spec.Selector}
		for name, s := range selectors {
			matches(t, name, s, pod.Labels)
		}
		if o.SvcMonitor != nil {
			matches(t, "ServiceMonitor", &o.SvcMonitor.Spec.Selector, o.Service.Labels)
		}
		if account := pod.Spec.ServiceAccountName; account != "default" && (o.Account == nil || o.Account.Name != account) {
			t.Errorf("no service account %s", account)
		}
		for kind, target := range map[string]string{"HPA": hpaTarget(o), "KEDA": kedaTarget(o)} {
			if target != "" && target != o.Deployment.Name {
				t.Errorf("%s scales %s", kind, target)
			}
		}
	})
}

func matches(t *testing.T, name string, s *meta.LabelSelector, set map[string]string) {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil || selector.Empty() || !selector.Matches(labels.Set(set)) {
		t.Errorf("%s: %v does not select %v: %v", name, selector, set, err)
	}
}

// Each file that the configuration names, and the configuration itself, lies in a volume that is mounted.
func TestFilesAreMounted(t *testing.T) {
	everyRelease(t, func(t *testing.T, o objects) {
		pod := o.Deployment.Spec.Template.Spec
		volumes := map[string]core.Volume{}
		for _, v := range pod.Volumes {
			volumes[v.Name] = v
		}
		files := map[string]core.Volume{} // by directory
		for _, m := range container(o).VolumeMounts {
			v, ok := volumes[m.Name]
			if !ok || !m.ReadOnly {
				t.Errorf("mount %v: no such volume, or writable", m)
			}
			files[m.MountPath+"/"] = v
		}
		paths := []string{container(o).Args[2]}
		var config map[string]any
		if err := yaml.Unmarshal([]byte(o.Config.Data["config.yaml"]), &config); err != nil {
			t.Fatal(err)
		}
		filesIn(config, &paths)
		for _, path := range paths {
			i := strings.LastIndexByte(path, '/') + 1
			v, ok := files[path[:i]]
			switch {
			case !ok:
				t.Errorf("%s is in no volume", path)
			case v.ConfigMap != nil && (v.ConfigMap.Name != o.Config.Name || o.Config.Data[path[i:]] == ""):
				t.Errorf("%s is not in the ConfigMap", path)
			case v.Secret != nil && o.Secret != nil && v.Secret.SecretName == o.Secret.Name && len(o.Secret.Data[path[i:]]) == 0:
				t.Errorf("%s is not in the Secret", path)
			}
		}
	})
}

// filesIn collects the values of all keys *_file.
func filesIn(section map[string]any, paths *[]string) {
	for _, key := range slices.Sorted(maps.Keys(section)) {
		switch v := section[key].(type) {
		case map[string]any:
			filesIn(v, paths)
		case string:
			if strings.HasSuffix(key, "_file") {
				*paths = append(*paths, v)
			}
		}
	}
}

func TestNamesAndLabelsAreLegal(t *testing.T) {
	everyRelease(t, func(t *testing.T, o objects) {
		all := []meta.Object{o.Deployment, o.Config, o.Service, o.Budget, &o.Deployment.Spec.Template}
		for _, optional := range []struct {
			there bool
			o     meta.Object
		}{
			{o.Dashboard != nil, o.Dashboard}, {o.Secret != nil, o.Secret}, {o.Account != nil, o.Account}, {o.Network != nil, o.Network}, {o.HPA != nil, o.HPA},
			{o.KEDA != nil, o.KEDA}, {o.PodMonitor != nil, o.PodMonitor}, {o.SvcMonitor != nil, o.SvcMonitor}, {o.Rules != nil, o.Rules},
		} {
			if optional.there {
				all = append(all, optional.o)
			}
		}
		for _, m := range all {
			if m != meta.Object(&o.Deployment.Spec.Template) && (m.GetNamespace() != "data" || len(validation.IsDNS1035Label(m.GetName())) > 0) {
				t.Errorf("%T %s in namespace %s", m, m.GetName(), m.GetNamespace())
			}
			for key, value := range m.GetLabels() {
				if wrong := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(wrong) > 0 {
					t.Errorf("%T: label %s: %s: %v", m, key, value, wrong)
				}
			}
		}
	})
}

// A change of the configuration restarts the replicas; a rotated secret does not, because the program reads it again.
func TestTheConfigurationRestartsAndASecretDoesNot(t *testing.T) {
	checksum := func(change func(values map[string]any)) string {
		values := valueFiles(t)["production"]
		change(values)
		return release(t, values).Deployment.Spec.Template.Annotations["checksum/config"]
	}
	was := checksum(func(map[string]any) {})
	if was == "" || was == checksum(func(v map[string]any) { v["config"].(map[string]any)["log"] = map[string]any{"level": "debug"} }) {
		t.Error("a change of the configuration restarts nothing")
	}
	if was != checksum(func(v map[string]any) {
		v["secret"].(map[string]any)["files"].(map[string]any)["kafka-password"] = "new"
	}) {
		t.Error("a change of a secret restarts the replicas")
	}
}
