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
    if [ -d "$1" ] && [ ! -L "$1" ]; then chmod u+rwx -- "$1" 2>/dev/null; else rm -f -- "$1"; fi
}
# Takes folders away that stand where the archive has files, and extracts it there.
extract() {
    tar --list --quoting-style=literal --file "$1" | while IFS= read -r name; do
        case $name in */) continue ;; esac
        if [ -d "$2/$name" ] && [ ! -L "$2/$name" ]; then remove "$2/$name"; fi
    done
    tar --extract --preserve-permissions --file "$1" --directory "$2"
}
# One at a time: a step whose answer was lost is asked for again, maybe while it still goes on.
exec 9<"$harvest/kept.tar.gz" && flock --wait 50 9 || exit 1
# A pipe or a socket has nobody at its other end any more, and holds up whoever opens it.
find "$HARVEST_PATH" "$HOME" /tmp /var/tmp -xdev '(' -type p -o -type s ')' -exec rm -f -- {} + 2>/dev/null
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
# Objects are files in folders; links among them, and devices, are somebody else's.
find objects lfs modules ! -type f ! -type d -exec rm -f -- {} + 2>/dev/null
# Other objects' folders, lists that only make git quicker, and what says that something is half done.
for name in objects/info rebase-apply rebase-merge sequencer worktrees /workspace/.git; do remove "$name"; done

extract "$harvest/kept/home.tar" "$HOME" && extract "$harvest/kept/git.tar" "$git_folder" || exit 1

cd -- "$HARVEST_PATH" || exit 1
in_checkout | while IFS= read -r -d '' name; do remove "$name"; done
tar --list --quoting-style=literal --file "$harvest/kept/nested.tar" 2>/dev/null | while IFS= read -r name; do remove "$name"; done
extract "$harvest/kept/nested.tar" . || exit 1
rm -rf -- "$harvest/kept"
# The objects of the commit: without them the right refs are worth nothing. A partial clone fetches files when they are asked for.
wanted=(rev-list --objects --max-count=1 HEAD)
if [ -n "$(git config remote.origin.promisor)$(git config extensions.partialClone)" ]; then wanted=(cat-file -e 'HEAD^{tree}'); fi
GIT_ALLOW_PROTOCOL=none timeout 40 git "${wanted[@]}" >/dev/null 2>&1 || { echo "$git_folder/objects"; exit 60; }

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
