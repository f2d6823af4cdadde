# Writes down every program and file of the toolchain: files by their sums, links by their targets.
cd -- "$HOME" || exit 1
folders=()
for folder in .harvest/bin .harvest/toolchains; do if [ -d "$folder" ]; then folders+=("$folder"); fi; done
[ ${#folders[@]} -gt 0 ] || folders=(/nonexistent)
find "${folders[@]}" -type f -print0 2>/dev/null | sort --zero-terminated | xargs --null --no-run-if-empty sha256sum -- >"$harvest/kept/tools.sha256" || exit 1
find "${folders[@]}" -type l -printf '%p\0%l\0' 2>/dev/null >"$harvest/kept/tools.links"
