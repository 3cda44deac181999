# Weir. `make help` lists the targets; each has its line from the comment behind it.

GO ?= go
BIN := bin
GOLANGCI_LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZ_TIME ?= 60s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## run the gateway on an embedded broker, with requests to paste
	$(GO) run ./core/cmd/weir dev

.PHONY: build
build: ## build every command into bin/
	$(GO) build -o $(BIN)/ ./core/cmd/...

.PHONY: test
test: ## run every fast test
	$(GO) test -race ./...

.PHONY: acceptance
acceptance: build ## run the tests against a real Apache Kafka, with scaled counts
	$(GO) test -tags acceptance -count 1 -p 1 -timeout 30m -v ./core/internal/acceptance/... ./core/internal/apachekafka ./core/internal/kafka/reader ./core/internal/kafka/consumer ./core/cmd/weir-kafka

.PHONY: soak
soak: build ## run the acceptance tests with full counts
	WEIR_SOAK=1 $(GO) test -tags acceptance -count 1 -timeout 3h -v ./core/internal/acceptance/... ./core/internal/kafka/consumer

.PHONY: bench
bench: build ## measure CPU per record beside a bare echo and a bare producer
	$(BIN)/weir-bench

.PHONY: lint
lint: ## check style and vet
	$(GOLANGCI_LINT) run ./...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZ_TIME (60s)
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "== $$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZ_TIME) $$package; \
	  done; \
	done

.PHONY: generate
generate: ## write the generated files anew
	$(GO) generate ./...

.PHONY: check-generate
check-generate: generate ## fail when a generated file is not what its source makes
	git diff --exit-code -- docs

.PHONY: kafka
kafka: ## run a real Apache Kafka for a person to use
	$(GO) run ./core/cmd/weir-kafka
