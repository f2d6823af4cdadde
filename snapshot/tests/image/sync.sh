#!/usr/bin/env bash
# A prebuild made by hand in the image, one commit behind its remote: harvest-sync brings it to the head.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf -- "$work" /workspace/demo /workspace/.harvest' EXIT
git_as() { git -c user.name=t -c user.email=t@example.com "$@"; }

git init -q --bare --initial-branch=main "$work/remote.git"
git init -q --initial-branch=main "$work/own"
cd "$work/own"
echo '{"name":"demo","version":"1.0.0"}' >package.json
git add . && git_as commit -qm first
git push -q "$work/remote.git" main
git clone -q --depth 1 "file://$work/remote.git" /workspace/demo
first=$(git rev-parse HEAD)
echo text >notes && git add . && git_as commit -qm second && git push -q "$work/remote.git" main

mkdir -p /workspace/.harvest
jq -n --arg commit "$first" '{version: 1, fleet: "test", target: "example.com/acme/demo@main", path: "/workspace/demo", commit: $commit,
  fingerprint: "0000000000000000", prebuild: "hv.test.demo", mode: "cold", job: "j", attempt: "a", completeness: "complete", flags: [],
  recipe: {toolchain: {kind: "none"}, install: {skip: "nothing_to_run"}, build: {skip: "nothing_to_run"}, verify: {skip: "nothing_to_run"}, sources: []},
  tools: {}, lockfiles: [], stages: [], started_at: "2026-01-01T00:00:00Z", finished_at: "2026-01-01T00:00:00Z"}' >/workspace/.harvest/manifest.json

GIT_USER_NAME=agent GIT_USER_EMAIL=agent@example.com harvest-sync --json >"$work/said"
[ "$(git -C /workspace/demo rev-parse HEAD)" = "$(git rev-parse HEAD)" ]
[ -f /workspace/.harvest/ready ]
[ "$(git -C /workspace/demo config user.name)" = agent ]
jq -e . "$work/said" >/dev/null
