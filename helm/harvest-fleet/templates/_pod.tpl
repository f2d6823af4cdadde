{{- /* The pods: one template for producers, workers and harvestctl, so that what holds for one holds for all. */ -}}

{{- /*
Variables. Takes a dict of root, component (producer, worker, operator) and own (its extraEnv).
Order matters to Kubernetes: $(NAME) only sees what stands above.
*/ -}}
{{- define "harvest.env" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
- name: HARVEST_FLEET
  value: {{ $values.fleet | quote }}
{{- if ne .component "worker" }}
- name: HARVEST_FLEET_FILE
  value: /etc/harvest/fleet.toml
{{- end }}
{{- with $values.amqp.existingSecret }}
{{- if .name }}
{{ include "harvest.variableFromSecret" (dict "variable" "AMQP_URL" "secret" .name "key" .key) }}
{{- end }}
{{- end }}
{{- with $values.amqp.clusterOperator }}
{{- if .name }}
{{- $secret := printf "%s-default-user" .name }}
{{- range list "username" "password" "host" "port" }}
{{ include "harvest.variableFromSecret" (dict "variable" (printf "RABBITMQ_%s" (upper .)) "secret" $secret "key" .) }}
{{- end }}
# Not the secret's own connection_string: that ends in "/", which names the virtual host "" and not "/".
- name: AMQP_URL
  value: {{ printf "%s://$(RABBITMQ_USERNAME):$(RABBITMQ_PASSWORD)@$(RABBITMQ_HOST):$(RABBITMQ_PORT)/%s" .scheme .vhost | quote }}
{{- end }}
{{- end }}
{{- if or (ne .component "producer") $values.producer.daytonaKey }}
{{- with $values.daytona.existingSecret }}
{{- if .name }}
{{ include "harvest.variableFromSecret" (dict "variable" "DAYTONA_API_KEY" "secret" .name "key" .key) }}
{{- end }}
{{- end }}
{{- end }}
{{- with $values.daytona.apiUrl }}
- name: DAYTONA_API_URL
  value: {{ . | quote }}
{{- end }}
{{- with $values.daytona.target }}
- name: DAYTONA_TARGET
  value: {{ . | quote }}
{{- end }}
{{- if ne .component "producer" }}
{{- range (include "harvest.secretVariables" $values.git.existingSecrets | fromJson).items }}
{{ include "harvest.variableFromSecret" . }}
{{- end }}
{{- end }}
{{- if eq .component "worker" }}
{{- range (include "harvest.secretVariables" $values.buildSecrets | fromJson).items }}
{{ include "harvest.variableFromSecret" . }}
{{- end }}
{{- end }}
{{- range $name, $value := dict "HTTP_PROXY" $values.proxy.http "HTTPS_PROXY" $values.proxy.https "NO_PROXY" $values.proxy.noProxy }}
{{- with $value }}
- name: {{ $name }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if or $values.trustedCA.configMap $values.trustedCA.secret }}
# Both are read, and nothing else: the image's authorities, and yours.
- name: SSL_CERT_FILE
  value: {{ $values.trustedCA.systemBundle | quote }}
- name: SSL_CERT_DIR
  value: /etc/harvest-ca
{{- end }}
- name: K8S_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: K8S_POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: K8S_NAMESPACE_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: K8S_NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- $attributes := list "k8s.pod.name=$(K8S_POD_NAME)" "k8s.pod.uid=$(K8S_POD_UID)" "k8s.namespace.name=$(K8S_NAMESPACE_NAME)" "k8s.node.name=$(K8S_NODE_NAME)" }}
{{- range $name, $value := $values.otlp.resourceAttributes }}
{{- $attributes = append $attributes (printf "%s=%s" $name $value) }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ join "," $attributes | quote }}
{{- with $values.otlp }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .protocol | quote }}
{{- with .headersSecret }}
{{- if .name }}
{{ include "harvest.variableFromSecret" (dict "variable" "OTEL_EXPORTER_OTLP_HEADERS" "secret" .name "key" .key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with concat $values.extraEnv (.own | default list) }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Asks over HTTP. Takes (path, timing). */ -}}
{{- define "harvest.probe" -}}
httpGet: {path: {{ index . 0 }}, port: http}
{{ toYaml (index . 1) }}
{{- end -}}

{{- /*
A pod's template. Takes a dict of root, component, pool, values (of the component), container, image, args, configMaps (file: ConfigMap; all
are mounted at /etc/harvest), grace, serving (whether it answers on port 8080), checksum, restartPolicy.
*/ -}}
{{- define "harvest.podTemplate" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $own := .values -}}
metadata:
  {{- $annotations := merge (dict) ($own.podAnnotations | default dict) $values.podAnnotations $values.commonAnnotations }}
  {{- with .checksum }}{{ $_ := set $annotations "checksum/config" . }}{{ end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  labels:
    {{- /* Without the chart's version: a new chart that changes nothing else must not interrupt builds. */}}
    {{- include "harvest.selectorLabels" (list $root .component (.pool | default "")) | nindent 4 }}
    app.kubernetes.io/part-of: harvest-fleet
    {{- with merge (dict) ($own.podLabels | default dict) $values.podLabels $values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "harvest.podSpec" . | nindent 2 }}
{{- end -}}

{{- define "harvest.podSpec" -}}
{{- $root := .root -}}
{{- $values := .root.Values -}}
{{- $own := .values -}}
serviceAccountName: {{ include "harvest.serviceAccountName" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .restartPolicy }}
restartPolicy: {{ . }}
{{- end }}
{{- with .grace }}
terminationGracePeriodSeconds: {{ . }}
{{- end }}
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $own.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "hostAliases" "dnsConfig" "initContainers" }}
{{- with get $own $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $own.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $constraint := deepCopy . }}
  {{- if not (hasKey $constraint "labelSelector") }}
  {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "harvest.selectorLabels" (list $root $.component ($.pool | default "")) | fromYaml)) }}
  {{- end }}
  {{- toYaml (list $constraint) | nindent 2 }}
  {{- end }}
{{- end }}
containers:
  - name: {{ .container }}
    image: {{ include "harvest.image" (list $root .image) }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args:
      {{- toYaml (concat .args ($own.extraArgs | default list)) | nindent 6 }}
    env:
      {{- include "harvest.env" (dict "root" $root "component" .component "own" $own.extraEnv) | nindent 6 }}
    {{- with concat $values.extraEnvFrom ($own.extraEnvFrom | default list) }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if .serving }}
    ports:
      - {name: http, containerPort: 8080, protocol: TCP}
    {{- with $own.probes }}
    startupProbe:
      {{- include "harvest.probe" (list "/healthz" .startup) | nindent 6 }}
    livenessProbe:
      {{- include "harvest.probe" (list "/healthz" .liveness) | nindent 6 }}
    readinessProbe:
      {{- include "harvest.probe" (list "/readyz" .readiness) | nindent 6 }}
    {{- end }}
    {{- end }}
    {{- with $own.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $values.containerSecurityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      # A folder, not single files: only so does a changed ConfigMap reach a running pod.
      - {name: settings, mountPath: /etc/harvest, readOnly: true}
      {{- if or $values.trustedCA.configMap $values.trustedCA.secret }}
      - {name: trusted-ca, mountPath: /etc/harvest-ca, readOnly: true}
      {{- end }}
      {{- with $own.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- with $own.sidecars }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  - name: settings
    projected:
      sources:
        {{- range $file, $configMap := .configMaps }}
        - configMap:
            name: {{ $configMap }}
            items: [{key: {{ $file }}, path: {{ $file }}}]
        {{- end }}
  {{- with $values.trustedCA }}
  {{- if .configMap }}
  - name: trusted-ca
    configMap: {name: {{ .configMap }}}
  {{- else if .secret }}
  - name: trusted-ca
    secret: {secretName: {{ .secret }}}
  {{- end }}
  {{- end }}
  {{- with $own.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
