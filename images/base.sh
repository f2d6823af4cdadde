#!/usr/bin/env bash
# Makes the base images of images/*.Dockerfile and of the demo where no container registry can be reached: Debian with Node
# (snapshot/base.sh), and on top of it the Rust toolchain of this machine, which must be the one that rust-toolchain.toml names.
# As root, on Debian or Ubuntu, with docker and debootstrap.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'END'
Usage: images/base.sh [--tag TAG] [--without-rust]

  --tag TAG       makes harvest-node:TAG and harvest-rust:TAG (bookworm)
  --without-rust  makes harvest-node:TAG alone, which is enough for build.sh --programs

  DEBIAN_MIRROR  where Debian comes from, as for snapshot/base.sh
END
}
fail() {
  printf 'base.sh: %s\n' "$*" >&2
  exit 1
}

# The release that the final images' glibc is of, and distroless/cc-debian12.
suite=bookworm tag=bookworm rust=yes
while [ $# -gt 0 ]; do
  case $1 in
    --tag) tag=${2:?--tag needs a value} && shift 2 ;;
    --without-rust) rust=no && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown argument $1" ;;
  esac
done

snapshot/base.sh --suite "$suite" --tag "harvest-node:$tag"
if [ $rust = no ]; then exit 0; fi

wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
toolchain=$(realpath "$(rustc --print sysroot)")
found=$("$toolchain/bin/rustc" --version | cut -d ' ' -f 2)
[ "$found" = "$wanted" ] || fail "this machine's toolchain is Rust $found; rust-toolchain.toml names $wanted"
DOCKER_BUILDKIT=1 docker build --quiet --network host --file images/base/rust.Dockerfile --build-arg "BASE=harvest-node:$tag" \
  --tag "harvest-rust:$tag" "$toolchain" >/dev/null
printf 'harvest-rust:%s: Debian %s, Rust %s\n' "$tag" "$suite" "$found"
