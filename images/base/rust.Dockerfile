# Stands in for the official Rust image where no container registry can be reached: a C compiler and the toolchain of the
# machine that builds it, laid out as there. Built by base.sh with the toolchain's folder as context.
ARG BASE
FROM ${BASE}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update --quiet=2 \
    && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
      gcc libc6-dev make ca-certificates \
    && rm -rf /var/log/apt /var/log/dpkg.log
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
COPY . /usr/local/rustup/toolchain
RUN mkdir -p /usr/local/cargo/bin && ln -s /usr/local/rustup/toolchain/bin/* /usr/local/cargo/bin/ && cargo --version && rustc --version
