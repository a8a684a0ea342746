#!/usr/bin/env bash
# Prints the licenses and notices of Go and of each module that the program links on any system of a release.
set -euo pipefail
cd "$(dirname "$0")/.."

for system in linux darwin; do
	for arch in amd64 arm64; do
		GOOS=$system GOARCH=$arch CGO_ENABLED=0 go list -deps -f \
			'{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}} {{$.Dir}}{{end}}{{end}}' ./cmd/segment-to-launchdarkly
	done
done | LC_ALL=C sort -u | {
	echo "Go $(go env GOVERSION) $(go env GOROOT) $(go env GOROOT)"
	cat
} | while read -r module version root dir; do
	# A package has the licenses of its own directory and of all directories above it in the module.
	while
		find "$dir" -maxdepth 1 -type f \
			\( -iname 'LICENSE*' -o -iname 'LICENCE*' -o -iname 'COPYING*' -o -iname 'NOTICE*' -o -iname 'PATENTS*' \) |
			LC_ALL=C sort
		[ "$dir" != "$root" ]
	do dir=${dir%/*}; done | sed "s|^|$module $version $root |"
done | awk '!seen[$0]++' | while read -r module version root file; do
	printf '%s\n\n%s %s, %s\n\n' "$(printf '=%.0s' {1..80})" "$module" "$version" "${file#"$root"/}"
	cat "$file"
	echo
done
