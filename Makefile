# KubeVirt Shepherd. `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash

TESTBED := testbed/bin
TESTBED_SRC := $(wildcard testbed/*.go testbed/virtapi/*.go testbed/go.mod testbed/crds/*)
LDFLAGS_TESTBED := -s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 -X kubevirt.io/client-go/version.gitVersion=v1.8.4
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# ---------- run ----------

.PHONY: demo
demo: postgres ## the portal with two real KubeVirt control planes (DEMO_CLUSTERS=none: without)
	@mkdir -p bin
	@echo "Compiling the portal. The first time takes about two minutes on two cores."
	@go build -ldflags "$(LDFLAGS)" -o bin/shepherd ./cmd/shepherd
	@exec ./bin/shepherd demo

.PHONY: dev
dev: postgres node_modules ## the demo with live reload of Go, templ and CSS
	@npm run --silent watch & trap "kill $$! 2>/dev/null || true" EXIT; \
	go tool templ generate --watch --proxy=http://localhost:8080 --open-browser=false \
		--cmd="go run ./cmd/shepherd demo"

.PHONY: build
build: ## the binary, in bin/
	@mkdir -p bin
	go build -ldflags "$(LDFLAGS)" -o bin/shepherd ./cmd/shepherd

.PHONY: gallery
gallery: ## every page in every state, from literals, at localhost:8090
	@go run -tags dev ./cmd/shepherd gallery

.PHONY: screenshots
screenshots: chromium ## the pictures of the guides (docs/images), in light, dark and phone width; WHAT=all DIR=x for all pages
	@go run -tags dev ./cmd/shepherd gallery screenshots $(or $(DIR),docs/images) $(WHAT)

# ---------- test ----------

.PHONY: test
test: postgres chromium testbed node_modules ## all tests: unit, database, handlers, end to end in Chromium on the testbed
	@SHEPHERD_TESTBED=$(CURDIR)/$(TESTBED) go tool gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -tags e2e -timeout 20m ./...

.PHONY: check
check: node_modules ## lint, vet, format, generated code fresh, rules of the house
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	go vet -tags e2e,dev ./...
	go tool staticcheck -tags e2e,dev ./...
	go run ./internal/arch/check
	@$(MAKE) --no-print-directory fresh
	@$(MAKE) --no-print-directory guides

.PHONY: guides
guides: ## which sections of the guides have no translation of their present English text
	@go run ./docs/stale

# Generated code is committed; it must be what the sources generate.
.PHONY: fresh
fresh: node_modules
	@sum() { git ls-files -co --exclude-standard 'views/*_templ.go' 'views/**/*_templ.go' 'internal/gallery/*_templ.go' static views/ui docs/openapi.json docs/api-reference.md internal/client | sort -u | xargs sha256sum | sha256sum; }; \
	before=$$(sum); \
	go tool templ generate >/dev/null 2>&1 && go run ./handlers/api/gen && go generate ./internal/client && npm run --silent build >/dev/null && \
	after=$$(sum); \
	[ "$$before" = "$$after" ] && echo "generated code: fresh" || { echo "generated code was stale: commit what 'make generate' made"; exit 1; }

# ---------- generate ----------

.PHONY: generate
generate: node_modules ## ent, templ, CSS, the API's document and its client from their sources
	go generate ./ent
	go run ./handlers/api/gen
	go generate ./internal/client
	go tool templ generate
	npm run build

.PHONY: migration
migration: postgres ## the next migration from the ent schema: make migration NAME=add_x
	@[ -n "$(NAME)" ] || { echo "usage: make migration NAME=add_x"; exit 2; }
	go run ./internal/database/gen -name $(NAME)

node_modules: package-lock.json
	npm ci --no-audit --no-fund
	@touch node_modules

# ---------- release ----------

CYCLONEDX := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

.PHONY: sbom
sbom: build ## bills of materials (CycloneDX JSON) of the binary and of the tools that build the pages, in bin/
	go run $(CYCLONEDX) bin -json -licenses -std -output-version 1.6 -version "$(VERSION)" -output bin/shepherd.cdx.json bin/shepherd
	npm sbom --sbom-format cyclonedx --package-lock-only > bin/pages.cdx.json
	@echo "bin/shepherd.cdx.json, bin/pages.cdx.json"

.PHONY: notices
notices: ## THIRD_PARTY_NOTICES.md from what the binary has
	go run ./internal/notices > THIRD_PARTY_NOTICES.md

# ---------- what it needs ----------

# apt as root where there is apt, else the exact command.
define need
	@if ! ( $(1) ) >/dev/null 2>&1; then \
		if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
			echo "Installing $(2)"; \
			apt-get install -y --no-install-recommends $(2) >/dev/null 2>&1 || { apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(2) >/dev/null; }; \
		else \
			echo "$(3) is missing. Install it and try again:"; echo "    sudo apt install $(2)     # Debian, Ubuntu"; echo "    brew install $(4)          # macOS"; exit 1; \
		fi; \
	fi
endef

.PHONY: postgres
postgres:
	$(call need,ls /usr/lib/postgresql/*/bin/initdb || command -v initdb || ls /opt/homebrew/opt/postgresql*/bin/initdb || [ -n "$$SHEPHERD_POSTGRES_BIN" ] || [ -n "$$DATABASE_URL" ],postgresql,PostgreSQL,postgresql@17)

.PHONY: chromium
chromium:
	$(call need,command -v chromium || command -v chromium-browser || command -v google-chrome || [ -n "$$SHEPHERD_CHROMIUM" ],chromium,Chromium,--cask chromium)

.PHONY: testbed
testbed: $(TESTBED)/testbed $(TESTBED)/testbed-virt-api ## build the KubeVirt control plane for demo and tests (about 8 minutes the first time)

$(TESTBED)/testbed: $(TESTBED_SRC)
	@mkdir -p $(TESTBED)
	@echo "Building the testbed: a KubeVirt control plane from source, about 8 minutes the first time on two cores."
	cd testbed && go build -ldflags "$(LDFLAGS_TESTBED)" -o bin/testbed .

$(TESTBED)/testbed-virt-api: $(TESTBED_SRC) $(TESTBED)/testbed
	cd testbed && go build -ldflags "$(LDFLAGS_TESTBED)" -o bin/testbed-virt-api ./virtapi

.PHONY: clean
clean: ## remove what was built, and the demo's data
	rm -rf bin data testbed/bin node_modules
