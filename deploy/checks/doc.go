// Package checks checks what no standard tool can check of deploy/, against the running program:
//
//   - The alerts: a real Prometheus scrapes the program while things go wrong and are fixed, and
//     each alert fires and clears.
//   - The expressions of the rules and the dashboard, against the series that the program exports:
//     no metric, label, or value is used that does not exist. The dashboard's panels are complete.
//   - The configuration: the program accepts what the chart renders, what docker-compose.yml sets,
//     and what the runbook shows, and its schema is part of the chart's.
//   - The runbook: each alert has a section, each section an alert, each link a target, and each
//     command all its flags.
//
// The chart is checked by helm lint, helm-unittest, and kubeconform, the rules by promtool, and the
// Dockerfile by hadolint: see test-deploy in the Makefile. docker-compose.yml is loaded by
// Compose's own loader here, because building docker compose takes many minutes.
//
// The package is a module of its own, so that the program does not depend on Helm, Kubernetes, and
// Prometheus. The first run builds Prometheus from the Go module proxy, which takes some minutes,
// and keeps it in the user's cache directory.
//
// go test -run TestValuesSchema -update writes the program's JSON schema into the chart's.
package checks
