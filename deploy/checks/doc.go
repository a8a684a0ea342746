// Package checks holds what CI checks of deploy/, with the real tools and not by eye:
//
//   - the Helm chart, by Helm's own linter and engine, over every value file in its ci directory: the manifests are
//     decoded strictly into the types of Kubernetes and of the Prometheus Operator, belong together, and pass the Pod
//     Security Standard "restricted" as Kubernetes itself judges it; segment-to-launchdarkly accepts the configuration;
//   - the rules, by promtool, with a case that fires and one that does not for each alert, and by a real Prometheus that
//     scrapes the running program while things go wrong and are mended;
//   - every expression of the rules and the dashboard, by Prometheus' parser, against the series that the running
//     program exports: no metric, label or value may be asked for that does not exist;
//   - the runbook: each alert has its section, each section its alert, and every link leads somewhere;
//   - docker-compose.yml, by Compose's own loader, and the Dockerfile, by BuildKit's own rules.
//
// It is a module of its own, so that Helm, Kubernetes and Prometheus are no dependencies of the program.
//
//	cd deploy/checks && go test -count=1 ./...
//
// It needs nothing but Go. The first run builds prometheus and promtool from the Go module proxy, which takes some
// minutes, and keeps them in the user's cache directory.
// go test -run TestValuesSchema -update writes the program's JSON schema into the chart's.
package checks
