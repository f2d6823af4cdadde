# Prints how a run stands: one line of facts, an empty line, the end of its output.
cd "$HARVEST_FOLDER" 2>/dev/null || { echo "state=vanished"; echo; exit 0; }
read_file() { cat "$1" 2>/dev/null; }
supervisor=$(read_file supervisor)
state=starting
if [ -n "$supervisor" ]; then
    # Asked before `exit` is looked for: one that ends in between is not taken for one that vanished.
    state=vanished
    kill -0 "$supervisor" 2>/dev/null && state=running
fi
code='' bytes=4096
elapsed=$(($(date +%s) - $(read_file started || date +%s)))
if [ -f exit ]; then
    state=ended
    read -r code elapsed <./exit
    bytes=131072
fi
kills=$(read_file kills_after || sed -n 's/^oom_kill //p' /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null | head -n 1)
turns=$(read_file turns)
before=$(stat -c %s earlier 2>/dev/null || echo 0)
now=$(stat -c %s output 2>/dev/null || echo 0)
free=$(df -Pk "$HARVEST_CWD" 2>/dev/null | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p')
echo "state=$state code=$code elapsed=$elapsed output=$((${turns:-0} * before + now)) shown=$bytes kills=$(read_file kills_before)/$kills free_kib=$free"
echo
cat earlier output 2>/dev/null | tail -c "$bytes"
