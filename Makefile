# Every task of the project. `make` alone lists them; each is one or two commands that also work by hand.
# The local cluster needs Linux and root; everything above the line "local cluster" needs neither.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# Model file (GGUF) for `run` and `try`; without one `run` takes a small model and `try` canned answers.
MODEL ?=
# 1: `run` ends by itself after showing the completion.
ONCE ?=
# standalone: `run` starts engine, gateway and Prometheus without Kubernetes.
MODE ?=
# current: `run` takes the cluster of the current context and asks first; YES=1 does not ask.
CLUSTER ?=
YES ?=
# Ports on this machine's loopback; each program says its default.
API_PORT ?=
GATEWAY_PORT ?=
PROMETHEUS_PORT ?=
# Which suite `test-full` runs.
SUITE ?=
# Environment that `deploy` changes: local, staging or production; the tag of the gateway's image; 1 to do it.
ENV ?=
TAG ?=
# Registry (with organisation) of our images.
IMAGE_REGISTRY ?=
CONFIRM ?=
# 1: `bench` only shows that everything works, in half a minute, and writes nothing.
SMOKE ?=

DENY_VERSION := 0.20.2
CACHE := $(or $(MODELGATE_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/modelgate,$(HOME)/.cache/modelgate))
DENY := $(CACHE)/cargo-deny/$(DENY_VERSION)/bin/cargo-deny
TESTKIT := cargo run --quiet --locked --release -p testkit --
RUN_FLAGS := $(if $(ONCE),--once) $(if $(MODEL),--model '$(MODEL)') $(if $(MODE),--mode '$(MODE)') \
	$(if $(API_PORT),--api-port '$(API_PORT)') $(if $(GATEWAY_PORT),--gateway-port '$(GATEWAY_PORT)') \
	$(if $(PROMETHEUS_PORT),--prometheus-port '$(PROMETHEUS_PORT)')

.PHONY: runner help try manifests deploy images dist develop-local fmt lint deny check crds run tools model test-model cluster-up cluster-down cluster-status test-cluster test test-full bench clean-cache

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: MODEL=FILE.gguf ONCE=1 MODE=standalone CLUSTER=current YES=1 API_PORT=N GATEWAY_PORT=N PROMETHEUS_PORT=N SUITE=NAME ENV=NAME TAG=TAG CONFIRM=1 SMOKE=1"

try: ## Gateway with canned answers, or with MODEL=FILE.gguf; no root, no Kubernetes
	@MODEL='$(MODEL)' GATEWAY_PORT='$(GATEWAY_PORT)' .ci/try

develop-local: ## Gateway with canned answers, rebuilt and restarted when its source changes
	@GATEWAY_PORT='$(GATEWAY_PORT)' .ci/develop-local

fmt: ## Format all sources
	cargo fmt --all

lint: deny ## Format, clippy and dependency checks
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

deny: $(DENY) ## Licences, sources and banned crates (cargo-deny, built once into the cache)
	$(DENY) --all-features check --hide-inclusion-graph bans licenses sources

$(DENY):
	cargo install --locked --quiet --version $(DENY_VERSION) --root $(CACHE)/cargo-deny/$(DENY_VERSION) cargo-deny

# `api` is checked alone first: the workspace's build always has its feature `crd` on, the gateway's never.
check: lint ## Lint, then unit, golden and property tests and the repository's rules; no root, no cluster
	cargo check --locked -p modelgate-api
	cargo test --locked --workspace

crds: ## Write crds/*.yaml anew from the types in api/
	UPDATE=1 cargo test -q --locked -p modelgate-api --features crd --test crds

manifests: tools ## Write manifests/base/modelgate.yaml and the OLM bundle anew from the chart
	UPDATE=1 cargo test -q --locked --release -p testkit --features cluster --test delivery -- two_renders the_bundle_installs

deploy: ## Show what deploying ENV=local|staging|production would change; CONFIRM=1 does it, TAG= sets the gateway's image
	@ENV='$(ENV)' TAG='$(TAG)' IMAGE_REGISTRY='$(IMAGE_REGISTRY)' CONFIRM='$(CONFIRM)' .ci/deploy

# ---- what is delivered ----

images: ## Build the container images from the Dockerfile with docker, podman or buildah; IMAGE_REGISTRY= and TAG= name them
	@IMAGE_REGISTRY='$(IMAGE_REGISTRY)' TAG='$(TAG)' .ci/images

dist: runner ## dist/: programs, chart, definitions, image archives, compose folder, checksums
	@.ci/dist

# ---- local cluster: Linux and root ----

runner:
	@.ci/runner

run: ## The whole path on a local cluster: resources applied, pods ready, a completion, targets up; CLUSTER=current: on yours
ifeq ($(CLUSTER),current)
	@YES='$(YES)' ONCE='$(ONCE)' GATEWAY_PORT='$(GATEWAY_PORT)' IMAGE_REGISTRY='$(IMAGE_REGISTRY)' .ci/run-current
else
	@.ci/runner
	@$(TESTKIT) run $(RUN_FLAGS)
endif

tools: runner ## Install what is missing, build the cluster's tools once, fetch the small model
	@$(TESTKIT) tools build

model: runner ## Fetch the small model for tests into the cache
	@$(TESTKIT) model

cluster-up: runner ## Start the local cluster
	@$(TESTKIT) cluster up

cluster-down: runner ## Stop the local cluster and remove what it left on this machine
	@$(TESTKIT) cluster down

cluster-status: runner ## Say what of the local cluster runs
	@$(TESTKIT) cluster status

# The cluster outlives a test program, so that one made for it is there for the next; it goes at the end in any case.
test-cluster: tools ## Tests on the local cluster: its own life, then the whole product end to end
	cargo build --locked --release -p modelgate-operator -p modelgate-gateway -p modelgate-engine
	trap '$(TESTKIT) cluster down' EXIT; \
	cargo test --locked --release -p testkit --features cluster --test cluster_lifecycle --test delivery --test e2e -- --test-threads=1

# The whole workspace is named so that its libraries are not built again with other features; llama.cpp is optimised in any profile.
test-model: model ## Tests of the engine with the small model
	cargo test --locked --workspace --features modelgate-engine/model-tests --test golden --test serve

# ---- the gates ----

test: tools check test-model test-cluster ## Everything that must pass before a change goes in; Linux and root
	@.ci/results

test-full: ## Suites that run longer or need more than `test`: SUITE=NAME
	@.ci/test-full '$(SUITE)'

bench: ## What the gateway costs beside a bare pass-through, HAProxy and sglang-router: docs/performance.md; loopback only
	cargo build --locked --release -p modelgate-gateway -p loadbench
	target/release/loadbench run $(if $(SMOKE),--smoke)

clean-cache: runner ## Empty the cache of built tools and fetched models
	@$(TESTKIT) clean-cache
