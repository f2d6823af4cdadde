# Runs one command, bounds its output, ends everything it started, and leaves its exit code in a file.
# Secrets are in the environment and stay there: nothing below writes a variable it was given.
folder=$HARVEST_FOLDER script=$HARVEST_SCRIPT cwd=$HARVEST_CWD deadline=$HARVEST_DEADLINE bound=$HARVEST_OUTPUT_BYTES
image_path=$HARVEST_IMAGE_PATH
unset HARVEST_FOLDER HARVEST_SCRIPT HARVEST_CWD HARVEST_DEADLINE HARVEST_OUTPUT_BYTES HARVEST_SUPERVISOR HARVEST_IMAGE_PATH
# Set for this shell alone, so that it read no file: the command's own shells are its own.
unset ZDOTDIR BASH_ENV ENV
umask 077
cd "$folder" || exit 1

put() { printf '%s\n' "$2" >"$folder/$1.new" && mv "$folder/$1.new" "$folder/$1"; }
memory_kills() {
    cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null | sed -n 's/^oom_kill //p' | head -n 1
}
# The newest output is in `output`, what came before in `earlier`: never more than twice the bound.
keep_output() {
    turns=0
    while head -c "$bound" >"$folder/output" && [ "$(stat -c %s "$folder/output")" -eq "$bound" ]; do
        mv "$folder/output" "$folder/earlier" || break
        turns=$((turns + 1))
        put turns "$turns"
    done
    exec cat >/dev/null
}

put kills_before "$(memory_kills)"
put started "$(date +%s)"
put supervisor $$
exec 3> >(keep_output)
keeper=$!
umask 022
if cd "$cwd"; then
    SECONDS=0
    # Only the command itself is looked for where the repository may have put programs.
    HARVEST_RUN=${folder##*/} timeout -k 10 "$deadline" \
        env PATH="$HOME/.harvest/bin:$image_path" /bin/bash -c "$script" </dev/null >&3 2>&1 3>&- &
    group=$!
    put group "$group"
    exec 3>&-
    wait "$group"
    code=$?
else
    echo "there is no folder $cwd" >&3
    exec 3>&-
    code=96
fi
elapsed=$SECONDS

# Whatever is left of it: its process group, and what left the group (a daemon keeps the environment it was started with).
[ -n "$group" ] && kill -KILL -- "-$group" 2>/dev/null
grep -slz "^HARVEST_RUN=${folder##*/}\$" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 | while read -r process; do
    kill -KILL "$process" 2>/dev/null
done
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "$keeper" 2>/dev/null || break
    sleep 0.1
done
put kills_after "$(memory_kills)"
put exit "$code $elapsed"
