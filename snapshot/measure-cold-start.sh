#!/usr/bin/env bash
# How long a start takes: measure-cold-start.sh [--runs N] [IMAGE]
#
# Prints minimum, median and maximum of N (10) starts, in milliseconds:
#   container  `docker run --rm --network none IMAGE true`, from the command to its end; needs IMAGE
#   sandbox    from POST /sandbox until GET says started, through Daytona's API; needs DAYTONA_API_KEY, and takes
#              HARVEST_SNAPSHOT (a name or id; default: Daytona's own) and DAYTONA_API_URL. Each sandbox is deleted at once
# The aim is a median under 500 ms. It is an aim, not a test: machines differ, so nothing here fails for being slow.
set -euo pipefail

AIM_MILLISECONDS=500
GIVE_UP_MILLISECONDS=120000
runs=10 image=''
while [ $# -gt 0 ]; do
  case $1 in
    --runs) runs=${2:?} && shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) printf 'measure-cold-start.sh: unknown argument %s\n' "$1" >&2 && exit 2 ;;
    *) image=$1 && shift ;;
  esac
done
[[ $runs =~ ^[1-9][0-9]{0,2}$ ]] || { printf 'measure-cold-start.sh: --runs %s: 1 to 999\n' "$runs" >&2 && exit 2; }
if [ -z "$image" ] && [ -z "${DAYTONA_API_KEY:-}" ]; then
  printf 'measure-cold-start.sh: nothing to measure: name an IMAGE, or set DAYTONA_API_KEY\n' >&2
  exit 2
fi

now() { date +%s%3N; }
summary() { # <what>, with a number a line on stdin
  sort -n | awk -v what="$1" -v aim="$AIM_MILLISECONDS" '
    { of[NR] = $1 }
    END { median = NR % 2 ? of[(NR + 1) / 2] : (of[NR / 2] + of[NR / 2 + 1]) / 2
          printf "%-10s %d starts: min %d ms, median %d ms, max %d ms (aim: median < %d ms, %s)\n", what, NR, of[1], median, of[NR], aim, median < aim ? "met" : "not met" }'
}

work=$(mktemp -d)
sandbox=''
call() { # <method> <path> [body]; the key stays off the command line
  local -a body=()
  [ -z "${3:-}" ] || body=(--header 'content-type: application/json' --data "$3")
  curl --silent --show-error --fail-with-body --max-time 60 --request "$1" --config "$work/key" "${body[@]}" "$api$2"
}
field() { python3 -c 'import json, sys; print(json.load(sys.stdin).get(sys.argv[1]) or "")' "$1"; }
clean() {
  # Gone already is as good as deleted.
  [ -z "$sandbox" ] || call DELETE "/sandbox/$sandbox" >"$work/deleted" 2>/dev/null || grep -qs '"statusCode":404' "$work/deleted" || printf 'could not delete the sandbox %s: delete it by hand\n' "$sandbox" >&2
  rm -rf -- "$work"
}
trap clean EXIT
refused() {
  printf 'measure-cold-start.sh: the sandbox did not start (state: %s): %s\n' "${state:-none}" "$(cat "$work/created" "$work/complaint")" >&2
  exit 1
}

if [ -n "$image" ]; then
  docker run --rm --network none "$image" true # the first start pays for what later ones find
  for _ in $(seq "$runs"); do
    began=$(now)
    docker run --rm --network none "$image" true
    printf '%d\n' "$(($(now) - began))"
  done | summary container
fi

if [ -z "${DAYTONA_API_KEY:-}" ]; then
  echo 'sandbox    not measured: DAYTONA_API_KEY is not set'
  exit 0
fi
api=${DAYTONA_API_URL:-https://app.daytona.io/api}
(umask 077 && printf 'header = "Authorization: Bearer %s"\n' "$DAYTONA_API_KEY" >"$work/key")
for index in $(seq "$runs"); do
  # Dies by itself should this script be killed.
  wish=$(python3 -c 'import json, sys
wish = {"name": sys.argv[1], "labels": {"purpose": "cold-start"}, "autoStopInterval": 5, "autoDeleteInterval": 0}
if sys.argv[2]: wish["snapshot"] = sys.argv[2]
print(json.dumps(wish))' "cold-start-$$-$index" "${HARVEST_SNAPSHOT:-}")
  began=$(now)
  # Daytona can answer only after the start, so the look beside it is what is timed.
  sandbox=cold-start-$$-$index
  call POST /sandbox "$wish" >"$work/created" 2>"$work/complaint" &
  creating=$!
  state=''
  while [ "$state" != started ]; do
    answered=yes
    if kill -0 "$creating" 2>/dev/null; then answered=no; fi
    # Looked at after that: a refused create that left a sandbox behind shows here.
    answer=$(call GET "/sandbox/$sandbox" 2>/dev/null || true)
    state=$(field state <<<"${answer:-{\}}")
    if [ "$state" = '' ] && [ $answered = yes ] && ! wait "$creating"; then refused; fi
    if [ "$state" = error ] || [ $(($(now) - began)) -gt $GIVE_UP_MILLISECONDS ]; then refused; fi
    sleep 0.02
  done
  took=$(($(now) - began))
  wait "$creating" || true
  call DELETE "/sandbox/$sandbox" >/dev/null
  sandbox=''
  printf '%d\n' "$took" >>"$work/sandboxes"
done
summary sandbox <"$work/sandboxes"
