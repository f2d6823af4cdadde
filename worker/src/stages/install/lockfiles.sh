# Puts each tracked lockfile back as committed and prints its SHA-256.
cd -- "$HARVEST_PATH" || exit 1
for name in package-lock.json npm-shrinkwrap.json pnpm-lock.yaml; do
    git ls-files --error-unmatch -- "$name" >/dev/null 2>&1 || continue
    git diff --quiet HEAD -- "$name" 2>/dev/null || git checkout --quiet HEAD -- "$name" || exit 1
    sha256sum -- "$name" || exit 1
done
exit 0
