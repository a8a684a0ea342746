# Tasks of this project. Run make to list them.
.DEFAULT_GOAL := help

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty)
TARGETS ?= linux/amd64,linux/arm64,darwin/amd64,darwin/arm64
GOVULNDB ?= https://vuln.go.dev

# These tools are run from the Go module proxy, so that go.mod does not depend on them.
golangci-lint := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
actionlint := $(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
govulncheck := $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0

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
	@echo "Skipping the tests on Apache Kafka and in a browser. To run them: make kafka test-kafka test-browser"
	$(GO) test ./...

.PHONY: update
update: ## rewrite goldens, the example configuration, and the schemas; review the diff
	$(GO) test ./transform ./cmd/internal/config -update
	$(GO) -C deploy/checks test -count=1 -run TestValuesSchema -update .

.PHONY: test-race
test-race: ## run the same tests in random order with the race detector
	EXPLORE_SEEDS=10 $(GO) test -race -shuffle=on ./...

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

# -count=1 is needed because Go's test cache ignores files outside the module, such as those tested.
.PHONY: test-deploy
test-deploy: ## test the chart, alerts, dashboard, compose file, and Dockerfile
	$(GO) -C deploy/checks test -count=1 ./...

.PHONY: kafka
kafka: ## fetch Apache Kafka from Maven Central into a cache outside the source tree
	@./consumer/kafkatest/fetch.sh

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

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME=1m
	@grep -roE --include='*_test.go' 'func Fuzz[A-Za-z]+' . | sed 's|/[^/]*:func | |' | while read -r package target; do \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(FUZZTIME),1m) "$$package" || exit 1; done

.PHONY: bench
bench: ## compare the cost per record with that of only fetching it; ARGS="-rounds 3"
	$(GO) run ./cmd/bench $(ARGS)

.PHONY: lint
lint: ## run all linters
	$(golangci-lint) run
	$(actionlint)

.PHONY: vuln
vuln: ## look for known vulnerabilities in code that the program calls; GOVULNDB sets the database
	$(govulncheck) -db $(GOVULNDB) ./...

.PHONY: release
release: ## build archives for all systems, with bills of materials and checksums, in dist/
	$(GO) run ./cmd/internal/release -version $(VERSION) -targets $(TARGETS) -out dist

.PHONY: sbom
sbom: release ## build a release, which includes bills of materials (dist/*.cdx.json)

.PHONY: release-check
release-check: ## build the last commit twice, once without a cache, and compare the results byte by byte
	@set -e; dir=$$(mktemp -d); trap 'chmod -R u+w "$$dir"; rm -rf "$$dir"' EXIT; \
	git clone -q . "$$dir/one"; git clone -q . "$$dir/another"; \
	$(MAKE) -s -C "$$dir/one" release; \
	GOCACHE="$$dir/cache" $(MAKE) -s -C "$$dir/another" release; \
	diff -r "$$dir/one/dist" "$$dir/another/dist"; cat "$$dir/one/dist/SHA256SUMS"

.PHONY: ci
ci: ## run all checks that a change must pass
	./.ci/run
