{{- /*
Seconds of a duration as settings write it ("90s", "1h 30m"), rounded up; "invalid" for anything else. The programs take more
(months, fractions); what is not understood here is refused with a message, so that no grace period is guessed.
*/ -}}
{{- define "harvest.seconds" -}}
{{- $text := . | toString -}}
{{- $units := "(?:milliseconds?|millis|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)" -}}
{{- if not (regexMatch (printf "^\\s*(?:[0-9]{1,9}\\s*%s\\s*)+$" $units) $text) -}}
invalid
{{- else -}}
{{- $milliseconds := 0 -}}
{{- range regexFindAll (printf "[0-9]+\\s*%s" $units) $text -1 -}}
{{- $number := regexFind "[0-9]+" . | atoi -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $factor := 1 -}}
{{- if hasPrefix "mi" $unit -}}
{{- $factor = ternary 1 60000 (hasPrefix "milli" $unit) -}}
{{- else if hasPrefix "ms" $unit -}}
{{- $factor = 1 -}}
{{- else if hasPrefix "s" $unit -}}
{{- $factor = 1000 -}}
{{- else if eq $unit "m" -}}
{{- $factor = 60000 -}}
{{- else if hasPrefix "h" $unit -}}
{{- $factor = 3600000 -}}
{{- else -}}
{{- $factor = 86400000 -}}
{{- end -}}
{{- $milliseconds = add $milliseconds (mul $number $factor) -}}
{{- end -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end -}}
{{- end -}}

{{- /* Builds are handed back when the drain's deadline is over. The programs have left 20 s later, whatever is not done by then (FAREWELL of
shared/lifecycle, which a test compares); 10 s more are for a busy node. */ -}}
{{- define "harvest.drainMargin" -}}30{{- end -}}
