# Exit 0: no file holds any of the patterns; 70: the files printed do; anything else: the search itself failed.
patterns() { printenv HARVEST_PATTERNS; }
export LC_ALL=C
# A search that finds nothing in its own patterns would find nothing anywhere.
patterns | grep -qaF -f <(patterns) || exit 71
found=$(grep -rlaFs -f <(patterns) --exclude-dir=harvest-run -- /workspace "$HOME" /tmp /var/tmp 2>/dev/null | head -n 20)
# A name can hold a secret as well.
names=$(find /workspace "$HOME" /tmp -xdev -not -path '/tmp/harvest-run/*' 2>/dev/null | grep -aF -f <(patterns) | head -n 20)
[ -z "$found$names" ] && exit 0
printf '%s\n' "$found" "$names"
exit 70
