{{- /* Names, labels, images. */ -}}

{{- define "harvest.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* 40 characters leave room for "-worker-" and a pool's 15 within the 63 of a label. */ -}}
{{- define "harvest.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "harvest.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "harvest.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "harvest.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* What never changes: a Deployment's selector is immutable. Takes (root, component, pool or ""). */ -}}
{{- define "harvest.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "harvest.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- with index . 2 }}
harvest-fleet/pool: {{ . }}
{{- end }}
{{- end -}}

{{- /* Labels of an object. Takes (root, component, pool or "", and further labels if there are). */ -}}
{{- define "harvest.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: harvest-fleet
{{ include "harvest.selectorLabels" . }}
{{- $further := dict -}}
{{- if gt (len .) 3 }}{{ $further = index . 3 | default dict }}{{ end -}}
{{- with merge (dict) $further $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* metadata: of an object. Takes a dict of root, name, component, pool, labels, annotations. */ -}}
{{- define "harvest.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "harvest.labels" (list .root .component (.pool | default "") .labels) | nindent 2 }}
{{- $annotations := merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Takes (root, image). */ -}}
{{- define "harvest.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := $image.registry | default $root.Values.image.registry -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Values.image.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- /* The settings of the first pool by name: what harvestctl looks at is the same in all. */ -}}
{{- define "harvest.anyWorkerConfigMap" -}}
{{ include "harvest.fullname" . }}-worker-{{ include "harvest.pools" . | fromJson | keys | sortAlpha | first }}
{{- end -}}
