# Thin names for what is done often; the work is in scripts/ and cargo.
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: demo
demo: prerequisites ## Start a whole fleet, prebuild sample repositories, show what happened
	cargo build --workspace --bins --locked
	cargo run --quiet --locked --package fleet-tests --bin demo

.PHONY: up
up: prerequisites ## The demo's fleet, kept running until Ctrl-C
	cargo build --workspace --bins --locked
	cargo run --quiet --locked --package fleet-tests --bin demo -- --keep

.PHONY: test
test: prerequisites ## Every test, against real, private parts
	cargo build --workspace --bins --locked
	node --test snapshot/tests/unit/*.test.mjs
	cargo test --workspace --locked
	cd snapshot/example && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm test

.PHONY: snapshot-test
snapshot-test: prerequisites ## Build the sandbox image and test it, in a private Docker engine where none runs
	cargo build --workspace --bins --locked
	scripts/with-docker scripts/snapshot-test

.PHONY: chart-test
chart-test: prerequisites ## Test the Helm chart with real Helm 3 and 4, and its settings with the real programs
	cargo build --workspace --bins --locked
	scripts/chart-test

.PHONY: images
images: prerequisites ## Build the programs' container images, look at each, run a fleet of them on a private network
	scripts/with-docker scripts/images

.PHONY: jaeger-test
jaeger-test: prerequisites ## Read a job's trace back from real Jaeger, built from source (needs Go)
	scripts/jaeger-test

.PHONY: smoke-daytona
smoke-daytona: prerequisites ## One small repository through the real Daytona; needs DAYTONA_API_KEY
	scripts/smoke-daytona

.PHONY: check
check: lint test chart-test ## What CI checks, but for images and Jaeger

.PHONY: lint
lint: prerequisites ## Formatting, lints, docs, licences, architecture: everything but the tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --locked
	scripts/tool cargo-deny --all-features --locked check bans licenses sources
	scripts/tool cargo-shear --locked --deny-warnings
	cd scripts && python3 -B -m unittest discover --buffer
	scripts/check-architecture
	scripts/check-snapshots
	scripts/check-changelog
	scripts/check-links
	scripts/check-workflows
	scripts/check-scripts

.PHONY: fmt
fmt: ## Format the sources
	cargo fmt --all

.PHONY: prerequisites
prerequisites:
	@scripts/install-prerequisites
