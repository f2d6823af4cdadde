# shellcheck disable=SC2034,SC2317 # Not every script that this stands before uses all of it.
export LC_ALL=C GIT_OPTIONAL_LOCKS=0
# What is put back before the capture, each by its place: settings and start files of the home, and of git all that is no data.
# Found by their kind, as harvest-sync does: hidden files of the home itself and all of ~/.config, and these folders beside them.
user=$(id -u)
home_folders=(
    .config .git .ssh .gnupg .pki .aws .azure .kube .docker .vim .emacs.d .tmux .pip .bundle .ipython .node_modules .node_libraries
    .npm-global/etc .cargo/config .cargo/config.toml .cargo/credentials .cargo/credentials.toml .gradle/init.d .gradle/gradle.properties
    .m2/settings.xml .m2/extensions.xml .cache/chrome-devtools-mcp .cache/claude-cli-nodejs .claude .mcp-memory
    .local/share/applications .local/share/bash-completion .local/share/claude .local/share/fish .local/share/gh .local/share/keyrings
    .local/share/nvim .local/share/zsh
)
# Folders of the home whose programs are found before root's.
program_folders=(.harvest/bin .npm-global/bin .local/bin bin)
git_folder=$HARVEST_PATH/.git
harvest=/workspace/.harvest
# Relative to the git folder: objects, however many, in the repository and in its submodules'.
is_data=(-type d '(' -path ./objects -o -path ./lfs -o -path './modules/*/objects' -o -path './modules/*/lfs' ')')
in_home() {
    cd -- "$HOME" || return
    for name in .*; do
        if [ -L "$name" ] || { [ -e "$name" ] && [ ! -d "$name" ]; }; then printf '%s\0' "$name"; fi
    done
    # What Python runs at every start, whatever it was started for.
    for name in "${home_folders[@]}" .local/lib/python*/site-packages/{*.pth,.*.pth,*.start,.*.start,sitecustomize*,usercustomize*}; do
        if [ ! -e "$name" ] && [ ! -L "$name" ]; then continue; fi
        # A link at the top is among the files above.
        case $name in */*) ;; *) if [ -L "$name" ]; then continue; fi ;; esac
        case $name in *.pth) if only_adds_paths "$name"; then continue; fi ;; esac
        # What is another's (root's, in a base image) the user can neither have changed nor put back.
        if [ -n "$(find "$name" ! -user "$user" -print -quit 2>/dev/null)" ]; then
            find "$name" ! -type d -user "$user" -print0 2>/dev/null
        else
            printf '%s\0' "$name"
        fi
    done
}
# Python runs the lines of a .pth file that begin with an import; every other names a folder that is looked in after its own, also
# for what it runs at every start.
only_adds_paths() {
    [ -f "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %s -- "$1")" -lt 65536 ] || return
    if grep --quiet --text -e 'import[[:blank:]]' -- "$1"; then return 1; fi
    while IFS= read -r folder || [ -n "$folder" ]; do
        case $folder in /*) ;; *) folder=${1%/*}/$folder ;; esac
        for program in "$folder"/{sitecustomize,usercustomize}*; do
            if [ -e "$program" ] || [ -L "$program" ]; then return 1; fi
        done
    done < <(tr '\r\v\f\034\035\036' '\n' <"$1" | tr -d '\000')
}
in_git() { cd -- "$git_folder" && find . "${is_data[@]}" -prune -o ! -type d -print0; }
# The `.git` of submodules, and of any other folder that git has something of: there a session's git would find it before the
# checkout's own. One in a folder that git knows nothing of is a clone that install or build made, and stays.
in_checkout() {
    cd -- "$HARVEST_PATH" || return
    {
        git ls-files --stage -z | sed --null-data --quiet 's|^160000 [^\t]*\t||p'
        git ls-files -z | sed --null-data --quiet ':up; s|/[^/]*$||p; t up'
    } | sort --zero-terminated --unique | while IFS= read -r -d '' folder; do
        if [ -d "$folder" ] && [ ! -L "$folder" ] && { [ -e "$folder/.git" ] || [ -L "$folder/.git" ]; }; then printf './%s/.git\0' "$folder"; fi
    done
}
