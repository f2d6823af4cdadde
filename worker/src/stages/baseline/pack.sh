# Packs it all into one file, before anything of the repository has run.
umask 077
rm -rf -- "$harvest/kept" && mkdir -p -- "$harvest/kept" || exit 1
in_home | tar --create --file "$harvest/kept/home.tar" --directory "$HOME" --null --files-from - || exit 1
in_git | tar --create --file "$harvest/kept/git.tar" --directory "$git_folder" --no-recursion --null --files-from - || exit 1
# The checkout is fresh: every other `.git` in it is a submodule's, also those of submodules of submodules.
{ cd -- "$HARVEST_PATH" && find . -mindepth 2 -name .git -prune -print0; } | tar --create --file "$harvest/kept/nested.tar" --directory "$HARVEST_PATH" --no-recursion --null --files-from - || exit 1
cd -- "$harvest/kept" && tar --create --gzip --file all.tar.gz home.tar git.tar nested.tar
