# Prints all that is put back, each field ended by a zero byte: what git has staged, then name, type, mode and target, then sums.
exec 2>/dev/null
set -o pipefail
staged=$(cd -- "$HARVEST_PATH" && git ls-files --stage -v -z | sha256sum | cut -c 1-64) || exit 1
set +o pipefail
printf '%s\0' "$staged"
# Links are taken by what they say, folders by what is in them.
describe() { xargs --null --no-run-if-empty sh -c 'find "$@" ! -type d -printf "%p\0%y\0%m\0%l\0"' find; }
sums() { xargs --null --no-run-if-empty sh -c 'find "$@" -type f -exec sha256sum --zero -- {} +' find; }
without_index() { grep --null-data --invert-match --line-regexp -e '\./index' -e '.*\.lock' -e '\./modules/.*/index'; }
for area in home git checkout; do
    list() { case $area in home) in_home ;; git) in_git | without_index ;; checkout) in_checkout ;; esac; }
    case $area in home) cd -- "$HOME" ;; git) cd -- "$git_folder" ;; checkout) cd -- "$HARVEST_PATH" ;; esac || exit 1
    printf '@%s\0' "$area"
    list | describe
    printf '#%s\0' "$area"
    list | sums
done
