{{- /*
What the schema cannot say: rules over several values, and those whose message should say what to do. All mistakes are told at once.
Every template begins with harvest.check, since Helm does not say which one it renders first.
*/ -}}

{{- define "harvest.check" -}}
{{- $problems := (include "harvest.problems" . | fromJson).items -}}
{{- with $problems -}}
{{- fail (printf "\n\n%d of the values cannot be:\n  - %s\n" (len .) (join "\n  - " .)) -}}
{{- end -}}
{{- end -}}

{{- /* Why a variable is refused, or nothing. The lists are those of shared/settings/src/secrets.rs; a test compares them. */ -}}
{{- define "harvest.refusedVariable" -}}
{{- $session := list "CLAUDE_CODE_OAUTH_TOKEN" "GIT_USER_NAME" "GIT_USER_EMAIL" "GEMINI_API_KEY" "LINEAR_API_KEY" "SENTRY_AUTH_TOKEN" -}}
{{- $own := list "AMQP_URL" "DAYTONA_API_KEY" "DAYTONA_API_URL" "DAYTONA_TARGET" "OTEL_EXPORTER_OTLP_HEADERS" "OTEL_EXPORTER_OTLP_TRACES_HEADERS" -}}
{{- if or (has (upper .) $session) (regexMatch "^(ANTHROPIC_|CLAUDE_)" (upper .)) -}}
belongs to the agent's session, which gets it when it starts; no pod of the fleet may have it
{{- else if has (upper .) $own -}}
opens the fleet itself: it has a place of its own in the values
{{- else if hasPrefix "HARVEST_" (upper .) -}}
is a setting of the fleet: put it under settings
{{- end -}}
{{- end -}}

{{- /* Why a variable is no secret for jobs, or nothing. Wider than the above: a pod may be given more of these than a build. */ -}}
{{- define "harvest.refusedSecret" -}}
{{- $why := include "harvest.refusedVariable" . -}}
{{- if $why -}}
{{ $why }}
{{- else if regexMatch "^(AMQP_|DAYTONA_|OTEL_EXPORTER_|RABBITMQ_|ERLANG_COOKIE)" (upper .) -}}
opens the fleet itself: it has a place of its own in the values
{{- end -}}
{{- end -}}

{{- define "harvest.problems" -}}
{{- $problems := list -}}
{{- $values := .Values -}}

{{- /* The fleet and its file. */ -}}
{{- if not $values.fleet -}}
{{- $problems = append $problems "fleet is missing: the installation's name, 1 to 10 characters of a-z, 0-9 and \"-\", starting with a letter" -}}
{{- else if not (regexMatch "^[a-z][a-z0-9-]{0,9}$" $values.fleet) -}}
{{- $problems = append $problems (printf "fleet is %q: it must be 1 to 10 characters of a-z, 0-9 and \"-\", starting with a letter" $values.fleet) -}}
{{- end -}}
{{- $sources := 0 -}}
{{- range list $values.fleetFile.text $values.fleetFile.repositories $values.fleetFile.existingConfigMap -}}
{{- if . }}{{ $sources = add1 $sources }}{{ end -}}
{{- end -}}
{{- if eq (int $sources) 0 -}}
{{- $problems = append $problems "fleetFile is empty: give one of fleetFile.text (--set-file fleetFile.text=fleet.toml), fleetFile.repositories and fleetFile.existingConfigMap" -}}
{{- else if gt (int $sources) 1 -}}
{{- $problems = append $problems "fleetFile: give only one of text, repositories and existingConfigMap" -}}
{{- end -}}
{{- if and $values.fleetFile.defaults (not $values.fleetFile.repositories) -}}
{{- $problems = append $problems "fleetFile.defaults goes with fleetFile.repositories only; a text or a ConfigMap has [defaults] of its own" -}}
{{- end -}}

{{- /* Connections. */ -}}
{{- $hasUrl := ne $values.amqp.existingSecret.name "" -}}
{{- $hasCluster := ne $values.amqp.clusterOperator.name "" -}}
{{- if not (or $hasUrl $hasCluster) -}}
{{- $problems = append $problems "RabbitMQ is missing: name a secret with its URL in amqp.existingSecret.name, or a RabbitmqCluster in amqp.clusterOperator.name" -}}
{{- else if and $hasUrl $hasCluster -}}
{{- $problems = append $problems "RabbitMQ is given twice: amqp.existingSecret.name or amqp.clusterOperator.name, not both" -}}
{{- end -}}
{{- if not $values.daytona.existingSecret.name -}}
{{- $problems = append $problems "Daytona is missing: name a secret with its API key in daytona.existingSecret.name" -}}
{{- end -}}
{{- if and $values.trustedCA.configMap $values.trustedCA.secret -}}
{{- $problems = append $problems "trustedCA: give a configMap or a secret, not both" -}}
{{- end -}}
{{- with $values.otlp.endpoint -}}
{{- if not (regexMatch "^https?://" .) -}}
{{- $problems = append $problems (printf "otlp.endpoint is %q: it must begin with http:// or https://" .) -}}
{{- end -}}
{{- end -}}

{{- /* Variables: none of the agent's, none twice. */ -}}
{{- $secrets := dict "git.existingSecrets" $values.git.existingSecrets "buildSecrets" $values.buildSecrets -}}
{{- $given := list -}}
{{- $rules := $values.settings.worker.secrets | default dict -}}
{{- $uses := dict "git.existingSecrets" (dict "key" "git" "example" "[\"https://github.com/acme/\"]") "buildSecrets" (dict "key" "repositories" "example" "[\"acme/*\"]") -}}
{{- range $place, $list := $secrets -}}
{{- range (include "harvest.secretVariables" $list | fromJson).items -}}
{{- $why := include "harvest.refusedSecret" .variable -}}
{{- if $why -}}
{{- $problems = append $problems (printf "%s: %s %s" $place .variable $why) -}}
{{- else if not (get (get $rules .variable | default dict) (get $uses $place).key) -}}
{{- $use := get $uses $place -}}
{{- $problems = append $problems (printf "%s: %s is for nothing yet, and no job is given it: say what for in settings.worker.secrets.%s.%s, such as %s" $place .variable .variable $use.key $use.example) -}}
{{- end -}}
{{- if has .variable $given -}}
{{- $problems = append $problems (printf "%s: %s is given twice" $place .variable) -}}
{{- end -}}
{{- $given = append $given .variable -}}
{{- end -}}
{{- end -}}
{{- $pools := include "harvest.pools" . | fromJson -}}
{{- $own := dict "extraEnv" $values.extraEnv "producer.extraEnv" $values.producer.extraEnv -}}
{{- range $name, $pool := $pools }}{{ $_ := set $own (printf "workers.%s.extraEnv" $name) ($pool.extraEnv | default list) }}{{ end -}}
{{- range $place, $list := $own -}}
{{- range $list -}}
{{- $why := include "harvest.refusedVariable" .name -}}
{{- if $why -}}
{{- $problems = append $problems (printf "%s: %s %s" $place .name $why) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $components := dict "producer" (dict "component" "producer" "own" $values.producer.extraEnv) "operator" (dict "component" "operator" "own" list) -}}
{{- range $name, $pool := $pools -}}
{{- $_ := set $components (printf "workers.%s" $name) (dict "component" "worker" "own" ($pool.extraEnv | default list)) -}}
{{- end -}}
{{- range $place, $of := $components -}}
{{- $seen := list -}}
{{- range include "harvest.env" (dict "root" $ "component" $of.component "own" $of.own) | fromYamlArray -}}
{{- if and (has .name $seen) (not (has .name $given)) -}}
{{- $problems = append $problems (printf "%s: the variable %s is set twice; the chart or extraEnv sets it already" $place .name) -}}
{{- end -}}
{{- $seen = append $seen .name -}}
{{- end -}}
{{- end -}}

{{- /* Labels: the chart's own select pods, and a key may stand only once. */ -}}
{{- $labels := dict "commonLabels" $values.commonLabels "podLabels" $values.podLabels "producer.podLabels" $values.producer.podLabels -}}
{{- range $name, $pool := $pools }}{{ $_ := set $labels (printf "workers.%s.podLabels" $name) $pool.podLabels }}{{ end -}}
{{- range $kind := list "podMonitor" "prometheusRule" "dashboard" }}{{ $_ := set $labels (printf "metrics.%s.labels" $kind) (get $values.metrics $kind).labels }}{{ end -}}
{{- range $place, $given := $labels -}}
{{- range $key, $value := $given -}}
{{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "helm.sh/chart" "harvest-fleet/pool") -}}
{{- $problems = append $problems (printf "%s: %s is a label of the chart's own" $place $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The producer. */ -}}
{{- $drain := include "harvest.drainSeconds" (list $values.settings.producer "20s") -}}
{{- $problems = concat $problems (include "harvest.graceProblems" (list "settings.producer" "producer" $drain $values.producer.terminationGracePeriodSeconds) | fromJson).items -}}

{{- /* Pools. */ -}}
{{- if not $pools -}}
{{- $problems = append $problems "workers has no pool: nobody would build" -}}
{{- end -}}
{{- $taken := list -}}
{{- $mostBuilds := 0 -}}
{{- $sum := list -}}
{{- range $name, $pool := $pools -}}
{{- $place := printf "workers.%s" $name -}}
{{- $taken = concat $taken $pool.queues -}}
{{- $poolSettings := $pool.settings | default dict -}}
{{- $shared := dict "retry" "settings.retry" "lease" "settings.lease" "quota" "settings.quota" "classes" "settings.worker.classes" "secrets" "settings.worker.secrets" -}}
{{- range $knob, $home := $shared -}}
{{- if hasKey $poolSettings $knob -}}
{{- $problems = append $problems (printf "%s.settings.%s: one value for the whole fleet, so it goes under %s" $place $knob $home) -}}
{{- end -}}
{{- end -}}
{{- $settings := include "harvest.workerSettings" (list $ $pool) | fromJson -}}
{{- $drain := include "harvest.drainSeconds" (list $settings "60s") -}}
{{- $problems = concat $problems (include "harvest.graceProblems" (list (printf "settings.worker, or %s.settings," $place) $place $drain $pool.terminationGracePeriodSeconds) | fromJson).items -}}
{{- $scaling := $pool.scaling -}}
{{- $pods := $pool.replicas -}}
{{- if eq $scaling.mode "keda" -}}
{{- $pods = $scaling.maxReplicas -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- $problems = append $problems (printf "%s.scaling: minReplicas %d is more than maxReplicas %d" $place (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- $fallback := $scaling.fallback | default dict -}}
{{- if gt (int ($fallback.replicas | default 0)) (int $scaling.maxReplicas) -}}
{{- $problems = append $problems (printf "%s.scaling: fallback.replicas %d is more than maxReplicas %d" $place (int $fallback.replicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq $values.keda.authenticationRef.name "") (eq $values.keda.existingSecret.name "") (not $hasCluster) -}}
{{- $problems = append $problems (printf "%s.scaling.mode is keda, which asks RabbitMQ's management API: name a secret with its URL in keda.existingSecret.name (or a TriggerAuthentication of yours in keda.authenticationRef.name)" $place) -}}
{{- end -}}
{{- end -}}
{{- $builds := mul (int $pods) (int $pool.slots) -}}
{{- $mostBuilds = add $mostBuilds $builds -}}
{{- $sum = append $sum (printf "%s %d x %d = %d" $name (int $pods) (int $pool.slots) $builds) -}}
{{- end -}}
{{- if $pools -}}
{{- range list "resume" "ondemand" "refresh" -}}
{{- if not (has . $taken) -}}
{{- $problems = append $problems (printf "no pool takes from the queue %s: its jobs would wait for ever. Add it to the queues of a pool under workers" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $old, $new := dict "max" "sandboxes" "reserve_for_sessions" "reserve_for_sessions" "reserve_snapshots" "reserve_snapshots" -}}
{{- if hasKey ($values.settings.worker.sandboxes | default dict) $old -}}
{{- $problems = append $problems (printf "settings.worker.sandboxes.%s is settings.quota.%s now" $old $new) -}}
{{- end -}}
{{- end -}}
{{- $quota := $values.settings.quota | default dict -}}
{{- $max := int (get $quota "sandboxes" | default 0) -}}
{{- if and (gt $max 0) (gt (int $mostBuilds) $max) -}}
{{- $problems = append $problems (printf "the pools can hold %d builds at once (pods x slots: %s), but settings.quota.sandboxes is %d: the rest would wait in the delay queues. Lower replicas, scaling.maxReplicas or slots, or raise the limit" (int $mostBuilds) (join ", " $sum) $max) -}}
{{- end -}}

{{- if $values.console.enabled -}}
{{- $problems = append $problems "console.enabled: the web console is not there yet; its place is reserved" -}}
{{- end -}}
{{- dict "items" $problems | toJson -}}
{{- end -}}

{{- /* Takes (where the deadline is set, where the grace period is set, the drain's seconds or "invalid", the grace period or null). */ -}}
{{- define "harvest.graceProblems" -}}
{{- $problems := list -}}
{{- $drain := index . 2 -}}
{{- $grace := index . 3 -}}
{{- if eq $drain "invalid" -}}
{{- $problems = append $problems (printf "drain.deadline of %s is not understood here: write it in days, hours, minutes, seconds or milliseconds, such as \"90s\" or \"1h 30m\"" (index . 0 | trimSuffix ",")) -}}
{{- else if not (kindIs "invalid" $grace) -}}
{{- $least := add (atoi $drain) (include "harvest.drainMargin" . | atoi) -}}
{{- if lt (int $grace) (int $least) -}}
{{- $problems = append $problems (printf "%s.terminationGracePeriodSeconds is %d, but builds may go on for %s s (drain.deadline of %s) and are handed back after that: it must be at least %d, or null" (index . 1) (int $grace) $drain (index . 0 | trimSuffix ",") (int $least)) -}}
{{- end -}}
{{- end -}}
{{- dict "items" $problems | toJson -}}
{{- end -}}
