# Prints the SHA-256 of each tracked lockfile, before anything of the repository has run.
cd -- "$HARVEST_PATH" || exit 1
for name in package-lock.json npm-shrinkwrap.json pnpm-lock.yaml; do
    if [ ! -f "$name" ] || [ -L "$name" ]; then continue; fi
    git ls-files --error-unmatch -- "$name" >/dev/null 2>&1 || continue
    sha256sum -- "$name" || exit 1
done
exit 0
