# Ends one run, or all of them: asks, waits a little, then kills the group and whatever left it.
for folder in ${HARVEST_FOLDER:+"$HARVEST_FOLDER"} ${HARVEST_FOLDER:-"$HARVEST_RUNS"/*}; do
    [ -f "$folder/exit" ] && continue
    group=$(cat "$folder/group" 2>/dev/null)
    [ -n "$group" ] || continue
    kill -TERM -- "-$group" 2>/dev/null
done
exit 0
