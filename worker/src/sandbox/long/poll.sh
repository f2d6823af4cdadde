# Prints how a run stands: one line of facts, an empty line, the end of its output.
# The run's folder is its command's as well: only small regular files are read, and only numbers are believed to be numbers.
cd "$HARVEST_FOLDER" 2>/dev/null || { echo "state=vanished"; echo; exit 0; }
is_file() { [ -f "$1" ] && [ ! -L "$1" ]; }
number() {
    local text=''
    is_file "$1" && read -r -n 18 text <"./$1" 2>/dev/null
    case $text in *[!0-9]*) ;; *) printf '%s' "$text" ;; esac
}
size() {
    if is_file "$1"; then stat -c %s -- "$1" 2>/dev/null || echo 0; else echo 0; fi
}
supervisor=$(number supervisor)
state=starting
if [ -n "$supervisor" ]; then
    # Asked before `exit` is looked for: one that ends in between is not taken for one that vanished.
    state=vanished
    kill -0 "$supervisor" 2>/dev/null && state=running
fi
code='' bytes=4096
now=$(date +%s)
started=$(number started)
elapsed=$((now - 10#${started:-$now}))
if is_file exit; then
    state=ended
    read -r -n 40 code elapsed <./exit 2>/dev/null
    bytes=131072
fi
kills=$(number kills_after)
[ -n "$kills" ] || kills=$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null | head -n 1)
turns=$(number turns)
output=$((10#${turns:-0} * $(size earlier) + $(size output)))
free=$(df -Pk "$HARVEST_CWD" 2>/dev/null | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p')
echo "state=$state code=$code elapsed=$elapsed output=$output shown=$bytes kills=$(number kills_before)/$kills free_kib=$free"
echo
# From the end of each: a file may be as large as its owner says.
for part in earlier output; do
    is_file "$part" && tail -c "$bytes" -- "$part" 2>/dev/null
done | tail -c "$bytes"
