{{/* Objects are named as the services of docker-compose.yml, so that addresses, alerts and runbook are the same: one
     release a namespace. */}}

{{/* Labels of a service's objects: (list $ "mlflow"). */}}
{{- define "credit-risk.labels" -}}
{{ include "credit-risk.selector" . }}
app.kubernetes.io/name: credit-risk
app.kubernetes.io/version: {{ (first .).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (first .).Release.Service }}
helm.sh/chart: {{ (first .).Chart.Name }}-{{ (first .).Chart.Version }}
{{- end }}

{{/* Labels that find a service's pods. */}}
{{- define "credit-risk.selector" -}}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* A selector of the pods of several services: (list $ "mlflow" "risk-o-meter"). */}}
{{- define "credit-risk.pods" -}}
matchLabels:
  app.kubernetes.io/instance: {{ (first .).Release.Name }}
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: [{{ join ", " (rest .) }}]
{{- end }}

{{/* An image: (list $ "mlflow" .Values.mlflow.image). */}}
{{- define "credit-risk.image" -}}
{{ (first .).Values.registry }}/{{ index . 1 }}@{{ (last .).digest }}
{{- end }}

{{/* What is the same in every pod: (list $ "mlflow"), the service account. */}}
{{- define "credit-risk.pod" -}}
{{- $values := (first .).Values -}}
serviceAccountName: {{ last . }}
automountServiceAccountToken: false
# For a Service named mlflow there would be a variable MLFLOW_PORT, which is one of our settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What is the same in every container. */}}
{{- define "credit-risk.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Probes by HTTP: (list "path of liveness" "path of readiness" "host"), a name that the service answers to. It has two
     minutes to start, as in docker-compose.yml. */}}
{{- define "credit-risk.probes" -}}
startupProbe:
  httpGet: {path: {{ index . 0 }}, port: http, httpHeaders: [{name: Host, value: {{ last . }}}]}
  periodSeconds: 2
  timeoutSeconds: 10
  failureThreshold: 60
readinessProbe:
  httpGet: {path: {{ index . 1 }}, port: http, httpHeaders: [{name: Host, value: {{ last . }}}]}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: 3
livenessProbe:
  httpGet: {path: {{ index . 0 }}, port: http, httpHeaders: [{name: Host, value: {{ last . }}}]}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 3
{{- end }}

{{/* Probes by a command in the container. */}}
{{- define "credit-risk.commandProbes" -}}
startupProbe:
  exec: {command: {{ toJson . }}}
  periodSeconds: 5
  timeoutSeconds: 10
  failureThreshold: 24
livenessProbe:
  exec: {command: {{ toJson . }}}
  periodSeconds: 30
  timeoutSeconds: 10
  failureThreshold: 3
{{- end }}

{{/* Mounts of every container that has secrets, and the volumes for them. */}}
{{- define "credit-risk.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets, readOnly: true}
{{- end }}

{{- define "credit-risk.tmp" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: {{ . }}}
{{- end }}

{{/* Files of a Secret, by the names of its keys: (list "mlflow" "KEY" "KEY"). A key that is missing keeps the pod from
     starting. */}}
{{- define "credit-risk.secret" -}}
- secret:
    name: {{ first . }}
    items:
      {{- range rest . }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}

{{/* The volume of a service's secrets, which tools/with-secrets.sh reads: the same list. */}}
{{- define "credit-risk.secrets" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- include "credit-risk.secret" . | nindent 6 }}
{{- end }}

{{/* The same for those who check API keys: (list $ "mlflow" "KEY" "KEY"). */}}
{{- define "credit-risk.secretsWithKeys" -}}
{{ include "credit-risk.secrets" (rest .) }}
{{- with (first .).Values.apiKeysSecret }}
      {{- include "credit-risk.secret" (list . "API_KEYS") | nindent 6 }}
{{- end }}
{{- end }}

{{/* Settings that were given: (list $ "N_ITER" "DATA"). */}}
{{- define "credit-risk.settings" -}}
{{- $settings := (first .).Values.settings }}
{{- range rest . }}
{{- if hasKey $settings . }}
- {name: {{ . }}, value: {{ get $settings . | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "credit-risk.bucket" -}}
- {name: BUCKET, value: {{ .Values.bucket | quote }}}
{{- end }}

{{/* MLflow, and where the files of approved models are kept: (list $ "/tmp/var"). */}}
{{- define "credit-risk.mlflow" -}}
- {name: MLFLOW_TRACKING_URI, value: "http://mlflow:5051"}
- {name: VAR_DIR, value: {{ last . }}}
{{- include "credit-risk.settings" (list (first .) "MODEL_NAME" "DATASET") }}
{{- end }}

{{- define "credit-risk.prefect" -}}
- {name: PREFECT_API_URL, value: "http://prefect-server:4200/api"}
{{- with .Values.access.prefect.host }}
- {name: PREFECT_UI_URL, value: {{ printf "https://%s" . | quote }}}
{{- else }}
- {name: PREFECT_UI_URL, value: "http://localhost:4200"} # by `kubectl port-forward`
{{- end }}
- {name: PREFECT_HOME, value: /tmp/prefect}
{{- end }}

{{/* What a worker starts its runs with, as RUNS in tools/stack/credentials.py. */}}
{{- define "credit-risk.runs" -}}
- {name: PREFECT_FLOWS_HEARTBEAT_FREQUENCY, value: "30"}
- {name: PREFECT_LOGGING_TO_API_BATCH_INTERVAL, value: "0.5"}
- {name: PREFECT_CLIENT_RETRY_EXTRA_CODES, value: "500"}
- {name: MLFLOW_HTTP_REQUEST_MAX_RETRIES, value: "5"}
- {name: MLFLOW_HTTP_REQUEST_TIMEOUT, value: "60"}
- {name: MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, value: "false"}
- {name: MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, value: "true"}
- {name: MLFLOW_UV_AUTO_DETECT, value: "false"}
{{- end }}

{{/* As x-dask in docker-compose.yml, which says why. */}}
{{- define "credit-risk.dask" -}}
- {name: DASK_DISTRIBUTED__SCHEDULER__NO_WORKERS_TIMEOUT, value: 10 minutes}
- {name: DASK_DISTRIBUTED__DIAGNOSTICS__NVML, value: "False"}
- {name: DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED, value: "False"}
- {name: DASK_DISTRIBUTED__WORKER__MEMORY__TARGET, value: "False"}
- {name: DASK_DISTRIBUTED__WORKER__MEMORY__SPILL, value: "False"}
{{- end }}

{{/* The names that a service answers to: (list $ "risk-o-meter" .Values.access.riskOMeter.host). Prometheus, and the health
     checks of load balancers, ask a pod by its address. */}}
{{- define "credit-risk.hosts" -}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- {name: ALLOWED_HOSTS, value: {{ printf "localhost,127.0.0.1,%s,$(POD_IP),%s" (index . 1) (last .) | trimSuffix "," | quote }}}
{{- end }}

{{/* Who may ask, and for what: (list $ .Values.access.riskOMeter.iapAudience). */}}
{{- define "credit-risk.identity" -}}
{{- include "credit-risk.settings" (list (first .) "OIDC_ISSUER" "OIDC_AUDIENCE" "OIDC_NAME_CLAIM" "OIDC_GROUPS_CLAIM"
    "OIDC_BRANCH_CLAIM" "FOUR_EYES") }}
{{- with last . }}
- {name: IAP_AUDIENCE, value: {{ . | quote }}}
{{- end }}
{{- if (first .).Values.roles }}
- {name: ROLES_FILE, value: /etc/credit-risk/roles.toml}
{{- end }}
{{- end }}
