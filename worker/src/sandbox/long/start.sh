# Starts the supervisor detached, unless this run has been started before.
umask 077
runs=${HARVEST_FOLDER%/*}
# What stands in the way of the folder for runs was put there by an earlier command: its folders are ours to make anew.
if [ -L "$runs" ] || ! { [ -d "$runs" ] && [ -r "$runs" ] && [ -w "$runs" ] && [ -x "$runs" ]; }; then
    chmod -R u+rwx "$runs" 2>/dev/null
    rm -rf -- "$runs"
    mkdir -p -- "$runs" || exit 1
fi
if ! mkdir "$HARVEST_FOLDER" 2>/dev/null; then
    [ -d "$HARVEST_FOLDER" ] && exit 0
    echo "cannot make $HARVEST_FOLDER"
    exit 1
fi
setsid /bin/bash --noprofile --norc -c "$HARVEST_SUPERVISOR" harvest-supervisor </dev/null >/dev/null 2>&1 &
exit 0
