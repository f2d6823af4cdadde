# sandboxd, the Daytona stand-in for laptops and tests, with what its sandboxes need: bubblewrap, git, Node with npm.
# Not for production.
#
# Built from the repository's root; images/README.md says how. The first stage is the same, line by line, as in Dockerfile.
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG PROGRAMS=compiled
# Debian bookworm or newer with Node 18 or newer and npm: the sandboxes' own.
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${RUST_IMAGE} AS compiled
# The list of dependencies in each program, for scanners: cargo has no stable way of its own. Unoptimised: it runs once.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=secret,id=extra_ca --mount=type=secret,id=cargo_config,target=/usr/local/cargo/config.toml \
    if [ -s /run/secrets/extra_ca ]; then export CARGO_HTTP_CAINFO=/run/secrets/extra_ca; fi; \
    cargo install --quiet --debug --locked --version 0.7.7 cargo-auditable
WORKDIR /source
COPY . .
# Link-time optimisation takes about as long as all else together; tests that build every time may turn it off.
ARG LTO=thin
# Compiled dependencies are kept between builds. Our own sources are told to be new: cargo goes by their times, and an older
# checkout built later would pass for one that is built already.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked --mount=type=cache,target=/target,sharing=locked \
    --mount=type=secret,id=extra_ca --mount=type=secret,id=cargo_config,target=/usr/local/cargo/config.toml \
    if [ -s /run/secrets/extra_ca ]; then export CARGO_HTTP_CAINFO=/run/secrets/extra_ca; fi; \
    find . -type f -exec touch {} + \
    && CARGO_TARGET_DIR=/target CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_LTO=$LTO cargo auditable build --release --locked \
      --package producer --package worker --package operator --package sandboxd --bins \
    && mkdir /programs && cp /target/release/producer /target/release/worker /target/release/harvestctl /target/release/sandboxd /programs/

FROM scratch AS given
COPY programs /programs

FROM ${PROGRAMS} AS programs

FROM ${NODE_IMAGE}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update --quiet=2 \
    && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
      bubblewrap util-linux git ca-certificates procps \
    && rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
# Snapshots are kept here; an unnamed volume takes over its owner.
RUN mkdir -p /var/lib/sandboxd && chown 65532:65532 /var/lib/sandboxd \
    && printf 'nonroot:x:65532:65532:nonroot:/var/lib/sandboxd:/usr/sbin/nologin\n' >>/etc/passwd \
    && printf 'nonroot:x:65532:\n' >>/etc/group
ARG VERSION=unversioned
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Harvest Fleet" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.title="harvest-sandboxd" \
      org.opencontainers.image.description="NOT FOR PRODUCTION: a stand-in for Daytona on one machine, for laptops and tests" \
      harvest.production="no"
COPY --from=programs /programs/sandboxd /usr/local/bin/sandboxd
USER 65532:65532
WORKDIR /var/lib/sandboxd
VOLUME /var/lib/sandboxd
EXPOSE 3986
ENTRYPOINT ["/usr/local/bin/sandboxd", "--listen", "0.0.0.0:3986", "--data-dir", "/var/lib/sandboxd"]
