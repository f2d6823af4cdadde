#!/usr/bin/env bash
# Builds the sandbox image as harvest-daytona-snapshot:<git tag>, and on request brings it into Daytona.
#
# A failed build leaves nothing behind: no image, no tag, no copied files (the repository itself is the build context).
# There is no :latest, since Daytona refuses it and snapshots are immutable: a change is a new tag.
set -euo pipefail

usage() {
  cat <<'END'
Usage: build.sh [OPTION...]

  --tag TAG          instead of `git describe --tags --always --dirty`; not `latest`
  --image NAME       the image's name without tag (harvest-daytona-snapshot)
  --base IMAGE       a Debian image with Node 24 (node:24-trixie-slim); see base.sh where no registry can be reached
  --browser WHICH    debian (default), playwright or none
  --platform P       linux/amd64 (default: the only one Daytona runs)
  --extra-ca FILE    a CA bundle that the registries' certificates need; used as a build secret, never in the image
                     (default: $HARVEST_EXTRA_CA, else $NODE_EXTRA_CA_CERTS)
  --push REPOSITORY  also push the image to REPOSITORY:TAG of a container registry
  --create-snapshot  also make the Daytona snapshot harvest-snapshot.TAG (2 vCPU, 4 GB memory, 10 GB disk) with the
                     `daytona` command: from the pushed image with --push, else from the local one
  --snapshot NAME    the snapshot's name without tag (harvest-snapshot)

Settings of npm (~/.npmrc, NPM_CONFIG_USERCONFIG) and pip (PIP_CONFIG_FILE, /etc/pip.conf) and the proxy variables of this
shell reach the build and stay out of the image. Prints the image's name on stdout, progress on stderr.
END
}
fail() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}
misused() {
  printf 'build.sh: %s (see --help)\n' "$*" >&2
  exit 2
}

cd "$(dirname "$0")/.."
tag='' image=harvest-daytona-snapshot base='' browser=debian platform=linux/amd64 push='' snapshot=harvest-snapshot create=no
extra_ca=${HARVEST_EXTRA_CA:-${NODE_EXTRA_CA_CERTS:-}}
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --create-snapshot) create=yes && shift && continue ;;
    --tag | --image | --base | --browser | --platform | --extra-ca | --push | --snapshot)
      [ -n "${2:-}" ] || misused "$1 needs a value"
      ;;
    *) misused "unknown argument $1" ;;
  esac
  case $1 in
    --tag) tag=$2 ;;
    --image) image=$2 ;;
    --base) base=$2 ;;
    --browser) browser=$2 ;;
    --platform) platform=$2 ;;
    --extra-ca) extra_ca=$2 ;;
    --push) push=$2 ;;
    --snapshot) snapshot=$2 ;;
  esac
  shift 2
done

case $browser in debian | playwright | none) ;; *) misused "--browser $browser: must be debian, playwright or none" ;; esac
if [ -z "$tag" ]; then
  tag=$(git describe --tags --always --dirty 2>/dev/null) || fail 'not a git checkout: give a --tag'
  # A slash is fine in a git tag and not in an image's.
  tag=${tag//\//-}
  if [ "$tag" != "${tag%-dirty}" ] && { [ -n "$push" ] || [ "$create" = yes ]; }; then
    fail "uncommitted changes: $tag would name what nobody can build again. Commit, or give a --tag"
  fi
fi
[ "$tag" != latest ] || misused '--tag latest: Daytona refuses it; name a version'
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}$ ]] || misused "--tag $tag: letters, digits, '_', '.', '-', at most 61, not starting with '.' or '-'"
command -v docker >/dev/null || fail 'docker is missing'
docker info >/dev/null 2>&1 || fail 'no Docker engine answers; start one, or run this by scripts/with-docker'
if [ "$create" = yes ]; then
  command -v daytona >/dev/null || fail 'the daytona command is missing (Daytona CLI); it makes the snapshot'
fi
if [ -n "$extra_ca" ] && [ ! -r "$extra_ca" ]; then fail "--extra-ca $extra_ca: cannot be read"; fi

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

arguments=(--file snapshot/Dockerfile --platform "$platform" --network host --iidfile "$work/id"
  --build-arg "BROWSER=$browser" --build-arg "VERSION=$tag")
[ -z "$base" ] || arguments+=(--build-arg "NODE_IMAGE=$base")
secret() { # <id> <file>
  if [ -n "$2" ] && [ -r "$2" ]; then arguments+=(--secret "id=$1,src=$2"); fi
}
secret extra_ca "$extra_ca"
secret npmrc "${NPM_CONFIG_USERCONFIG:-${npm_config_userconfig:-$HOME/.npmrc}}"
secret pip_conf "${PIP_CONFIG_FILE:-/etc/pip.conf}"
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy PLAYWRIGHT_DOWNLOAD_HOST; do
  # By name only: the value stays off the command line, and Docker keeps these out of the image.
  if [ -n "${!name:-}" ]; then arguments+=(--build-arg "$name"); fi
done

DOCKER_BUILDKIT=1 docker build "${arguments[@]}" . >&2 || fail 'the build failed; nothing was tagged'
docker tag "$(cat "$work/id")" "$image:$tag"
printf 'Built %s:%s, %s MB.\n' "$image" "$tag" "$(($(docker image inspect --format '{{.Size}}' "$image:$tag") / 1000000))" >&2

sized=(--cpu 2 --memory 4 --disk 10)
if [ -n "$push" ]; then
  docker tag "$image:$tag" "$push:$tag"
  docker push "$push:$tag" >&2 || fail "could not push $push:$tag; the image is still here as $image:$tag"
fi
if [ "$create" = yes ]; then
  name=$snapshot.$tag
  if [ -n "$push" ]; then
    daytona snapshot create "$name" --image "$push:$tag" "${sized[@]}" >&2
  else
    daytona snapshot push "$image:$tag" --name "$name" "${sized[@]}" >&2
  fi || fail "Daytona did not make $name; names are immutable: if it exists already, build under another --tag"
  printf 'Made the snapshot %s. The next tick builds from it where base_snapshot is %s.\n' "$name" "$snapshot" >&2
fi
printf '%s\n' "$image:$tag"
