# The bytes on disk of what a build can write to; a file with several names counts once.
du -sxc --block-size=1 -- /workspace "$HOME" /tmp 2>/dev/null | tail -n 1 | cut -f 1
