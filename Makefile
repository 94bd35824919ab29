# Targets: build, run, test, e2e, fuzz, lint, bench, clean.

BINARY  := lakefs_import_exporter
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null | sed 's/^v//')
LDPKG   := github.com/prometheus/common/version
LDFLAGS := -s -w \
	-X $(LDPKG).Version=$(VERSION) \
	-X $(LDPKG).Revision=$(shell git rev-parse HEAD 2>/dev/null) \
	-X $(LDPKG).Branch=$(shell git rev-parse --abbrev-ref HEAD 2>/dev/null)

GOLANGCI_LINT_VERSION := v2.15.0
# In a folder of its own, so that a new version is fetched when it is wanted.
TOOLS         := $(CURDIR)/.tools
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint

.PHONY: all build run test e2e fuzz lint bench clean
all: lint test build

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BINARY) .

run: build
	./$(BINARY) --demo

# Tests that need a program which is not there are skipped, and this says so;
# with CI=true they fail instead. PROGRAM=PACKAGE: where Debian has it.
NEEDED := prometheus=prometheus promtool=prometheus \
	prometheus-alertmanager=prometheus-alertmanager amtool=prometheus-alertmanager \
	curl=curl jq=jq python3=python3 chromium=chromium npm=npm

test: axe-core
	@for need in $(NEEDED); do \
		command -v $${need%=*} >/dev/null || \
		echo "SKIPPED: what needs $${need%=*}, which is not there (Debian: apt-get install $${need#*=})"; \
	done
	go vet ./...
	go test -race -shuffle=on -timeout 15m ./...

# The part of the tests that runs a real Prometheus and a real Alertmanager.
e2e:
	go test -race -count=1 -timeout 15m -v ./deploy/...

# For the tests of the status page. npm is not needed for anything else.
AXE_VERSION := 4.11.0
AXE         := $(TOOLS)/node_modules/axe-core/axe.min.js
.PHONY: axe-core
axe-core:
	@test -e $(AXE) || ! command -v npm >/dev/null || \
	npm install --prefix $(TOOLS) --no-save --no-fund --no-audit --silent axe-core@$(AXE_VERSION)

# What people and programs send: each for so long.
FUZZTIME ?= 60s
fuzz:
	go test -run '^$$' -fuzz '^FuzzConfig$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/config
	go test -run '^$$' -fuzz '^FuzzImportFile$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/config
	go test -run '^$$' -fuzz '^FuzzTarget$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/web
	go test -run '^$$' -fuzz '^FuzzSettings$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/web

lint: $(GOLANGCI_LINT)
	$(GOLANGCI_LINT) run ./...
	go mod tidy -diff

$(GOLANGCI_LINT):
	GOBIN=$(dir $@) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

bench:
	go test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf $(BINARY) dist $(TOOLS)
