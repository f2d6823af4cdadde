# Removes each leftover that HARVEST_DROP names. Whatever is not there is no mistake; what a base has and root owns stays.
drop() {
    find "$@" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null
    rm -rf -- "$@" 2>/dev/null
}
# The folders of this name beside or in a node_modules of the checkout, without a walk through any node_modules.
beside_modules() { find "$HARVEST_PATH" -xdev -name node_modules -type d -prune -print0 2>/dev/null; }
# What of a folder belongs to the commit: that is no leftover.
tracked() { git -C "$1" -c core.fsmonitor=false ls-files -- "$2" 2>/dev/null | head -n 1; }
# Git asks nobody.
export GIT_ALLOW_PROTOCOL=none GIT_NO_LAZY_FETCH=1 GIT_TERMINAL_PROMPT=0
cd "$HOME" || exit 1
for leftover in $HARVEST_DROP; do
    case $leftover in
        npm_cache) drop .npm/_cacache ;;
        node_gyp) drop .cache/node-gyp .node-gyp ;;
        pnpm_metadata) drop .cache/pnpm/metadata* ;;
        pnpm_store) drop .local/share/pnpm/store .pnpm-store ;;
        yarn_cache) drop .cache/yarn ;;
        next_cache)
            while IFS= read -r -d '' modules; do
                [ -d "${modules%/*}/.next/cache" ] && [ ! -L "${modules%/*}/.next" ] && [ -z "$(tracked "${modules%/*}" .next/cache)" ] &&
                    drop "${modules%/*}/.next/cache"
            done < <(beside_modules)
            ;;
        compiler_caches)
            while IFS= read -r -d '' modules; do
                [ -d "$modules/.cache" ] && [ ! -L "$modules/.cache" ] && [ -z "$(tracked "$modules" .cache)" ] && drop "$modules/.cache"
            done < <(beside_modules)
            ;;
        test_browsers) drop .cache/ms-playwright .cache/puppeteer .cache/Cypress ;;
        git_garbage)
            # More than one pack, or an interrupted fetch's: everything that is reachable goes into one.
            (
                cd "$HARVEST_PATH" || exit 0
                find .git/objects/pack -name 'tmp_*' -type f -delete 2>/dev/null
                packs=$(find .git/objects/pack -name '*.pack' -type f 2>/dev/null | wc -l)
                promisor=$(git config --get-regexp '^remote\..*\.promisor$' true; find .git/objects/pack -name '*.promisor' -type f 2>/dev/null)
                [ "$packs" -le 1 ] || [ -n "$promisor" ] || timeout 20 git -c core.hooksPath=/dev/null repack -a -d -q --no-write-bitmap-index 2>/dev/null
            )
            ;;
        *) exit 2 ;;
    esac
done
exit 0
