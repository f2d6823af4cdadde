# Puts it all back as it was before anything of the repository had run. Exit 60: prints what cannot be put back.
# Nothing of the repository runs any more; what it left may be closed, linked elsewhere, or something else altogether.
umask 022
open_folders() { find "$@" -type d ! -perm -700 -exec chmod u+rwx {} \; 2>/dev/null; }
remove() {
    open_folders "$1"
    rm -rf -- "$1"
}
# Makes a folder, and those above it, ones that can be worked in. Not through a link: what lies behind it is somebody else's.
reach() {
    case $1 in */*) reach "${1%/*}" ;; esac
    if [ -L "$1" ]; then rm -f -- "$1"; elif [ -d "$1" ]; then chmod u+rwx -- "$1"; fi
}
reach "$git_folder/objects" 2>/dev/null
for folder in "$HARVEST_PATH" "$git_folder" "$git_folder/objects"; do
    if [ ! -d "$folder" ] || [ -L "$folder" ]; then echo "$folder" && exit 60; fi
done
cd -- "$HOME" || exit 1
for name in "${home_folders[@]}" .local/lib; do
    case $name in */*) reach "${name%/*}" ;; esac
    # What is kept as a folder is looked into, and so has to be one that can be.
    if [ ! -L "$name" ]; then open_folders "$name"; fi
done
in_home | while IFS= read -r -d '' name; do remove "$name"; done
cd -- "$harvest" && remove kept && mkdir kept && tar --extract --gzip --file kept.tar.gz --directory kept || exit 1
cd -- "$git_folder" || exit 1
open_folders .
tar --list --file "$harvest/kept/git.tar" | grep --quiet '^\./modules/' || remove modules
find . "${is_data[@]}" -prune -o ! -type d -exec rm -f -- {} + || { echo "$git_folder"; exit 60; }
# Other objects' folders, and lists that only make git quicker.
remove objects/info
remove /workspace/.git

tar --extract --preserve-permissions --file "$harvest/kept/home.tar" --directory "$HOME" || exit 1
tar --extract --preserve-permissions --file "$harvest/kept/git.tar" --directory "$git_folder" || exit 1

# Repositories in the middle of the checkout, where git of a session would find them before its own.
export GIT_OPTIONAL_LOCKS=0
cd -- "$HARVEST_PATH" || exit 1
git ls-files -z | sed --null-data --quiet ':up; s|/[^/]*$||p; t up' | sort --zero-terminated --unique | while IFS= read -r -d '' folder; do
    if [ -d "$folder" ] && { [ -e "$folder/.git" ] || [ -L "$folder/.git" ]; }; then remove "$folder/.git"; fi
done
tar --list --quoting-style=literal --file "$harvest/kept/nested.tar" 2>/dev/null | while IFS= read -r name; do remove "$name"; done
tar --extract --preserve-permissions --file "$harvest/kept/nested.tar" || exit 1
rm -rf -- "$harvest/kept" "$harvest/kept.tar.gz"

# Programs of the user's that would be run in place of root's of the same name. A toolchain's own may stand before the image's.
cd -- "$HOME" || exit 1
for folder in "${program_folders[@]}"; do
    reach "$folder"
    for program in "$folder"/* "$folder"/.[!.]*; do
        name=${program##*/}
        case $name in
        node | npm | npx | corepack | pnpm | pnpx | yarn | yarnpkg | python* | pip* | uv | uvx) continue ;;
        # Run by git, agents and shells wherever they find them, also where root has none.
        git-* | ssh | ssh-* | gpg* | gh | rg | less | lesspipe | more | pager | editor | vi | vim | nano | zsh | fish | tmux | docker | docker-* | \
            security | xdg-open | command-not-found)
            remove "$program"
            continue
            ;;
        esac
        for root in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
            if [ -e "$root/$name" ] || [ -L "$root/$name" ]; then
                remove "$program"
                break
            fi
        done
    done
done
exit 0
