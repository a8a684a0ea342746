// Package checks tests the parts of deploy/ that standard tools cannot test, against the running
// program:
//
//   - Alerts: a real Prometheus scrapes the program during a series of incidents. Each incident
//     fires the expected alerts, and they clear after it ends.
//   - Expressions: the rules and the dashboard use only metrics, labels, and label values that the
//     program exports. Each panel of the dashboard is complete.
//   - Configuration: the program accepts the configuration in the rendered chart and in
//     docker-compose.yml. The chart's schema contains the program's schema.
//   - CronJob: the program writes the manifest that the CronJob applies. The manifest contains
//     exactly the objects that the CronJob's role can change.
//   - Runbook: each alert has a section, and each section has an alert. Each link has a target.
//   - Commands: each code block in README.md and in the runbook works as written, on an embedded
//     broker and with fakes of kubectl and Kafka's tools, or is in a list of what CI runs elsewhere.
//   - Quotes: the documents name only keys, metrics, commands, and files that exist. Each number in
//     a document is in claims.md, which says where the number comes from.
//   - Release: archives and image are built with one version of Go, and base images are pinned. The
//     notices contain the license of each linked module. A release needs one version in its tag, the
//     chart, and the changelog, and the name of a tag never runs as a command.
//
// helm lint, helm-unittest, and kubeconform check the chart, promtool checks the rules, and
// hadolint checks the Dockerfile; see test-deploy in the Makefile. The tests load
// docker-compose.yml with Compose's loader, because building docker compose takes many minutes.
//
// The package is a separate module, so that the program does not depend on Helm, Kubernetes, and
// Prometheus. The first run builds Prometheus from the Go module proxy, which takes a few minutes,
// and keeps the binary in the user's cache directory.
//
// go test -run TestValuesSchema -update writes the program's JSON schema into the chart's schema.
package checks
