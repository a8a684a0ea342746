#!/bin/sh
# Writes the kubeconform schemas of the kinds that the manifests contain, at the versions below.
set -eu
cd "$(dirname "$0")"
kubernetes=k8s.io/kubernetes@v1.37.2
keda=github.com/kedacore/keda/v2@v2.21.0
operator=github.com/prometheus-operator/prometheus-operator@v0.85.0

directory() { go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'; }
convert() { go run github.com/itchyny/gojq/cmd/gojq@v0.12.19 -c -f schema.jq "$@"; }
lower() { echo "$1" | tr '[:upper:]' '[:lower:]'; }

openapi=$(directory $kubernetes)/api/openapi-spec/v3
while read -r document kind; do
	convert --arg kind "$kind" "$openapi/${document}_openapi.json" >"$(lower "$kind").json"
done <<-end
	api__v1 ConfigMap
	api__v1 Pod
	api__v1 Secret
	api__v1 Service
	api__v1 ServiceAccount
	apis__apps__v1 Deployment
	apis__autoscaling__v2 HorizontalPodAutoscaler
	apis__batch__v1 CronJob
	apis__batch__v1 Job
	apis__networking.k8s.io__v1 NetworkPolicy
	apis__policy__v1 PodDisruptionBudget
	apis__rbac.authorization.k8s.io__v1 Role
	apis__rbac.authorization.k8s.io__v1 RoleBinding
end
convert --arg kind "" --yaml-input "$(directory $keda)/config/crd/bases/keda.sh_scaledobjects.yaml" >scaledobject.json
for kind in PodMonitor ServiceMonitor PrometheusRule; do
	plural=$(lower "$kind")s
	convert --arg kind "" --yaml-input \
		"$(directory $operator)/example/prometheus-operator-crd/monitoring.coreos.com_$plural.yaml" >"$(lower "$kind").json"
done
