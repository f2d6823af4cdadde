{{- /*
TOML that the programs' loader takes. Helm's own toToml does not do: numbers of values files are floats to it, and `4.0` or
`1.08e+07` is not what a knob of whole numbers may be.
*/ -}}

{{- define "harvest.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ include "harvest.toml.value" . }}{{ end -}}
{{- end -}}

{{- /* A JSON text is a TOML basic string, but for DEL. */ -}}
{{- define "harvest.toml.value" -}}
{{- if kindIs "string" . -}}
{{ . | toRawJson | replace "\x7f" "\\u007F" }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "harvest.toml.value" .) }}{{ end -}}
[{{ join ", " $items }}]
{{- else if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $pairs = append $pairs (printf "%s = %s" (include "harvest.toml.key" $key) (include "harvest.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{{- if $pairs }}{ {{ join ", " $pairs }} }{{ else }}{}{{ end -}}
{{- else if eq (float64 .) (floor .) -}}
{{ printf "%.0f" (float64 .) }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{- /* A table and those in it. Takes (its path, the table): plain keys come first, or they would be of the last table. */ -}}
{{- define "harvest.toml.table" -}}
{{- $path := index . 0 -}}
{{- $table := index . 1 -}}
{{- range $key, $value := $table -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) -}}
{{ include "harvest.toml.key" $key }} = {{ include "harvest.toml.value" $value }}
{{ end -}}
{{- end -}}
{{- range $key, $value := $table -}}
{{- if kindIs "map" $value -}}
{{- $below := ternary (include "harvest.toml.key" $key) (printf "%s.%s" $path (include "harvest.toml.key" $key)) (eq $path "") }}
[{{ $below }}]
{{ include "harvest.toml.table" (list $below $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A whole file. */ -}}
{{- define "harvest.toml" -}}
{{ include "harvest.toml.table" (list "" .) | trim }}
{{- end -}}

{{- /*
One object over another, as JSON: objects key by key, all else as a whole; null takes away. Not sprig's mergeOverwrite, which
lets neither false nor 0 nor an empty list win. Takes (below, above).
*/ -}}
{{- define "harvest.over" -}}
{{- $result := deepCopy (index . 0) -}}
{{- range $key, $value := index . 1 -}}
{{- $below := get $result $key -}}
{{- if kindIs "invalid" $value -}}
{{- $result = unset $result $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $_ := set $result $key (include "harvest.over" (list $below $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $result $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}
