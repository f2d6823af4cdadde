# Removes each lockfile that is not as it was and prints its name. By no git: it would do what the repository told it.
cd -- "$HARVEST_PATH" || exit 1
while read -r sum name; do
    [ -n "$name" ] || continue
    if [ -f "$name" ] && [ ! -L "$name" ] && [ "$(sha256sum <"$name" | cut -c 1-64)" = "$sum" ]; then continue; fi
    rm -rf -- "$name" || exit 1
    printf '%s\n' "$name"
done <<<"$HARVEST_SUMS"
exit 0
