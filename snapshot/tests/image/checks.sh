#!/usr/bin/env bash
# The checks that run inside the image, as its user and without network: checks.sh BROWSER [SECTION]...
# One line a check, `ok NAME` or `not ok NAME` with what was said; the last line counts them, so that an end half-way shows.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
browser=$1
shift
sections=("$@")
count=0
section=''

begin() { # <section>: whether it is wanted
  section=$1
  [ ${#sections[@]} -eq 0 ] || [[ " ${sections[*]} " == *" $1 "* ]]
}
check() { # <name> <command...>: it holds when the command succeeds
  local name="$section: $1" said
  shift
  count=$((count + 1))
  if said=$("$@" 2>&1 </dev/null); then
    printf 'ok %s\n' "$name"
  else
    printf 'not ok %s\n' "$name"
    printf '%s\n' "$said" | tail -n 12 | cut -c1-400 | sed 's/^/    /'
  fi
}
bash_says() { bash -c "$1"; } # as Daytona runs commands: a plain shell that reads no start-up file
fails() { ! "$@"; }
equals() { [ "$1" = "$2" ] || { printf '%s, not %s\n' "$1" "$2" && false; }; }
mcp() { timeout 90 /opt/harvest/bin/node "$here/mcp.mjs" "$@"; }
has_line() { # <line> <command...>
  local line=$1
  shift
  "$@" | grep -qxF -- "$line"
}
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

TOOLS=(node npm npx pnpm git git-lfs gh curl wget jq rg fd tree python python3 pip uv gcc g++ make pkg-config
  ssh ps less unzip zip xz file patch lsof playwright harvest-sync harvest-mcp-memory harvest-mcp-servers)

# First, before the other checks leave their own traces.
if begin hygiene; then
  check 'no package lists or archives of apt' equals "$(find /var/lib/apt/lists /var/cache/apt -type f 2>/dev/null | head -n 3)" ''
  check 'no npm or pip cache' equals "$(find / -xdev \( -name _cacache -o -path '*/.cache/pip' -o -path '*/.cache/uv' \) 2>/dev/null | head -n 3)" ''
  check 'no settings of npm or pip' equals "$(find / -xdev \( -name .npmrc -o -name npmrc -o -name pip.conf \) -size +0 -not -path '*/node_modules/*' 2>/dev/null | head -n 3)" ''
  check 'no build secrets' equals "$(find /run/secrets -mindepth 1 2>/dev/null)" ''
  check 'no certificate authority but the distribution'\''s' equals "$(find /usr/local/share/ca-certificates /etc/ssl /tmp -newer /etc/debian_version -type f \( -name 'extra*' -o -name 'ca.pem' \) 2>/dev/null)$(ls /usr/local/share/ca-certificates 2>/dev/null)" ''
  # Names of variables and forms of tokens, in files a build may leave: homes, settings, temporary folders.
  check 'no tokens in settings and homes' equals "$(grep -rIlE 'gh[pousr]_[A-Za-z0-9]{20}|dtn_[0-9a-f]{32}|sk-ant-[A-Za-z0-9]|_authToken=' /etc /home /app /opt/harvest/bin 2>/dev/null | head -n 3)" ''
  check 'no variables of a proxy or registry' fails bash_says 'env | grep -iE "^(https?_proxy|npm_config_registry|pip_|node_extra_ca_certs|ssl_cert)"'
  check 'nothing in the home but a folder for npm' equals "$(ls -A ~)" .npm-global
  check 'nothing in temporary folders but these tests' equals "$(find /tmp /var/tmp /workspace -mindepth 1 -maxdepth 1 -not -path /tmp/tests -not -path "$scratch")" ''
fi

if begin user; then
  check 'is harvest' equals "$(id -un)" harvest
  check 'has uid 1001' equals "$(id -u)" 1001
  check 'is in no other group' equals "$(id -G)" 1001
  check 'has a home' equals "$HOME" /home/harvest
  check 'starts in /workspace' equals "$(bash_says pwd)" /workspace
  check 'cannot become root' fails command -v sudo
  for folder in /home/harvest /workspace /tmp; do
    check "writes $folder" bash_says "mkdir -p $folder/.daytona && echo x >$folder/.daytona/x && rm -r $folder/.daytona"
  done
  for path in /app /app/claude.md /app/docs /opt/harvest /opt/harvest/node_modules /opt/harvest/bin/harvest-sync /usr/local/bin /etc/profile.d/harvest.sh; do
    check "cannot write $path" fails test -w "$path"
  done
  check 'owns nothing of /app and /opt/harvest' equals "$(find /app /opt/harvest \( -user harvest -o -group harvest -o -perm -0002 ! -type l \) | head -n 3)" ''
fi

if begin shells; then
  # What ~/.harvest/bin holds comes first: a repository's own Node, here a stand-in.
  mkdir -p ~/.harvest/bin && printf '#!/bin/sh\necho own\n' >~/.harvest/bin/own-tool && chmod +x ~/.harvest/bin/own-tool
  for kind in plain login; do
    shell=(bash)
    [ $kind = plain ] || shell=(bash -l)
    # shellcheck disable=SC2016 # expanded by the shell that is asked
    missing=$(printf 'for tool in %s; do command -v $tool >/dev/null || echo $tool; done\n' "${TOOLS[*]}" | "${shell[@]}")
    check "every tool is found in a $kind shell" equals "$missing" ''
    # shellcheck disable=SC2016 # expanded by the shell that is asked
    check "the repository's own tools come first in a $kind shell" equals \
      "$(echo 'echo "${PATH%%:*}"; command -v own-tool' | "${shell[@]}" | paste -sd' ')" '/home/harvest/.harvest/bin /home/harvest/.harvest/bin/own-tool'
    # shellcheck disable=SC2016
    check "language and npm's prefix are set in a $kind shell" equals \
      "$(echo 'echo $LANG $NPM_CONFIG_PREFIX $MEMORY_FILE_PATH' | "${shell[@]}")" 'C.UTF-8 /home/harvest/.npm-global /home/harvest/.mcp-memory/memory.jsonl'
  done
  # shellcheck disable=SC2016
  check 'a login shell with a bare environment finds them too' equals \
    "$(env -i HOME="$HOME" bash -lc 'command -v harvest-sync; echo "${PATH%%:*}"' | paste -sd' ')" '/usr/local/bin/harvest-sync /home/harvest/.harvest/bin'
  check 'bash is in /etc/shells' grep -qx /bin/bash /etc/shells
  check 'the C library is glibc' bash_says 'ldd --version 2>&1 | grep -qi glibc'
  check 'no Claude command is on PATH' fails command -v claude
  rm ~/.harvest/bin/own-tool
fi

if begin tools; then
  check 'git commits' bash_says "git init -q $scratch/git && cd $scratch/git && echo a >a && git add a && git -c user.name=t -c user.email=t@example.com commit -qm t && git log --oneline | grep -q t"
  check 'git-lfs is set up' bash_says "cd $scratch/git && git lfs track '*.bin' && git config --get filter.lfs.process"
  check 'gcc compiles and links' bash_says "cd $scratch && printf '#include <openssl/ssl.h>\n#include <zlib.h>\n#include <ffi.h>\nint main(void){return zlibVersion()[0]==0;}' >a.c && gcc a.c -lz -lssl -lffi -o a && ./a"
  check 'g++ compiles' bash_says "cd $scratch && printf '#include <string>\nint main(){return std::string(\"a\").size()-1;}' >a.cc && g++ a.cc -o b && ./b"
  check 'gh runs' gh --version
  check 'rg, fd, tree and jq find and read' bash_says "cd $scratch && echo '{\"a\":[1,2]}' >j.json && rg -q 'a' j.json && fd -q j.json && tree . | grep -q j.json && [ \"\$(jq '.a[1]' j.json)\" = 2 ]"
  check 'zip and unzip agree' bash_says "cd $scratch && zip -q j.zip j.json && unzip -p j.zip | grep -q a"
  check 'ps and lsof see processes' bash_says 'ps -e | grep -q bash && lsof -p $$ | grep -q cwd'
  check 'there are fonts for latin and emoji' bash_says 'fc-list | grep -qi liberation && fc-list | grep -qi emoji'
fi

if begin node; then
  # shellcheck disable=SC2016 # JavaScript
  check 'is an LTS release of major 24' equals "$(/opt/harvest/bin/node -p '`${process.versions.node.split(".")[0]} ${Boolean(process.release.lts)}`')" '24 true'
  check 'npm installs a tool for the user, and it is found' bash_says "mkdir -p $scratch/tool && cd $scratch/tool && printf '{\"name\":\"own-cli\",\"version\":\"1.0.0\",\"bin\":\"cli.js\"}' >package.json && printf '#!/usr/bin/env node\nconsole.log(\"ran\")' >cli.js && tgz=\$(npm pack --silent) && npm install -g --offline --silent ./\$tgz && own-cli | grep -qx ran && npm uninstall -g --silent own-cli"
  check 'pnpm installs offline' bash_says "mkdir -p $scratch/p/dep && cd $scratch/p && printf '{\"name\":\"dep\",\"version\":\"1.0.0\",\"main\":\"i.js\"}' >dep/package.json && echo 'module.exports=7' >dep/i.js && printf '{\"name\":\"p\",\"dependencies\":{\"dep\":\"file:./dep\"}}' >package.json && pnpm install --offline --silent && node -e 'process.exit(require(\"dep\")===7?0:1)'"
  check 'playwright answers without network' bash_says 'playwright --version | grep -q "^Version"'
fi

if begin python; then
  check 'makes a virtual environment with pip' bash_says "python3 -m venv $scratch/venv && $scratch/venv/bin/pip --version"
  check 'has the packages' python3 -c 'import requests, httpx, pydantic, dotenv, yaml, aiofiles; pydantic.TypeAdapter(int).validate_python(1); yaml.safe_load("a: 1")'
  check 'uv runs and makes an environment' bash_says "uv --version && uv venv --offline --quiet $scratch/uvenv && $scratch/uvenv/bin/python -c pass"
fi

if begin memory; then
  seed=/app/memory-seed.jsonl
  # shellcheck disable=SC2016 # JavaScript
  check 'every line of the seed is an entity or a relation' /opt/harvest/bin/node -e '
    const lines = require("fs").readFileSync("/app/memory-seed.jsonl", "utf8").split("\n").filter(Boolean)
    const wrong = lines.filter((line) => { const { type } = JSON.parse(line); return type !== "entity" && type !== "relation" })
    if (lines.length < 20 || wrong.length) throw new Error(`${lines.length} lines, ${wrong.length} wrong`)'
  check 'the server reads the seed' bash_says "rm -rf ~/.mcp-memory && timeout 90 /opt/harvest/bin/node $here/mcp.mjs call memory read_graph {} | grep -q HarvestSession"
  check 'what is written stays beside the seed' bash_says "timeout 90 /opt/harvest/bin/node $here/mcp.mjs call memory create_entities '{\"entities\":[{\"name\":\"ImageTest\",\"entityType\":\"test\",\"observations\":[\"kept\"]}]}' && timeout 90 /opt/harvest/bin/node $here/mcp.mjs call memory read_graph {} >$scratch/graph && grep -q ImageTest $scratch/graph && grep -q HarvestSession $scratch/graph"
  check 'a memory that is there is never overwritten' bash_says "grep -q ImageTest ~/.mcp-memory/memory.jsonl && [ \$(grep -c . ~/.mcp-memory/memory.jsonl) -gt \$(grep -c . $seed) ]"
  check 'memory goes out to a volume, and comes back from it' bash_says "mkdir $scratch/volume && export HARVEST_MEMORY_DIR=$scratch/volume && timeout 90 /opt/harvest/bin/node $here/mcp.mjs call memory create_entities '{\"entities\":[{\"name\":\"OnVolume\",\"entityType\":\"test\",\"observations\":[]}]}' && until grep -qs OnVolume $scratch/volume/memory.jsonl; do [ \$((n+=1)) -lt 300 ] || exit 1; sleep 0.1; done; rm -rf ~/.mcp-memory && timeout 90 /opt/harvest/bin/node $here/mcp.mjs call memory read_graph {} | grep -q OnVolume"
  rm -rf ~/.mcp-memory
fi

if begin servers; then
  check 'those that need no key are started' equals "$(mcp names | sort | paste -sd' ')" 'chrome-devtools context7 filesystem memory playwright'
  check 'one without its variable is left out, and that is said' bash_says 'harvest-mcp-servers 2>&1 >/dev/null | grep -qx "linear: left out, LINEAR_API_KEY is not set"'
  check 'remote ones get their token' bash_says 'GITHUB_TOKEN=g LINEAR_API_KEY=l harvest-mcp-servers 2>/dev/null | jq -e ".github.headers.Authorization == \"Bearer g\" and .linear.headers.Authorization == \"Bearer l\" and .github.type == \"http\""'
  check 'memory has its tools' has_line read_graph mcp tools memory
  check 'filesystem has its tools' has_line read_text_file mcp tools filesystem
  check 'filesystem lists /workspace' bash_says "echo x >/workspace/listed && timeout 90 /opt/harvest/bin/node $here/mcp.mjs call filesystem list_directory '{\"path\":\"/workspace\"}' | grep -q listed && rm /workspace/listed"
  check 'context7 has its tools' has_line resolve-library-id mcp tools context7
  check 'sentry has its tools, its token by our variable' bash_says "SENTRY_AUTH_TOKEN=not-a-token timeout 90 /opt/harvest/bin/node $here/mcp.mjs tools sentry | grep -qx find_organizations"
  check 'gemini is there, and says why it cannot start without network' bash_says "GEMINI_API_KEY=not-a-key timeout 90 /opt/harvest/bin/node $here/mcp.mjs tools gemini 2>&1 | grep -qi 'gemini'"
  check 'playwright has its tools' has_line browser_navigate mcp tools playwright
  check 'devtools has its tools' has_line navigate_page mcp tools chrome-devtools
  check 'they start with a repository'\''s old Node first on PATH' bash_says "mkdir -p ~/.harvest/bin && printf '#!/bin/sh\necho too old >&2; exit 1\n' >~/.harvest/bin/node && chmod +x ~/.harvest/bin/node && for server in memory filesystem playwright chrome-devtools context7; do timeout 90 /opt/harvest/bin/node $here/mcp.mjs tools \$server >/dev/null || exit 1; done; rm ~/.harvest/bin/node"
  rm -f ~/.harvest/bin/node
  rm -rf ~/.mcp-memory
fi

if begin browser; then
  if [ "$browser" = none ]; then
    check 'is left out' fails test -e /opt/google/chrome/chrome
  else
    page='data:text/html,<title>local</title><h1>local page</h1>'
    check 'is where the servers look' test -x /opt/google/chrome/chrome
    check 'Playwright renders a page, clicks and takes a picture' timeout 120 /opt/harvest/bin/node "$here/page.mjs"
    check 'playwright server opens a page' bash_says "timeout 120 /opt/harvest/bin/node $here/mcp.mjs call playwright browser_navigate '{\"url\":\"$page\"}' browser_snapshot '{}' | grep -q 'local page'"
    check 'playwright server writes nothing into the working directory' equals "$(find /workspace -name '.playwright-mcp')" ''
    check 'devtools server opens a page' bash_says "timeout 120 /opt/harvest/bin/node $here/mcp.mjs call chrome-devtools new_page '{\"url\":\"$page\"}' take_snapshot '{\"pageId\":2}' | grep -q 'local page'"
  fi
fi

if begin sdk; then
  binary=/opt/harvest/node_modules/@anthropic-ai/claude-agent-sdk-linux-x64/claude
  check "the SDK's own binary runs" "$binary" --version
  timeout 120 /opt/harvest/bin/node "$here/query.mjs" >"$scratch/query" 2>&1
  for line in 'result success' 'server memory connected' 'memory answered with the seed: true'; do
    check "a query against a fake API: $line" has_line "$line" cat "$scratch/query"
  done
  check 'the memory tools are in the request' bash_says "[ \$(grep -c '^tool mcp__memory__' $scratch/query) -ge 9 ] || { cat $scratch/query && false; }"
fi

if begin rules; then
  # Markers: a line of the rules themselves, and one of a document that claude.md includes.
  own=$(grep -m1 -E '^[A-Z].{60,}' /app/claude.md)
  included=$(grep -m1 -E '^[A-Z0-9].{60,}' /app/docs/ai/shared/core-principles.md)
  timeout 120 /opt/harvest/bin/node "$here/query.mjs" "$own" "$included" >"$scratch/rules" 2>&1
  check 'claude.md is in the request once' has_line 'claude.md 1' cat "$scratch/rules"
  check 'autonomous-agent.md is in the request once' has_line 'autonomous-agent.md 1' cat "$scratch/rules"
  check 'a line of the rules is in the request once' has_line "marker 1 $own" cat "$scratch/rules"
  check 'a line of an included document is in the request once' has_line "marker 1 $included" cat "$scratch/rules"
  check 'no reference is left unresolved in the request' has_line 'unresolved 0' cat "$scratch/rules"
  check 'every path that the rules name is there' bash_says "cat /app/*.md /app/docs/*/*.md /app/docs/*/*/*.md 2>/dev/null | grep -oE '/app/docs/[a-z0-9/._-]+\.md' | sort -u >$scratch/named; [ -s $scratch/named ] && while read -r path; do [ -f \$path ] || { echo \$path && exit 1; }; done <$scratch/named"
  check 'rules and documents can be read by the user' equals "$(find /app -type f ! -readable | head -n 3)" ''
fi

if begin sync; then
  check 'harvest-sync explains itself' bash_says 'harvest-sync --help | grep -qi "exit codes"'
  check 'harvest-sync says that this is no prebuild' bash_says 'harvest-sync; [ $? -eq 3 ]'
  check 'harvest-sync brings a checkout to the head of its branch' "$here/sync.sh"
fi

printf 'checks %d\n' "$count"
