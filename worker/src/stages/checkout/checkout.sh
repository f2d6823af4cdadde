# Brings one commit of one branch into one folder. Exit 90: the commit is gone; 92: LFS or a submodule is missing; 93: a
# submodule has a name that this version cannot keep.
export GIT_TERMINAL_PROMPT=0 GIT_LFS_SKIP_SMUDGE=1 LC_ALL=C
url=$HARVEST_URL branch=$HARVEST_BRANCH commit=$HARVEST_COMMIT path=$HARVEST_PATH
filter=$HARVEST_FILTER sparse=$HARVEST_SPARSE lfs=$HARVEST_LFS submodules=$HARVEST_SUBMODULES
token=$HARVEST_TOKEN token_user=$HARVEST_TOKEN_USER token_urls=$HARVEST_TOKEN_URLS token_header=$HARVEST_TOKEN_HEADER
unset HARVEST_URL HARVEST_BRANCH HARVEST_COMMIT HARVEST_PATH HARVEST_FILTER HARVEST_SPARSE HARVEST_LFS HARVEST_SUBMODULES
unset HARVEST_TOKEN HARVEST_TOKEN_USER HARVEST_TOKEN_URLS HARVEST_TOKEN_HEADER
set -e -f
# No helper may keep the token, and none of the sandbox's own may be asked. No hook runs, wherever a repository puts one.
git() { command git -c credential.helper= -c advice.detachedHead=false -c gc.auto=0 -c core.hooksPath=/dev/null "$@"; }

# Git with the token as a header for one URL: the repository's own, in both spellings, or that of its LFS objects.
git_at() {
    local at=${1%.git}
    shift
    if [ -z "$token" ]; then git "$@"; return; fi
    GIT_ALLOW_PROTOCOL=https:http \
        GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=http.followRedirects GIT_CONFIG_VALUE_0=false \
        GIT_CONFIG_KEY_1="http.$at.extraHeader" GIT_CONFIG_VALUE_1=$token_header \
        GIT_CONFIG_KEY_2="http.$at.git.extraHeader" GIT_CONFIG_VALUE_2=$token_header \
        git "$@"
}

# Git with the token for exactly the URLs that fleet.toml names: a repository's files choose what is fetched here, and a header
# would also go to what lies beneath a URL, such as <url>/..%2fanother.git. The helper is asked when a host refuses.
# shellcheck disable=SC2016
helper='!f() { [ "$1" = get ] || return 0; set -f; protocol= host= path=
    while IFS="=" read -r key value; do case $key in protocol) protocol=$value ;; host) host=$value ;; path) path=$value ;; esac; done
    host=$(printf %s "$host" | tr A-Z a-z)
    case $protocol in https) host=${host%:443} ;; http) host=${host%:80} ;; esac
    path=${path%/}
    for url in $HARVEST_TOKEN_URLS; do
        [ "$protocol://$host/${path%.git}" != "$url" ] || printf "username=%s\npassword=%s\n" "$HARVEST_TOKEN_USER" "$HARVEST_TOKEN"
    done; }; f'
git_at_named() {
    # Never a command (ext::), never a folder of this machine.
    local -x GIT_ALLOW_PROTOCOL=https:http:git:ssh
    if [ -z "$token" ]; then git "$@"; return; fi
    HARVEST_TOKEN=$token HARVEST_TOKEN_USER=$token_user HARVEST_TOKEN_URLS=$token_urls \
        GIT_CONFIG_COUNT=6 GIT_CONFIG_KEY_0=http.followRedirects GIT_CONFIG_VALUE_0=false \
        GIT_CONFIG_KEY_1=credential.helper GIT_CONFIG_VALUE_1='' \
        GIT_CONFIG_KEY_2=credential.helper GIT_CONFIG_VALUE_2=$helper \
        GIT_CONFIG_KEY_3=credential.useHttpPath GIT_CONFIG_VALUE_3=true \
        GIT_CONFIG_KEY_4=gc.auto GIT_CONFIG_VALUE_4=0 \
        GIT_CONFIG_KEY_5=core.hooksPath GIT_CONFIG_VALUE_5=/dev/null \
        command git "$@"
}

# What git said, and after a refused redirect also where it led: git does not name the place, so it is asked to show its traffic
# (without credentials, which it hides). Arguments: what was said, then git with the token for what was asked.
say() {
    local said=$1 at
    shift
    printf '%s\n' "$said"
    at=$(printf '%s\n' "$said" | sed -n "s|.*unable to access '\(https*://[^']*\)': The requested URL returned error: 30.*|\1|p" | tail -n 1)
    [ -n "$at" ] || return 0
    GIT_TRACE_CURL=1 GIT_TRACE_CURL_NO_DATA=1 "$@" ls-remote -- "${at%/}" HEAD 2>&1 |
        sed -n 's|.*[Rr]ecv header: [Ll]ocation: \([!-~]*\).*|\1|p' | sed 's|/info/refs.*||' | head -n 1 |
        while read -r place; do printf 'fatal: moved: %s redirects to %s\n' "${at%/}" "$place"; done
}

mkdir -p -- "$path"
cd -- "$path"
[ -d .git ] || git init --quiet
tracking="refs/remotes/origin/$branch"
git config remote.origin.url "$url"
git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
git config "branch.$branch.remote" origin
git config "branch.$branch.merge" "refs/heads/$branch"

fetch() { git_at "$url" fetch --quiet --no-tags --depth 1 ${filter:+"--filter=$filter"} origin "$1:$tracking"; }
if ! git cat-file -e "$commit^{commit}" 2>/dev/null || [ "$(git rev-parse --quiet --verify "$tracking" || true)" != "$commit" ]; then
    if ! said=$(fetch "+$commit" 2>&1); then
        case $said in
        *"not our ref"* | *"unadvertised object"* | *"couldn't find remote ref"* | *"expected shallow"*)
            # This host gives away only what a ref points at: take the branch and see whether it is still there.
            if ! said=$(fetch "+refs/heads/$branch" 2>&1); then
                case $said in *"couldn't find remote ref"*) exit 90 ;; esac
                say "$said" git_at "$url"
                exit 1
            fi
            [ "$(git rev-parse "$tracking")" = "$commit" ] || exit 90
            ;;
        *)
            say "$said" git_at "$url"
            exit 1
            ;;
        esac
    fi
fi

# A partial clone fetches what is missing when it is written out: from the same URL, with the same token.
if [ -n "$sparse" ]; then
    printf '%s' "$sparse" | git_at "$url" sparse-checkout set --cone --stdin
fi
if [ "$lfs" = yes ]; then
    # It writes its hooks, for sessions.
    command git lfs install --local --skip-smudge >/dev/null || exit 92
fi
git symbolic-ref HEAD "refs/heads/$branch"
git_at "$url" reset --quiet --hard "$commit"
git clean --quiet -ffd
if [ "$lfs" = yes ]; then
    # The repository's .lfsconfig may name another place. It gets the token only if it is the repository's own, or named.
    place=
    if [ -f .lfsconfig ]; then
        place=$(git config --file .lfsconfig --get lfs.url || git config --file .lfsconfig --get remote.origin.lfsurl || true)
    fi
    repository=$url
    if [ -n "$place" ]; then
        repository=
        for named in $token_urls; do
            case $place in "$named" | "$named.git" | "$named/info/lfs" | "$named.git/info/lfs") repository=$named ;; esac
        done
    fi
    if [ -n "$token" ] && [ -n "$repository" ]; then
        git_at "$repository" -c "lfs.url=${place:-${url%.git}.git/info/lfs}" lfs pull || exit 92
    else
        git lfs pull || exit 92
    fi
fi
if [ "$submodules" = yes ]; then
    git submodule --quiet sync --recursive || exit 92
    if ! said=$(git_at_named submodule --quiet update --init --recursive --force --depth 1 --jobs 4 2>&1); then
        say "$said" git_at_named
        exit 92
    fi
    # Named like the folder that git keeps objects in: the two could not be told apart when the checkout is put back.
    named=$(find .git/modules '(' -path '*/objects/HEAD' -o -path '*/lfs/HEAD' ')' -print -quit)
    if [ -n "$named" ]; then printf '%s\n' "${named%/HEAD}" && exit 93; fi
fi
[ "$(git rev-parse HEAD)" = "$commit" ]
