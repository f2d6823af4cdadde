# Removes what an attempt leaves beside the checkout: runs, logs, credentials. Caches are leftovers.sh's.
# What steers git, shells and agents, hidden files of the home among it, has been put back before.
# What is another user's (root's, in a base image) its own can't remove: it stays, and its path is printed after `left `.
shopt -s nullglob dotglob
user=$(id -u)
remove() {
    find "$@" -type d -user "$user" ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
    rm -rf -- "$@" 2>/dev/null
    for path in "$@"; do
        if [ -e "$path" ] || [ -L "$path" ]; then printf 'left %q\n' "$path"; fi
    done
}
cd "$HOME" || exit 1
find .daytona .harvest/toolchains /tmp/harvest-run -type d -user "$user" ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
kept=(/workspace/.harvest/kept.tar.gz /tmp/harvest-run .npm/_logs .npm/_update-notifier-last-checked .local/state/pnpm/logs .cache/pnpm/logs .cache/git/credential
    .daytona/sessions .harvest/toolchains/*.new)
for path in .npm .local/state/pnpm .cache/pnpm .cache/git; do
    find "$path" -type d -user "$user" ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
done
remove "${kept[@]}"
# The attempt's own has to go: it may hold what no prebuild may.
own=$(find "${kept[@]}" -user "$user" -print -quit 2>/dev/null)
if [ -n "$own" ]; then echo "$own" && exit 1; fi
# What agents, Node and git use there by names that can be known before.
remove /tmp/npm-* /tmp/pnpm-* /tmp/node-compile-cache /tmp/v8-compile-cache* /tmp/claude-* /tmp/cc-* /tmp/node_modules /tmp/package.json \
    /tmp/.git /tmp/.claude /tmp/.mcp.json /tmp/CLAUDE.md /tmp/CLAUDE.local.md /tmp/AGENTS.md
exit 0
