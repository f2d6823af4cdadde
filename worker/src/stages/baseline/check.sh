# Holds the toolchain against what was written down of it. Prints each file that is another, or gone; exit 61 where there are any.
cd -- "$HOME" || exit 1
sums=$harvest/tools.sha256 links=$harvest/tools.links
[ -f "$sums" ] && [ ! -L "$sums" ] && [ -f "$links" ] && [ ! -L "$links" ] || exit 1
printf 'tools=%s\n' "$(cat -- "$sums" "$links" | sha256sum | cut -c 1-64)"
other=0
# What is no file any more is not opened: a pipe in its place would never end. Names that sha256sum had to escape are left to it.
while IFS= read -r line; do
    file=${line#*  }
    case $line in \\*) continue ;; esac
    if [ ! -f "$file" ]; then printf '%s: NO FILE\n' "$file" && other=1; fi
done <"$sums"
if [ "$other" = 0 ] && [ -s "$sums" ]; then
    failed=$(sha256sum --check --quiet -- "$sums" 2>/dev/null | head -n 20)
    if [ -n "$failed" ]; then printf '%s\n' "$failed" && other=1; fi
fi
while IFS= read -r -d '' name && IFS= read -r -d '' target; do
    if [ ! -L "$name" ] || [ "$(readlink -- "$name"; echo .)" != "$target"$'\n.' ]; then
        printf '%s: LINK\n' "$name"
        other=1
    fi
done <"$links"
[ "$other" = 0 ] || exit 61
