# Puts each tracked lockfile back as committed. Install has run: this git does what the repository told it, and is told nothing.
cd -- "$HARVEST_PATH" || exit 1
for name in package-lock.json npm-shrinkwrap.json pnpm-lock.yaml; do
    git ls-files --error-unmatch -- "$name" >/dev/null 2>&1 || continue
    git diff --quiet HEAD -- "$name" 2>/dev/null || git checkout --quiet HEAD -- "$name" || exit 1
done
exit 0
