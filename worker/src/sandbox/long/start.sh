# Starts the supervisor detached, unless this run has been started before.
umask 077
mkdir -p "${HARVEST_FOLDER%/*}" || exit 1
if ! mkdir "$HARVEST_FOLDER" 2>/dev/null; then
    [ -d "$HARVEST_FOLDER" ] && exit 0
    echo "cannot make $HARVEST_FOLDER"
    exit 1
fi
setsid bash -c "$HARVEST_SUPERVISOR" harvest-supervisor </dev/null >/dev/null 2>&1 &
exit 0
