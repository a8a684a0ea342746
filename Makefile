# Tasks of this project. Run make to list them.
.DEFAULT_GOAL := help

GO ?= go
export TARGETS ?= linux/amd64,linux/arm64,darwin/amd64,darwin/arm64
GOVULNDB ?= https://vuln.go.dev

# These tools are run from the Go module proxy, so that go.mod does not depend on them.
golangci-lint := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
actionlint := $(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
govulncheck := $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Prometheus has the version of the parser in deploy/checks; service discovery, most of the code, is left out.
promtool = $(GO) run -tags remove_all_sd github.com/prometheus/prometheus/cmd/promtool@$(shell \
	$(GO) -C deploy/checks list -m -f '{{.Version}}' github.com/prometheus/prometheus)

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: build
build: ## build the program in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/segment-to-launchdarkly

.PHONY: demo
demo: ## run the program between an embedded Kafka and a fake LaunchDarkly; ARGS="-events 50000 -faults"
	$(GO) run ./cmd/demo $(ARGS)

.PHONY: test
test: ## run all tests that need only Go
	@echo "Skipping the tests on Apache Kafka, in a browser, and with LaunchDarkly's REST client."
	@echo "To run them: make kafka test-kafka test-browser test-client"
	$(GO) test ./...
	$(GO) -C compare test ./...

.PHONY: update
update: ## rewrite goldens, the example configuration, and the schemas; review the diff
	$(GO) test ./transform ./cmd/internal/config -update
	$(GO) test ./cmd/segment-to-launchdarkly -run TestCheckMetricsFindsEachMistake -update
	$(GO) -C deploy/checks test -count=1 -run TestValuesSchema -update .

.PHONY: test-race
test-race: ## run the same tests in random order with the race detector
	EXPLORE_SEEDS=10 SHUTDOWN_RUNS=20 $(GO) test -race -shuffle=on ./...
	$(GO) -C compare test -race -shuffle=on ./...

# Each seed runs in its own process, so that a seed that hangs or panics does not stop the others.
# With RETRIES, a seed fails only if all of its retries fail too, because a seed does not determine
# the scheduling of goroutines.
.PHONY: explore
explore: ## run random schedules in virtual time; SEEDS=150 FROM=1 PROTOCOL=classic or consumer (default: both) RETRIES=0 VERBOSE=1
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; $(GO) test -c -o "$$dir/explore" ./consumer && \
	for protocol in $(or $(PROTOCOL),classic consumer); do \
		seq $(or $(FROM),1) $$(($(or $(FROM),1) + $(or $(SEEDS),150) - 1)) | sed "s/^/$$protocol /"; done | \
	EXPLORE_VERBOSE=$(VERBOSE) xargs -P $(or $(JOBS),$$(nproc)) -n 2 sh -c 'cd consumer && log="$$0.$$1.$$2" && \
		for run in $$(seq 0 $(or $(RETRIES),0)); do \
			EXPLORE_PROTOCOL=$$1 EXPLORE_FROM=$$2 EXPLORE_SEEDS=1 "$$0" -test.run TestRandomSchedules -test.timeout 2m >"$$log" 2>&1 && \
				rm -f "$$log" && exit 0; \
			cat "$$log"; done; exit 1' "$$dir/explore"

.PHONY: test-browser
test-browser: ## test the status page in a headless Chromium; SCREENSHOTS=/directory keeps screenshots
	CHROMIUM_TEST=1 $(GO) test -race -count=1 -run 'InABrowser$$' ./cmd/internal/app

.PHONY: test-strace
test-strace: ## test which files, topics, and addresses the program uses; needs strace
	CGO_ENABLED=0 $(GO) test -count=1 -tags strace -run '^TestRunWritesNoFile' ./cmd/segment-to-launchdarkly

.PHONY: test-client
test-client: bin/launchdarkly-api/.installed ## test the fake REST API with LaunchDarkly's own client
	LAUNCHDARKLY_API_CLIENT=$(CURDIR)/bin/launchdarkly-api \
		$(GO) test -count=1 -run 'LaunchDarklysOwnRESTClient$$' ./sink/ldtest

# LaunchDarkly generates this client from the documentation of its REST API.
bin/launchdarkly-api/.installed: sink/ldtest/testdata/requirements.txt
	python3 -m pip install --quiet --disable-pip-version-check --upgrade --target bin/launchdarkly-api \
		--no-warn-conflicts --require-hashes --only-binary :all: -r $<
	@touch $@

# -count=1 is needed because Go's test cache ignores files outside the module, such as those tested.
.PHONY: test-deploy
test-deploy: lint-chart lint-rules lint-dockerfile ## test the chart, alerts, dashboard, compose file, Dockerfile, and documents
	$(GO) -C deploy/checks test -count=1 ./...

.PHONY: lint-chart
lint-chart: ## the chart: helm-unittest, helm lint and kubeconform
	deploy/checks/chart.sh

rules := deploy/helm/segment-to-launchdarkly/files/rules.yaml

.PHONY: lint-rules
lint-rules: ## the rules and their tests: promtool
	$(promtool) check rules --lint=all --lint-fatal $(rules)
	$(promtool) test rules deploy/prometheus/tests.yaml
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	cp deploy/prometheus.yml $(rules) "$$dir"; $(promtool) check config "$$dir/prometheus.yml"

.PHONY: lint-dockerfile
lint-dockerfile: bin/hadolint/bin/hadolint ## the Dockerfile: hadolint
	bin/hadolint/bin/hadolint deploy/Dockerfile

# hadolint is written in Haskell; PyPI has its binary.
bin/hadolint/bin/hadolint: deploy/checks/requirements.txt
	python3 -m pip install --quiet --disable-pip-version-check --upgrade --target bin/hadolint --require-hashes -r $<
	@touch $@

.PHONY: schemas
schemas: ## deploy/checks/schemas, from the Go modules that the script names
	deploy/checks/schemas/generate.sh

.PHONY: kafka
kafka: ## fetch Apache Kafka from Maven Central into a cache outside the source tree
	@./consumer/kafkatest/fetch.sh

# The oldest version of Kafka that the program supports. The newest is in consumer/kafkatest/pom.xml.
oldest_kafka := 3.3.1

# The tests that depend on the version: permissions, transactions, recreated topics, and processes
# that are killed, frozen, and stopped.
.PHONY: oldest-kafka
oldest-kafka: export KAFKA_TEST = 1
oldest-kafka: export KAFKA_VERSION = $(oldest_kafka)
oldest-kafka: ## fetch the oldest Apache Kafka that the program supports, and run some of the tests on it
	@./consumer/kafkatest/fetch.sh
	$(GO) test -count=1 -run '^TestOnApacheKafka$$' ./cmd/internal/app
	$(GO) test -count=1 -run '^TestInvariantsHoldOnApacheKafka$$/^chaos-classic$$' ./cmd/soak/internal/chaos

# -p 1 runs one package at a time, because each package starts its own clusters.
.PHONY: test-kafka
test-kafka: ## test the packages that have tests on Apache Kafka
	KAFKA_TEST=1 $(GO) test -race -shuffle=on -count=1 -p 1 -timeout 30m \
		$$(grep -rlE 'KAFKA_TEST|NewApache\(' --include='*_test.go' . | xargs -n 1 dirname | sort -u)

.PHONY: model
model: ## search every schedule of the commit protocol within small bounds, and print the number of states
	@out=$$(mktemp) && MODEL_STATES=$$out $(GO) test -count=1 -timeout 10m -v -run '^TestModel' ./consumer && cat "$$out" && rm "$$out"

.PHONY: soak
soak: ## run the program on Apache Kafka under random faults; DURATION=10m SEED=1 RATE=500 LATE=0.01 DIR=
	$(GO) run ./cmd/soak -duration $(or $(DURATION),10m) $(if $(SEED),-seed $(SEED)) $(if $(RATE),-rate $(RATE)) $(if $(LATE),-late $(LATE)) $(if $(DIR),-dir $(DIR))

# If a target fails, its package's testdata/fuzz has a new file with the input.
.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME=1m, and print inputs that fail
	@grep -roE --include='*_test.go' 'func Fuzz[A-Za-z]+' . | sed 's|/[^/]*:func | |' | while read -r package target; do \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),1m) "$$package" || \
		{ git ls-files -z --others "$$package/testdata/fuzz" | xargs -0r tail -n +1; exit 1; }; done

.PHONY: bench
bench: ## compare the cost per record with that of only fetching it; ARGS="-rounds 3"
	$(GO) run ./cmd/bench $(ARGS)

.PHONY: lint
lint: ## run all linters
	$(golangci-lint) run
	cd compare && $(golangci-lint) run
	$(actionlint)

.PHONY: lint-workflows
lint-workflows: bin/zizmor/bin/zizmor ## the security of the workflows: zizmor
	bin/zizmor/bin/zizmor --offline --no-progress --persona auditor .github

# zizmor is written in Rust; PyPI has its binary.
bin/zizmor/bin/zizmor: .ci/requirements.txt
	python3 -m pip install --quiet --disable-pip-version-check --upgrade --target bin/zizmor --require-hashes -r $<
	@touch $@

.PHONY: vuln
vuln: ## look for known vulnerabilities in code that the program calls; GOVULNDB sets the database
	$(govulncheck) -db $(GOVULNDB) ./...

# The tools are built without local paths, because an SBOM contains the hash of the tool that wrote it.
.PHONY: release-tools
release-tools:
	CGO_ENABLED=0 GOFLAGS=-trimpath GOBIN=$(CURDIR)/bin $(GO) install github.com/goreleaser/goreleaser/v2@v2.16.0
	CGO_ENABLED=0 GOFLAGS=-trimpath GOBIN=$(CURDIR)/bin $(GO) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

release = PATH="$(CURDIR)/bin:$$PATH" .ci/release

.PHONY: release
release: release-tools ## build archives for all systems, with SBOMs and checksums, in dist/; VERSION= TARGETS=
	$(release)

.PHONY: release-check
release-check: release-tools ## build the last commit twice, once without a cache, and compare the results byte by byte
	@set -e; dir=$$(mktemp -d); trap 'chmod -R u+w "$$dir"; rm -rf "$$dir"' EXIT; \
	git clone -q . "$$dir/one"; git clone -q . "$$dir/another"; \
	(cd "$$dir/one"; $(release)); \
	(cd "$$dir/another"; export GOCACHE="$$dir/cache"; $(release)); \
	diff -r -x artifacts.json -x metadata.json -x config.yaml "$$dir/one/dist" "$$dir/another/dist"; cat "$$dir/one/dist/SHA256SUMS"

# The parts of CI. Each is a job of .github/workflows/ci.yml, and .ci/run runs all of them.
.PHONY: ci-lint
ci-lint: lint lint-workflows ## CI: the linters, formatting, modules, and what the program links
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt would change: $$unformatted"; exit 1; }
	git ls-files -z .ci '*.sh' | grep -zv '\.txt$$' | xargs -0 shellcheck
	$(GO) mod tidy -diff
	$(GO) -C compare mod tidy -diff
	$(GO) -C deploy/checks mod tidy -diff
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	$(GO) -C compare vet ./...
	$(GO) -C deploy/checks vet ./...
	@linked=$$($(GO) list -deps ./cmd/segment-to-launchdarkly | grep -v '^internal/' | \
		grep -E 'kfake|test$$|^testing|/consumer/model$$|/cmd/soak/'); \
		[ -z "$$linked" ] || { echo "The program links test packages: $$linked"; exit 1; }

.PHONY: ci-test
ci-test: test ## CI: the tests that need only Go, fuzzing, every schedule, random schedules, the demo, REST client, and strace
	$(MAKE) fuzz FUZZTIME=20s
	.ci/complete $(MAKE) model
	$(MAKE) explore RETRIES=2
	$(GO) run ./cmd/demo -events 50000
	$(GO) run ./cmd/demo -events 50000 -faults
	.ci/complete $(MAKE) test-client
	.ci/complete $(MAKE) test-strace

.PHONY: ci-race
ci-race: test-race ## CI: the race detector

.PHONY: ci-browser
ci-browser: ## CI: the browser tests, none of them skipped
	.ci/complete $(MAKE) test-browser

.PHONY: ci-deploy
ci-deploy: test-deploy ## CI: what is in deploy/

.PHONY: ci-release
ci-release: ## CI: a release for one system, reproduced
	$(MAKE) release-check TARGETS=linux/amd64

# Some packages with tests on real Kafka have browser tests too.
.PHONY: ci-kafka
ci-kafka: kafka ## CI: the tests on real Apache Kafka, none of them skipped, and some on the oldest version
	CHROMIUM_TEST=1 .ci/complete $(MAKE) test-kafka
	.ci/complete $(MAKE) oldest-kafka

.PHONY: ci-vuln
ci-vuln: vuln ## CI: known vulnerabilities

.PHONY: ci
ci: ## run all checks that a change must pass
	./.ci/run
