#!/bin/sh
# Checks the chart: by its tests, and, as packaged, with each value file of ci/.
set -eu
cd "$(dirname "$0")"
chart=../helm/segment-to-launchdarkly
kubernetes=1.37.2 # that of schemas/

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir" tool # those in go.mod
PATH=$dir:$PATH

helm-unittest --strict $chart

helm package --destination "$dir" $chart 2>/dev/null
tar -xzmf "$dir"/*.tgz -C "$dir"
packaged=$dir/segment-to-launchdarkly
cmp "$packaged/files/rules.yaml" ../prometheus/rules.yaml
cmp "$packaged/files/dashboard.json" ../grafana/dashboard.json
if [ -e "$packaged/ci" ] || [ -e "$packaged/tests" ]; then
	echo "the package holds ci/ or tests/" >&2
	exit 1
fi

helm lint --strict --quiet --namespace data "$packaged"
for values in "$chart"/ci/*-values.yaml; do
	echo "$values"
	helm lint --strict --quiet --namespace data --kube-version $kubernetes --values "$values" "$packaged"
	helm template events "$packaged" --namespace data --kube-version $kubernetes --values "$values" >"$dir/manifests.yaml"
	kubeconform -strict -summary -schema-location 'schemas/{{.ResourceKind}}.json' "$dir/manifests.yaml"
done
