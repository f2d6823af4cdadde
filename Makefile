# Thin names for what is done often; the work is in scripts/ and cargo.
.DEFAULT_GOAL := help
# With examples, because Cargo then chooses the same features of every library as for the tests, and compiles each once.
PROGRAMS := cargo build --workspace --bins --examples --locked
# With examples for the same reason. Cargo documents a program by itself unless its library has the same name; asked for examples, it wants
# the names.
DOCUMENTED := --lib --examples $(addprefix --bin ,harvestctl harvest-scan demo prebuilt-fleet with-shared-node harness-probe)
# Skips a step of `make check` whose inputs have not changed since it last passed.
STEP := scripts/unless-unchanged

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

# These two and `make setup` install what is missing; every other target only says what that is.
.PHONY: demo
demo: setup ## Start a whole fleet, prebuild sample repositories, show what happened
	$(PROGRAMS)
	$${CARGO_TARGET_DIR:-target}/debug/demo

.PHONY: test
test: setup ## Every test, against real, private parts
	scripts/test

.PHONY: setup
setup: ## Install what building and testing need (Debian, Ubuntu; root or sudo)
	@scripts/install-prerequisites

.PHONY: setup-images
setup-images: ## Install what building images needs, too: a Docker engine that is not started, debootstrap
	@scripts/install-prerequisites docker

.PHONY: up
up: prerequisites ## The demo's fleet, kept running until Ctrl-C
	$(PROGRAMS)
	$${CARGO_TARGET_DIR:-target}/debug/demo --keep

.PHONY: hostile-mutants
hostile-mutants: prerequisites ## Take each defence out of a copy, and see the hostile repositories catch it (an hour)
	scripts/hostile-mutants

.PHONY: snapshot-test
snapshot-test: prerequisites ## Build the sandbox image and test it, in a private Docker engine where none runs
	$(PROGRAMS)
	scripts/with-docker scripts/snapshot-test

.PHONY: snapshot-test-all
snapshot-test-all: prerequisites ## The same on both Debian releases, and without a browser
	$(PROGRAMS)
	scripts/with-docker scripts/snapshot-test --all

.PHONY: chart-test
chart-test: prerequisites ## Test the Helm chart with real Helm 3 and 4, and its settings with the real programs
	$(PROGRAMS)
	scripts/chart-test

.PHONY: images
images: prerequisites ## Put the programs into their container images, look at each, run a fleet of them on a private network
	$(PROGRAMS)
	scripts/with-docker scripts/images

.PHONY: images-release
images-release: prerequisites ## The same with the programs compiled in the image, as they are released
	scripts/with-docker scripts/images --as-released

.PHONY: jaeger-test
jaeger-test: prerequisites ## Read a job's trace back from real Jaeger, built from source (needs Go)
	scripts/jaeger-test

.PHONY: smoke-daytona
smoke-daytona: prerequisites ## One small repository through the real Daytona; needs DAYTONA_API_KEY
	scripts/smoke-daytona

.PHONY: model
model: prerequisites ## Check the model of lease, names, promotion and register in larger bounds than the tests do
	HARVEST_LARGER_MODEL=1 cargo test --locked --release --package worker --lib -- lease::model --nocapture

.PHONY: bench
bench: prerequisites ## What cleaning up and verifying 60,000 files costs, how long a program takes to know 100,000 targets, what leftovers of builds save
	cargo run --locked --package fleet-tests --example scrub-cost
	cargo run --locked --release --package fleet-tests --example register-start
	scripts/leftovers-worth

.PHONY: check
check: ## Lint, test and chart-test, each unless nothing it goes by has changed since it passed
	$(STEP) lint . -- $(MAKE) lint
	$(STEP) test . ':!helm' ':!images' ':!tests/chart' ':!tests/images' ':!.github' ':(exclude,glob)*.md' -- $(MAKE) test
	$(STEP) chart-test . ':!images' ':!snapshot' ':!tests/images' ':!.github' ':(exclude,glob)*.md' -- $(MAKE) chart-test

.PHONY: lint
lint: prerequisites ## Formatting, lints, docs, licences, architecture: everything but the tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --locked $(DOCUMENTED)
	scripts/tool cargo-deny --all-features --locked check bans licenses sources
	scripts/tool cargo-shear --locked --deny-warnings
	cd scripts && python3 -B -m unittest discover --buffer
	scripts/check-architecture
	scripts/check-links
	scripts/check-snapshots
	scripts/check-changelog
	scripts/check-workflows
	scripts/check-scripts

.PHONY: fmt
fmt: ## Format the sources
	cargo fmt --all

.PHONY: prerequisites
prerequisites:
	@scripts/install-prerequisites --check
