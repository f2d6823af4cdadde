# Prints each file that is there, a line each: name, tab, base64 of its beginning. Nothing outside the checkout is read.
cd -- "$HARVEST_PATH" || exit 1
root=$(pwd -P)
show() {
    [ -f "$1" ] || return 0
    real=$(realpath -e -- "$1" 2>/dev/null) || return 0
    case $real in "$root"/*) ;; *) return 0 ;; esac
    printf '%s\t' "$1"
    head -c "$2" -- "$1" | base64 -w0
    echo
}
show package.json 1048576
for name in .harvest.toml .nvmrc .node-version .tool-versions mise.toml .mise.toml pnpm-workspace.yaml Dockerfile; do
    show "$name" 65536
done
for name in package-lock.json npm-shrinkwrap.json pnpm-lock.yaml yarn.lock bun.lock bun.lockb; do
    show "$name" 2048
done
for name in .npmrc .yarnrc.yml pyproject.toml requirements.txt Pipfile Cargo.toml go.mod Gemfile pom.xml build.gradle \
    build.gradle.kts composer.json deno.json mix.exs; do
    show "$name" 1
done
printf 'node\t'
PATH=$HARVEST_IMAGE_PATH
node --version 2>/dev/null | head -c 64 | base64 -w0
echo
