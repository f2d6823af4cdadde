{{- /* What several templates need of the values, made once. */ -}}

{{- /* All pools with everything they are, as JSON. */ -}}
{{- define "harvest.pools" -}}
{{- $pools := dict -}}
{{- range $name, $pool := .Values.workers -}}
{{- if not (kindIs "invalid" $pool) -}}
{{- $_ := set $pools $name (include "harvest.over" (list $.Values.workerDefaults $pool) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- toJson $pools -}}
{{- end -}}

{{- define "harvest.producerToml" -}}
{{- $settings := deepCopy .Values.settings.producer -}}
{{- with .Values.settings.retry }}{{ $_ := set $settings "retry" . }}{{ end -}}
{{- with .Values.settings.lease }}{{ $_ := set $settings "lease" . }}{{ end -}}
{{- with .Values.settings.quota }}{{ $_ := set $settings "quota" . }}{{ end -}}
{{- include "harvest.toml" $settings -}}
{{- end -}}

{{- /* Settings of a pool as an object, as JSON. Takes (root, pool). */ -}}
{{- define "harvest.workerSettings" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
{{- $settings := include "harvest.over" (list $root.Values.settings.worker ($pool.settings | default dict)) | fromJson -}}
{{- $_ := set $settings "slots" $pool.slots -}}
{{- $_ := set $settings "queues" $pool.queues -}}
{{- with $root.Values.settings.retry }}{{ $_ := set $settings "retry" . }}{{ end -}}
{{- with $root.Values.settings.lease }}{{ $_ := set $settings "lease" . }}{{ end -}}
{{- with $root.Values.settings.quota }}{{ $_ := set $settings "quota" . }}{{ end -}}
{{- toJson $settings -}}
{{- end -}}

{{- /* fleet.toml as text; empty when it is a ConfigMap of the user's. */ -}}
{{- define "harvest.fleetToml" -}}
{{- with .Values.fleetFile -}}
{{- if .text -}}
{{ .text }}
{{- else if .repositories -}}
{{- $tables := list -}}
{{- with .defaults }}{{ $tables = append $tables (printf "[defaults]\n%s" (include "harvest.toml.table" (list "defaults" .) | trim)) }}{{ end -}}
{{- range .repositories }}{{ $tables = append $tables (printf "[[repository]]\n%s" (include "harvest.toml.table" (list "repository" .) | trim)) }}{{ end -}}
{{ join "\n\n" $tables }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "harvest.fleetConfigMap" -}}
{{- .Values.fleetFile.existingConfigMap | default (printf "%s-fleet" (include "harvest.fullname" .)) -}}
{{- end -}}

{{- /* Seconds of the drain's deadline. Takes (the settings object, the program's default). */ -}}
{{- define "harvest.drainSeconds" -}}
{{- $drain := (index . 0).drain | default dict -}}
{{- include "harvest.seconds" ($drain.deadline | default (index . 1)) -}}
{{- end -}}

{{- /* Takes (explicit or null, the drain's seconds). */ -}}
{{- define "harvest.gracePeriod" -}}
{{- $explicit := index . 0 -}}
{{- if kindIs "invalid" $explicit -}}
{{- add (index . 1 | atoi) (include "harvest.drainMargin" . | atoi) -}}
{{- else -}}
{{- int $explicit -}}
{{- end -}}
{{- end -}}

{{- /* [{variable, secret, key}] of a list of {name, keys}, as JSON under "items". */ -}}
{{- define "harvest.secretVariables" -}}
{{- $items := list -}}
{{- range . -}}
{{- $secret := .name -}}
{{- range .keys -}}
{{- if kindIs "string" . -}}
{{- $items = append $items (dict "variable" . "secret" $secret "key" .) -}}
{{- else -}}
{{- $items = append $items (dict "variable" .variable "secret" $secret "key" .key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "items" $items | toJson -}}
{{- end -}}

{{- define "harvest.variableFromSecret" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{- /* The secret that RabbitMQ's URL is in: for messages. */ -}}
{{- define "harvest.amqpSecret" -}}
{{- .Values.amqp.existingSecret.name | default (printf "%s-default-user" .Values.amqp.clusterOperator.name) -}}
{{- end -}}
