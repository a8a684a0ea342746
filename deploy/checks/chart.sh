#!/bin/sh
# Runs the chart's unit tests, and checks the packaged chart with each value file in ci/ and examples/, and the CronJob.
set -eu
cd "$(dirname "$0")"
chart=../helm/segment-to-launchdarkly
kubernetes=1.37.2 # the version of schemas/

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir" tool # the tools in go.mod
PATH=$dir:$PATH

helm-unittest --strict $chart

links=$(find $chart -type l)
if [ -n "$links" ]; then
	echo "helm warns about symbolic links in the chart: $links" >&2
	exit 1
fi
helm package --destination "$dir" $chart
tar -xzmf "$dir"/*.tgz -C "$dir"
packaged=$dir/segment-to-launchdarkly
if [ -e "$packaged/ci" ] || [ -e "$packaged/tests" ]; then
	echo "the package contains ci/ or tests/" >&2
	exit 1
fi

helm lint --strict --quiet --namespace data "$packaged"
for values in "$chart"/ci/*-values.yaml "$chart"/examples/*.yaml; do
	echo "$values"
	helm lint --strict --quiet --namespace data --kube-version $kubernetes --values "$values" "$packaged"
	helm template events "$packaged" --namespace data --kube-version $kubernetes --values "$values" >"$dir/manifests.yaml"
	kubeconform -strict -summary -schema-location 'schemas/{{.ResourceKind}}.json' "$dir/manifests.yaml"
done

kubeconform -strict -summary -schema-location 'schemas/{{.ResourceKind}}.json' ../metrics-cronjob.yaml
