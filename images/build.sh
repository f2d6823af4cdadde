#!/usr/bin/env bash
# Builds the images harvest-producer, harvest-worker, harvest-operator and harvest-sandboxd, and prints their sizes.
set -euo pipefail

usage() {
  cat <<'END'
Usage: images/build.sh [OPTION...]

  --tag TAG           the images' tag (the version in Cargo.toml)
  --rust-image IMAGE  what compiles (official Rust on bookworm); see base.sh where no registry can be reached
  --node-image IMAGE  what sandboxd's image starts from (official Node on bookworm)
  --base IMAGE        what the other images start from, instead of glibc and nothing else:
                      gcr.io/distroless/cc-debian12:nonroot, or another with glibc 2.36 or newer and libgcc
  --lto WHICH         link-time optimisation: thin (as released) or off, which is much quicker
  --programs FOLDER   compiles nothing, but takes the four programs from FOLDER, without their debug information: for tests,
                      never for a release. What they were linked with must not be newer than the images' glibc
  --extra-ca FILE     a CA bundle that the registries' certificates need; a build secret, never in an image
                      (default: $HARVEST_EXTRA_CA, else $NODE_EXTRA_CA_CERTS)

Cargo's settings (config.toml in ~/.cargo or $CARGO_HOME) and the proxy variables of this shell reach the build and stay out of
the images. Fails when the worker's image is over 40 MB, unless its programs were given.
END
}
fail() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

cd "$(dirname "$0")/.."
worker_limit_mb=40
tag=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
rust_image='' node_image='' base='' lto=thin programs=''
extra_ca=${HARVEST_EXTRA_CA:-${NODE_EXTRA_CA_CERTS:-}}
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --tag) tag=${2:?--tag needs a value} ;;
    --rust-image) rust_image=${2:?--rust-image needs a value} ;;
    --node-image) node_image=${2:?--node-image needs a value} ;;
    --base) base=${2:?--base needs a value} ;;
    --lto) lto=${2:?--lto needs a value} ;;
    --programs) programs=${2:?--programs needs a folder} ;;
    --extra-ca) extra_ca=${2:?--extra-ca needs a value} ;;
    *) usage >&2 && fail "unknown argument $1" ;;
  esac
  shift 2
done
if [ -n "$extra_ca" ] && [ ! -r "$extra_ca" ]; then fail "--extra-ca $extra_ca: cannot be read"; fi
docker info >/dev/null 2>&1 || fail 'no Docker engine answers; start one, or run this by scripts/with-docker'

arguments=(--network host --build-arg "LTO=$lto" --build-arg "VERSION=$tag" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")
[ -z "$rust_image" ] || arguments+=(--build-arg "RUST_IMAGE=$rust_image")
secret() { # <id> <file>
  if [ -n "$2" ] && [ -r "$2" ]; then arguments+=(--secret "id=$1,src=$2"); fi
}
secret extra_ca "$extra_ca"
secret cargo_config "${CARGO_HOME:-$HOME/.cargo}/config.toml"
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  # By name only: the value stays off the command line, and Docker keeps these out of the image.
  if [ -n "${!name:-}" ]; then arguments+=(--build-arg "$name"); fi
done

context=.
if [ -n "$programs" ]; then
  context=$(mktemp -d)
  trap 'rm -rf -- "$context"' EXIT
  mkdir "$context/programs"
  for program in producer worker harvestctl sandboxd; do
    strip --output-file="$context/programs/$program" "$programs/$program" || fail "$programs/$program could not be taken"
  done
  # The stage that compiles is left out, and with it the image that it needs.
  arguments+=(--build-arg PROGRAMS=given --build-arg "GLIBC_IMAGE=${node_image:-$(sed -n 's/^ARG NODE_IMAGE=//p' images/sandboxd.Dockerfile)}")
fi

build() { # <image> <argument...>
  DOCKER_BUILDKIT=1 docker build "${arguments[@]}" --tag "harvest-$1:$tag" "${@:2}" "$context" >&2 || fail "harvest-$1 could not be built"
  local size
  size=$(docker image inspect --format '{{.Size}}' "harvest-$1:$tag")
  printf '%-32s %6.1f MB\n' "harvest-$1:$tag" "$((size / 100000))e-1"
  if [ "$1" = worker ] && [ -z "$programs" ] && [ "$size" -gt $((worker_limit_mb * 1000000)) ]; then fail "the worker's image is over $worker_limit_mb MB"; fi
}
for target in producer worker operator; do
  build "$target" --file images/Dockerfile --target "$target" ${base:+--build-arg "BASE=$base"}
done
build sandboxd --file images/sandboxd.Dockerfile ${node_image:+--build-arg "NODE_IMAGE=$node_image"}
