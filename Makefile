BINARY   := lakefs_import_exporter
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null | sed 's/^v//')
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
BRANCH   ?= $(shell git rev-parse --abbrev-ref HEAD 2>/dev/null)
LDPKG    := github.com/prometheus/common/version
LDFLAGS   = -s -w -X $(LDPKG).Version=$(VERSION) -X $(LDPKG).Revision=$(REVISION) -X $(LDPKG).Branch=$(BRANCH)

# Each tool in a folder of its version, so that a new one is fetched when it is wanted.
TOOLS                 := $(CURDIR)/.tools
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT         := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
HELM_VERSION          := v3.22.0
HELM                  := $(TOOLS)/helm-$(HELM_VERSION)/helm
PROMTOOL_VERSION      := v0.316.0
PROMTOOL              := $(TOOLS)/promtool-$(PROMTOOL_VERSION)/promtool
NFPM_VERSION          := v2.43.4
NFPM                  := $(TOOLS)/nfpm-$(NFPM_VERSION)/nfpm
CYCLONEDX_VERSION     := v1.10.0
CYCLONEDX             := $(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION)/cyclonedx-gomod
DEBIAN                := $(TOOLS)/debian-bookworm.tar
KUBERNETES_VERSION    := v1.34.4
KUBERNETES            := $(TOOLS)/kubernetes-$(KUBERNETES_VERSION)
# The tests look for them there.
export PATH := $(dir $(HELM)):$(KUBERNETES):$(PATH)

.PHONY: build help run test e2e e2e-kubernetes generate docs lint-alerts fuzz lint bench bench-smoke release chart module clean
build: ## build the program (what make does)
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BINARY) .

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1 \2/p' $(MAKEFILE_LIST) | while read -r target what; do printf '%-15s %s\n' "$$target" "$$what"; done

PLATFORMS  := linux-amd64 linux-arm64 linux-armv7 darwin-amd64 darwin-arm64 windows-amd64
MAINTAINER ?= lakefs_import_exporter <lakefs_import_exporter@users.noreply.github.com>
release: $(NFPM) $(CYCLONEDX) ## make archives, packages, bill of materials and checksums, in dist/
	VERSION='$(VERSION)' MAINTAINER='$(MAINTAINER)' NFPM=$(NFPM) CYCLONEDX=$(CYCLONEDX) deploy/package/release.sh $(PLATFORMS)

# The chart of a release, in dist/, with where its image and its source are.
IMAGE      ?= lakefs_import_exporter
SOURCE_URL ?=
chart: $(HELM) ## package the Helm chart, in dist/
	VERSION='$(VERSION)' IMAGE='$(IMAGE)' SOURCE_URL='$(SOURCE_URL)' deploy/package/chart.sh

# Once the repository has a home: the path by which "go install" finds it.
MODULE ?=
module: ## rename the Go module to MODULE=github.com/...
	@test -n '$(MODULE)' || { echo 'module: set MODULE=github.com/OWNER/lakefs_import_exporter' >&2; exit 1; }
	old=$$(go list -m) && git ls-files '*.go' go.mod deploy/go.mod deploy/kubernetes/go.mod .golangci.yml | \
		xargs sed -i -E "s,(^module |[ \"\t(=])$$old(/|\"| |$$),\1$(MODULE)\2,g"

run: build ## build the program and run its demo
	./$(BINARY) --demo

# It needs no more than Go; with a C compiler, it looks for races. Files with the tag
# e2e have the tests that need a browser, a database and the like.
RACE := $(if $(shell command -v $$(go env CC)),-race)
test: ## test the program, in a few minutes
	go test $(RACE) -shuffle=on -timeout 15m ./...

# Tests that need a program which is not there are skipped, and this says so;
# with CI=true they fail instead. PROGRAM=PACKAGE: where Debian has it.
NEEDED := prometheus=prometheus promtool=prometheus \
	prometheus-alertmanager=prometheus-alertmanager amtool=prometheus-alertmanager \
	curl=curl jq=jq python3=python3 chromium=chromium npm=npm systemd-analyze=systemd \
	nginx=libnginx-mod-http-js pg_ctlcluster=postgresql etcd=etcd-server podman=podman podman-compose=podman-compose

# The status page in a browser, discovery from real databases, memory under attack, and
# what is shipped in deploy/ in the programs that it is for. deploy/ is a module of its
# own, so that nothing that only its tests import is among what the exporter depends on.
e2e: npm-tools $(HELM) $(NFPM) $(CYCLONEDX) $(DEBIAN) $(KUBERNETES)/kube-apiserver $(KUBERNETES)/crds ## test with real browsers, databases, Prometheus, Kubernetes, ...
	@for need in $(NEEDED); do \
		command -v $${need%=*} >/dev/null || \
		echo "SKIPPED: what needs $${need%=*}, which is not there (Debian: apt-get install $${need#*=})"; \
	done
	go test -tags e2e -race -shuffle=on -count=1 -timeout 15m ./internal/page ./internal/discovery
	go test -tags e2e -run 'TestMemoryUnderAttack|TestBehindNginx' -count=1 -timeout 15m .
	cd deploy && go test -race -shuffle=on -count=1 -timeout 25m ./...

# The chart on a node that runs pods, in namespaces of its own, as root: not a part of
# CI. Wants what Debian has in busybox-static containerd containernetworking-plugins
# etcd-server iproute2 iptables procps prometheus, and what CI installs for podman.
e2e-kubernetes: $(HELM) $(KUBERNETES)/crds $(addprefix $(KUBERNETES)/kube,-apiserver -controller-manager -scheduler let -proxy) ## test the chart on a whole Kubernetes node
	cd deploy && go test -tags node -run '^TestNode$$' -count=1 -timeout 15m -v .

# A Debian with systemd, for the tests of the package.
$(DEBIAN):
	dir=$$(mktemp -d) && debootstrap --variant=minbase --include=systemd bookworm $$dir >/dev/null && \
		mkdir -p $(TOOLS) && tar -C $$dir -cf $@.new . && rm -rf $$dir && mv $@.new $@

$(NFPM):
	GOBIN=$(dir $@) go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)

$(CYCLONEDX):
	GOBIN=$(dir $@) go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)

# Kubernetes' API server for the tests of the chart. It takes ten minutes on two
# cores, once.
$(KUBERNETES)/kube%: deploy/kubernetes/go.mod
	cd deploy/kubernetes && CGO_ENABLED=0 GOFLAGS= go build -mod=mod -trimpath -buildvcs=false \
		-ldflags '-s -w -X k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION) -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34' \
		-o $@ k8s.io/kubernetes/cmd/$(notdir $@)
	touch $@

# The kinds of prometheus-operator, generated from its Go types, and of the Gateway API.
CONTROLLER_GEN_VERSION := v0.19.0
GATEWAY_API_VERSION    := v1.4.0
$(KUBERNETES)/crds:
	rm -rf $@.new && mkdir -p $@.new/all
	cd deploy && go run sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN_VERSION) crd:crdVersions=v1,maxDescLen=0 \
		paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1 output:crd:dir=$@.new/all
	cp $@.new/all/monitoring.coreos.com_servicemonitors.yaml $@.new/all/monitoring.coreos.com_prometheusrules.yaml $@.new/
	module=$$(go mod download -json sigs.k8s.io/gateway-api@$(GATEWAY_API_VERSION) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
		install -m 644 "$$module/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml" $@.new/
	rm -r $@.new/all && mv $@.new $@

# What deploy/mixin makes: rules and dashboards, for Prometheus, Grafana and the chart.
generate: ## make rules and dashboards from deploy/mixin
	cd deploy && go run ./mixin/generate

docs: ## update the program output in the documentation
	cd deploy && go test -run '^TestSamples$$' -count=1 . -update

# The rules on the promtool that is installed (Debian's is 2.42) and on that of
# Prometheus 3.16: every case at every scrape interval, and what of it fails when an
# expression or an inhibition is broken.
lint-alerts: $(PROMTOOL) ## test the alerts at every scrape interval, on Prometheus 2 and 3
	$(PROMTOOL) check rules --lint=all --lint-fatal deploy/prometheus/rules/*.yml
	promtool check rules --lint=all --lint-fatal deploy/prometheus/rules/*.yml
	cd deploy && go test -count=1 -timeout 30m -run '^(TestAlertMatrix|TestBrokenRules|TestRuleCost)$$' -v . -matrix

# It takes three minutes, once, without what discovers targets in clouds.
$(PROMTOOL):
	GOBIN=$(dir $@) go install -tags remove_all_sd github.com/prometheus/prometheus/cmd/promtool@$(PROMTOOL_VERSION)

# For the tests of the status page and of DynamoDB. npm is not needed for anything
# else. Both at once: npm removes what it was not asked for.
AXE_VERSION      := 4.11.0
DYNALITE_VERSION := 4.0.0
.PHONY: npm-tools
npm-tools:
	@test -e $(TOOLS)/node_modules/axe-core/axe.min.js -a -e $(TOOLS)/node_modules/.bin/dynalite || ! command -v npm >/dev/null || \
	npm install --prefix $(TOOLS) --no-save --no-fund --no-audit --silent axe-core@$(AXE_VERSION) dynalite@$(DYNALITE_VERSION)

# What people and programs send: each for so long.
FUZZTIME ?= 60s
fuzz: ## fuzz what people and programs send, for FUZZTIME each
	go test -run '^$$' -fuzz '^FuzzConfig$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/config
	go test -run '^$$' -fuzz '^FuzzImportFile$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/config
	go test -run '^$$' -fuzz '^FuzzTarget$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/web
	go test -run '^$$' -fuzz '^FuzzOpen$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./internal/storage
	go test -run '^$$' -fuzz '^FuzzLastImport$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./lakefs
	go test -run '^$$' -fuzz '^FuzzImportStatus$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 5s ./lakefs
	go test -tags e2e -run '^$$' -fuzz '^FuzzRow$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 10x ./internal/discovery

lint: $(GOLANGCI_LINT) ## run golangci-lint, and check that go.mod is tidy
	$(GOLANGCI_LINT) run ./... && cd deploy && $(GOLANGCI_LINT) run --build-tags node ./...
	go mod tidy -diff && cd deploy && go mod tidy -diff

$(GOLANGCI_LINT):
	GOBIN=$(dir $@) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

# It takes three minutes, once.
$(HELM):
	GOBIN=$(dir $@) go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)

# BENCHMARKS.md says what of this is to be expected. The program writes its table
# to standard output.
bench: npm-tools ## run the benchmarks
	go test -tags e2e -run '^$$' -bench . -benchmem ./...
	go run ./internal/bench

# Whether the benchmarks run, not how fast.
bench-smoke: npm-tools ## check that the benchmarks run
	go test -tags e2e -run '^$$' -bench . -benchtime 1x ./...
	go run ./internal/bench -smoke

clean: ## remove what make has made
	rm -rf $(BINARY) dist $(TOOLS)
