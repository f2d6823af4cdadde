# Removes what an attempt leaves beside the checkout: runs, logs, credentials. Caches are leftovers.sh's.
# What steers git, shells and agents, hidden files of the home among it, has been put back before.
shopt -s nullglob dotglob
cd "$HOME" || exit 1
find .npm .local/state/pnpm .cache/pnpm .cache/git .daytona .harvest/toolchains /tmp/harvest-run -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
rm -rf -- /workspace/.harvest/kept.tar.gz /tmp/harvest-run .npm/_logs .npm/_update-notifier-last-checked .local/state/pnpm/logs .cache/pnpm/logs .cache/git/credential \
    .daytona/sessions .harvest/toolchains/*.new || exit 1
# What agents, Node and git use there by names that can be known before. A base's own may be root's, and stays.
rm -rf -- /tmp/npm-* /tmp/pnpm-* /tmp/node-compile-cache /tmp/v8-compile-cache* /tmp/claude-* /tmp/cc-* /tmp/node_modules /tmp/package.json \
    /tmp/.git /tmp/.claude /tmp/.mcp.json /tmp/CLAUDE.md /tmp/CLAUDE.local.md /tmp/AGENTS.md 2>/dev/null
exit 0
