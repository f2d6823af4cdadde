#!/usr/bin/env bash
# Tests the sandbox image: test-snapshot.sh [--browser debian|playwright|none] [--only SECTION]... IMAGE
#
# What the image says of itself is read from outside; everything else is tried in one container without network, by the image's own
# user. Every check is counted: exit code 0 only when all passed and none was left out; 1 otherwise; 2 wrong arguments.
# Sections: image user shells tools node python memory servers browser sdk rules sync hygiene
set -euo pipefail

SIZE_BUDGET_MB=2500
SECTIONS='image user shells tools node python memory servers browser sdk rules sync hygiene'

misused() {
  printf 'test-snapshot.sh: %s\n' "$*" >&2
  exit 2
}
browser=debian image='' only=()
while [ $# -gt 0 ]; do
  case $1 in
    --browser) browser=${2:?} && shift 2 ;;
    --only)
      [[ " $SECTIONS " == *" ${2:-} "* ]] || misused "no section ${2:-}; there are: $SECTIONS"
      only+=("$2") && shift 2
      ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) misused "unknown argument $1" ;;
    *) image=$1 && shift ;;
  esac
done
[ -n "$image" ] || misused 'which image? test-snapshot.sh IMAGE'
here=$(cd "$(dirname "$0")" && pwd)
docker image inspect "$image" >/dev/null 2>&1 || misused "no image $image; make it with snapshot/build.sh"

work=$(mktemp -d)
container=''
trap '[ -z "$container" ] || docker rm --force "$container" >/dev/null 2>&1; rm -rf -- "$work"' EXIT
results=$work/results
: >"$results"

wanted() { [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" $1 "* ]]; }
expect() { # <name> <expected> <found>
  if [ "$2" = "$3" ]; then printf 'ok image: %s\n' "$1"; else printf 'not ok image: %s\n    %s, not %s\n' "$1" "$3" "$2"; fi >>"$results"
}
says() { docker image inspect --format "$1" "$image"; }

expected=0
container=$(docker run --detach --network none "$image")
if wanted image; then
  expect 'user is harvest' harvest "$(says '{{.Config.User}}')"
  expect 'is for linux/amd64' linux/amd64 "$(says '{{.Os}}/{{.Architecture}}')"
  expect 'works in /workspace' /workspace "$(says '{{.Config.WorkingDir}}')"
  expect 'has no entry point' '[]' "$(says '{{.Config.Entrypoint}}')"
  expect 'runs until it is stopped' '[sleep infinity]' "$(says '{{.Config.Cmd}}')"
  expect 'has no volumes and ports' '0 0' "$(says '{{len .Config.Volumes}} {{len .Config.ExposedPorts}}')"
  expect 'is no :latest' yes "$([ "${image##*:}" != latest ] && [ "$image" != "${image%:*}" ] && echo yes || echo no)"
  expect "is at most $SIZE_BUDGET_MB MB" yes "$([ "$(($(says '{{.Size}}') / 1000000))" -le $SIZE_BUDGET_MB ] && echo yes || echo "$(($(says '{{.Size}}') / 1000000)) MB")"
  expect 'runs a command given to it' given "$(docker run --rm --network none "$image" echo given 2>&1)"
  # A build argument or secret that reached the image would show in how it was made.
  expect 'keeps no secret in its history' 0 "$(docker history --no-trunc --format '{{.CreatedBy}}' "$image" | grep -ciE 'authtoken=|password=|BEGIN CERTIFICATE' || true)"
  expect 'stays up with its own command' true "$(docker container inspect --format '{{.State.Running}}' "$container")"
  expected=11
fi

inside=("${only[@]}")
for index in "${!inside[@]}"; do if [ "${inside[index]}" = image ]; then unset 'inside[index]'; fi; done
if [ ${#only[@]} -eq 0 ] || [ ${#inside[@]} -gt 0 ]; then
  docker cp "$here/tests" "$container:/tmp/tests" >/dev/null
  # A container whose command has ended, or without bash, runs nothing: the count below tells.
  docker exec --interactive "$container" bash /tmp/tests/image/checks.sh "$browser" "${inside[@]}" </dev/null >"$work/inside" 2>"$work/complaints" || true
  grep -v '^checks ' "$work/inside" >>"$results" || true
  counted=$(sed -n 's/^checks //p' "$work/inside")
  if [ -z "$counted" ]; then
    printf 'not ok inside: the checks came to their end\n' >>"$results"
    tail -n 5 "$work/complaints" | sed 's/^/    /' >>"$results"
    counted=1
  fi
  expected=$((expected + counted))
fi

cat "$results"
passed=$(grep -c '^ok ' "$results" || true)
failed=$(grep -c '^not ok ' "$results" || true)
printf '%s: %d checks, %d passed, %d failed\n' "$image" "$expected" "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -eq "$expected" ] && [ "$passed" -gt 0 ]
