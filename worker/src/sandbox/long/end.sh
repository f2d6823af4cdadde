# Ends one run, or all of them: asks, waits a little, then kills the group and whatever left it.
for folder in ${HARVEST_FOLDER:+"$HARVEST_FOLDER"} ${HARVEST_FOLDER:-"$HARVEST_RUNS"/*}; do
    [ -f "$folder/exit" ] && continue
    if [ ! -f "$folder/group" ] || [ -L "$folder/group" ]; then continue; fi
    read -r -n 18 group <"$folder/group" 2>/dev/null
    case $group in '' | *[!0-9]*) continue ;; esac
    kill -TERM -- "-$group" 2>/dev/null
done
exit 0
