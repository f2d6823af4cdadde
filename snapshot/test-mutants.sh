#!/usr/bin/env bash
# Proves that test-snapshot.sh can fail: test-mutants.sh IMAGE
#
# Each mutant is the image with one thing broken. It is caught when the check that is there for it fails; a mutant that passes, or is
# caught only by something else, ends this with exit code 1.
set -euo pipefail
image=${1:?which image? test-mutants.sh IMAGE}
cd "$(dirname "$0")"

made=()
# docker needs every name at once; a mutant that was not made is no reason to fail here.
trap '[ ${#made[@]} -eq 0 ] || docker rmi --force "${made[@]}" >/dev/null 2>&1 || true' EXIT
total=0 missed=0

mutant() { # <section> <check> <Dockerfile lines>
  local name=harvest-mutant:$$-$total said
  total=$((total + 1))
  printf 'FROM %s\nUSER root\n%s\n' "$image" "$3" | docker build --quiet --network none --tag "$name" - >/dev/null
  made+=("$name")
  if said=$(./test-snapshot.sh --only "$1" "$name"); then
    printf 'missed  %s\n' "$2"
  elif grep -qF -- "not ok $1: $2" <<<"$said"; then
    printf 'caught  %s: %s\n' "$1" "$2" && return
  else
    printf 'missed  %s: only other checks failed:\n%s\n' "$2" "$(grep '^not ok' <<<"$said" | sed 's/^/    /')"
  fi
  missed=$((missed + 1))
}
user='USER harvest'

mutant image 'user is harvest' ''
mutant image 'has no entry point' "$user"$'\nENTRYPOINT ["node"]'
mutant image 'stays up with its own command' "$user"$'\nCMD ["true"]'
mutant user 'cannot write /app/claude.md' $'RUN chown -R harvest /app\n'"$user"
mutant user 'cannot write /opt/harvest/node_modules' $'RUN chmod 777 /opt/harvest/node_modules\n'"$user"
mutant shells 'every tool is found in a plain shell' $'RUN rm /usr/local/bin/uv\n'"$user"
mutant shells "the repository's own tools come first in a login shell" $'RUN rm /etc/profile.d/harvest.sh\n'"$user"
mutant shells 'no Claude command is on PATH' $'RUN ln -s /opt/harvest/node_modules/@anthropic-ai/claude-agent-sdk-linux-x64/claude /usr/local/bin/claude\n'"$user"
mutant tools 'gcc compiles and links' $'RUN rm /usr/include/zlib.h\n'"$user"
mutant python 'makes a virtual environment with pip' $'RUN rm -r /usr/lib/python3*/ensurepip\n'"$user"
mutant memory 'the server reads the seed' $'RUN jq -s "{entities: .}" /app/memory-seed.jsonl | jq -c . >/tmp/s && mv /tmp/s /app/memory-seed.jsonl && chmod 644 /app/memory-seed.jsonl\n'"$user"
mutant servers 'playwright has its tools' $'RUN rm /opt/harvest/node_modules/@playwright/mcp/cli.js\n'"$user"
mutant servers "they start with a repository's old Node first on PATH" $'RUN sed -i "s#/opt/harvest/bin/node#node#" /app/mcp-servers.json\n'"$user"
mutant browser 'devtools server opens a page' $'RUN rm /usr/bin/chromium\n'"$user"
mutant sdk "the SDK's own binary runs" $'RUN rm /opt/harvest/node_modules/@anthropic-ai/claude-agent-sdk-linux-x64/claude\n'"$user"
mutant rules 'no reference is left unresolved in the request' $'RUN echo "@docs/ai/shared/core-principles.md" >>/app/claude.md\n'"$user"
mutant rules 'a line of an included document is in the request once' $'RUN head -n 5 /app/claude.md >/tmp/c && mv /tmp/c /app/claude.md && chmod 644 /app/claude.md\n'"$user"
mutant rules 'every path that the rules name is there' $'RUN rm /app/docs/mcp/linear.md\n'"$user"
mutant sync 'harvest-sync brings a checkout to the head of its branch' $'RUN printf "#!/bin/sh\\nexit 0\\n" >/opt/harvest/bin/harvest-sync\n'"$user"
mutant hygiene 'no tokens in settings and homes' $'RUN echo "//registry.example/:_authToken=x" >/home/harvest/.npmrc\n'"$user"
mutant hygiene 'no npm or pip cache' $'RUN mkdir -p /root/x /var/_cacache\n'"$user"

printf '%d mutants, %d caught, %d missed\n' "$total" "$((total - missed))" "$missed"
[ "$missed" -eq 0 ]
