# shellcheck disable=SC2034,SC2317 # Not every script that this stands before uses all of it.
# What is put back before the capture, each by its place: settings and start files of the home, and of git all that is no data.
# Found by their kind, as harvest-sync does: hidden files of the home itself and all of ~/.config, and these folders beside them.
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
    for name in "${home_folders[@]}" .local/lib/python*/site-packages/{*.pth,sitecustomize*,usercustomize*}; do
        # A link at the top is among the files above.
        if [ -e "$name" ] || [ -L "$name" ]; then case $name in */*) true ;; *) [ ! -L "$name" ] ;; esac && printf '%s\0' "$name"; fi
    done
}
in_git() { cd -- "$git_folder" && find . "${is_data[@]}" -prune -o ! -type d -print0; }
# The `.git` of each submodule: the checkout is fresh, and has no others. Folders that install or build closed are passed over.
in_checkout() { cd -- "$HARVEST_PATH" && find . -mindepth 2 -name .git -prune -print0 2>/dev/null; }
