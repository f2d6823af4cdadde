# What a plain shell and a login shell find: a line for each tool, `<shell> <tool> <version> <path>`.
PATH=$HARVEST_IMAGE_PATH
for tool in node npm pnpm; do
    printf 'plain %s %s %s\n' "$tool" "$($tool --version 2>/dev/null </dev/null | tail -n 1)" "$(command -v $tool)"
done
bash -lc 'for tool in node npm pnpm; do
    printf "login %s %s %s\n" "$tool" "$($tool --version 2>/dev/null </dev/null | tail -n 1)" "$(command -v $tool)"
done' </dev/null 2>/dev/null
exit 0
