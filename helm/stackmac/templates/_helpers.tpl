{{/* The same names as the platform's onboarder gives: namespace and the xApp's name. */}}
{{- define "stackmac.fullname" -}}
{{- printf "%s-%s" .Release.Namespace .Values.name -}}
{{- end -}}

{{- define "stackmac.httpService" -}}
{{- $name := printf "service-%s-http" (include "stackmac.fullname" .) -}}
{{- if gt (len $name) 63 -}}
{{- fail (printf "the service's name %q has %d characters, expected at most 63: use a shorter name or namespace" $name (len $name)) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "stackmac.rmrService" -}}
{{- printf "service-%s-rmr" (include "stackmac.fullname" .) -}}
{{- end -}}

{{- define "stackmac.configMap" -}}
{{- printf "configmap-%s" (include "stackmac.fullname" .) -}}
{{- end -}}

{{- define "stackmac.modelClaim" -}}
{{- .Values.model.existingClaim | default (ternary (printf "%s-models" (include "stackmac.fullname" .)) "" .Values.model.create) -}}
{{- end -}}

{{- define "stackmac.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "stackmac.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "stackmac.selector" -}}
app: {{ include "stackmac.fullname" . }}
release: {{ .Release.Name | quote }}
{{- end -}}

{{- define "stackmac.labels" -}}
{{ include "stackmac.selector" . }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "stackmac.image" -}}
{{- $image := .Values.image -}}
{{- $name := printf "%s/%s" $image.registry $image.repository -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Where the configuration is mounted: the folder of the file that the container's arguments name. */}}
{{- define "stackmac.configFolder" -}}
/opt/ric/config
{{- end -}}

{{- define "stackmac.tokenFolder" -}}
/opt/ric/token
{{- end -}}

{{/*
The descriptor that the pod reads, as JSON: the shipped one, with the values' controls laid over its own, and with the
names and ports that this release really has.
*/}}
{{- define "stackmac.descriptor" -}}
{{- $descriptor := .Files.Get "files/config-file.json" | fromJson -}}
{{- $ours := dict -}}
{{- if .Values.model.bundle -}}
{{- if not (include "stackmac.modelClaim" .) -}}
{{- fail (printf "model.bundle is %q, but there is no volume that holds it: set model.existingClaim or model.create" .Values.model.bundle) -}}
{{- end -}}
{{- $_ := set $ours "leader" (printf "%s/%s" .Values.model.mountPath .Values.model.bundle) -}}
{{- end -}}
{{- with .Values.httpToken.existingSecret -}}
{{- $_ := set $ours "http" (dict "token_file" (printf "%s/%s" (include "stackmac.tokenFolder" $) $.Values.httpToken.key)) -}}
{{- end -}}
{{- $controls := mergeOverwrite $descriptor.controls $ours (deepCopy .Values.controls) -}}
{{- include "stackmac.checkControls" $controls -}}
{{- $http := int $controls.http.port -}}
{{- $rmr := int $controls.rmr.port -}}
{{- $route := int .Values.rmr.routePort -}}
{{- if or (eq $http 0) (eq $rmr 0) -}}
{{- fail "controls.http.port and controls.rmr.port: expected a port each, 0 (any free one) cannot be reached through a service" -}}
{{- end -}}
{{- if or (eq $http $rmr) (eq $http $route) (eq $rmr $route) -}}
{{- fail (printf "ports: expected three different ones, not controls.http.port %d, controls.rmr.port %d, rmr.routePort %d" $http $rmr $route) -}}
{{- end -}}
{{- $ports := dict "http" $http "rmrdata" $rmr "rmrroute" $route -}}
{{- range $port := $descriptor.messaging.ports -}}
{{- $_ := set $port "port" (get $ports $port.name) -}}
{{- end -}}
{{- $_ := set $descriptor.rmr "protPort" (printf "tcp:%d" $rmr) -}}
{{- range $probe := list $descriptor.livenessProbe $descriptor.readinessProbe -}}
{{- $_ := set $probe.httpGet "port" $http -}}
{{- end -}}
{{- $container := first $descriptor.containers -}}
{{- $_ := set $container "image" (dict "registry" .Values.image.registry "name" .Values.image.repository "tag" (.Values.image.tag | default .Chart.AppVersion)) -}}
{{- $_ := set $descriptor "name" .Values.name -}}
{{- $_ := set $descriptor "version" .Chart.AppVersion -}}
{{- toPrettyJson $descriptor -}}
{{- end -}}

{{/*
What of the descriptor needs a restart to take effect, as JSON. The fields left out take effect while the xApp runs (it
looks at the file again and again), and so does a static route table.
*/}}
{{- define "stackmac.restartNeeded" -}}
{{- $descriptor := include "stackmac.descriptor" . | fromJson -}}
{{- $controls := $descriptor.controls -}}
{{- $_ := set $controls "ric" (omit $controls.ric "poll_period_s") -}}
{{- $_ := set $controls "a1" (omit $controls.a1 "floor_window_periods" "slices") -}}
{{- $_ := set $descriptor "controls" (omit $controls "decision_deadline_ms" "lease_periods" "log_level" "stale_after_periods") -}}
{{- toJson $descriptor -}}
{{- end -}}

{{/* What the pod's environment says, as JSON: text by name. */}}
{{- define "stackmac.environment" -}}
{{- $folder := include "stackmac.configFolder" . -}}
{{- $descriptor := include "stackmac.descriptor" . | fromJson -}}
{{- $host := printf "%s.%s" (include "stackmac.rmrService" .) .Release.Namespace -}}
{{- if gt (len $host) 57 -}}
{{- fail (printf "the RMR host %q has %d characters, expected at most 57 (a message has no room for more): use a shorter name" $host (len $host)) -}}
{{- end -}}
{{- $all := dict "XAPP_DESCRIPTOR_PATH" $folder "RMR_SRC_ID" $host "RMR_RTG_SVC" (toString .Values.rmr.routePort) -}}
{{- if .Values.rmr.staticRoutes -}}
{{- $_ := set $all "RMR_RTG_SVC" "-1" -}}
{{- $_ := set $all "RMR_SEED_RT" (printf "%s/routes.rt" $folder) -}}
{{- end -}}
{{- if and .Values.dbaas.host (not .Values.dbaas.existingConfigMap) -}}
{{- $_ := set $all "DBAAS_SERVICE_HOST" .Values.dbaas.host -}}
{{- $_ := set $all "DBAAS_SERVICE_PORT" (toString .Values.dbaas.port) -}}
{{- end -}}
{{- toJson (mergeOverwrite $descriptor.appenv $all (dict "OMP_NUM_THREADS" (toString (int $descriptor.controls.torch_threads))) .Values.env) -}}
{{- end -}}
