# Brings one commit of one branch into one folder. Exit 90: the commit is gone; 92: LFS or a submodule is missing.
export GIT_TERMINAL_PROMPT=0 GIT_LFS_SKIP_SMUDGE=1 LC_ALL=C
url=$HARVEST_URL branch=$HARVEST_BRANCH commit=$HARVEST_COMMIT path=$HARVEST_PATH
filter=$HARVEST_FILTER sparse=$HARVEST_SPARSE lfs=$HARVEST_LFS submodules=$HARVEST_SUBMODULES
unset HARVEST_URL HARVEST_BRANCH HARVEST_COMMIT HARVEST_PATH HARVEST_FILTER HARVEST_SPARSE HARVEST_LFS HARVEST_SUBMODULES
set -e
# No helper may keep the token, and none of the sandbox's own may be asked.
git() { command git -c credential.helper= -c advice.detachedHead=false -c gc.auto=0 "$@"; }

mkdir -p -- "$path"
cd -- "$path"
[ -d .git ] || git init --quiet
tracking="refs/remotes/origin/$branch"
git config remote.origin.url "$url"
git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
git config "branch.$branch.remote" origin
git config "branch.$branch.merge" "refs/heads/$branch"

fetch() { git fetch --quiet --no-tags --depth 1 ${filter:+"--filter=$filter"} origin "$1:$tracking"; }
if ! git cat-file -e "$commit^{commit}" 2>/dev/null || [ "$(git rev-parse --quiet --verify "$tracking" || true)" != "$commit" ]; then
    if ! said=$(fetch "+$commit" 2>&1); then
        case $said in
        *"not our ref"* | *"unadvertised object"* | *"couldn't find remote ref"* | *"expected shallow"*)
            # This host gives away only what a ref points at: take the branch and see whether it is still there.
            if ! said=$(fetch "+refs/heads/$branch" 2>&1); then
                case $said in *"couldn't find remote ref"*) exit 90 ;; esac
                printf '%s\n' "$said"
                exit 1
            fi
            [ "$(git rev-parse "$tracking")" = "$commit" ] || exit 90
            ;;
        *)
            printf '%s\n' "$said"
            exit 1
            ;;
        esac
    fi
fi

if [ -n "$sparse" ]; then
    printf '%s' "$sparse" | git sparse-checkout set --cone --stdin
fi
if [ "$lfs" = yes ]; then
    git lfs install --local --skip-smudge >/dev/null || exit 92
fi
git symbolic-ref HEAD "refs/heads/$branch"
git reset --quiet --hard "$commit"
git clean --quiet -ffd
if [ "$lfs" = yes ]; then
    git lfs pull || exit 92
fi
if [ "$submodules" = yes ]; then
    git submodule --quiet sync --recursive
    git submodule --quiet update --init --recursive --force --depth 1 --jobs 4 || exit 92
fi
[ "$(git rev-parse HEAD)" = "$commit" ]
