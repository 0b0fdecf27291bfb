{{/*
What each service is, in one place: its key in the values, how it runs, its ports, what it is given.
`peers` are services it calls; `headless` pods are reached one by one.
*/}}
{{- define "rspp.services" -}}
registry:
  values: registry
  kind: Deployment
  ports: { api: 7101 }
  database: true
  key: { env: RSPP_TOKEN_KEY, file: {{ .Values.keys.sessionToken | quote }} }
  peers: []
lease:
  values: lease
  kind: Deployment
  ports: { api: 7102 }
  database: true
  key: { env: RSPP_GRANT_KEY, file: {{ .Values.keys.grant | quote }} }
  peers: []
replay:
  values: replay
  kind: StatefulSet
  ports: { api: 7105 }
  database: true
  volume: objects
  peers: []
provider-gateway:
  values: providerGateway
  kind: Deployment
  ports: { api: 7104, streams: 7204 }
  env:
    RSPP_ADVERTISE_ADDRESS: {{ printf "%s-provider-gateway.%s.svc.%s:7204" .Release.Name .Release.Namespace .Values.clusterDomain | quote }}
    RSPP_REGION: {{ .Values.region | quote }}
  peers: [registry]
runtime:
  values: runtime
  kind: StatefulSet
  headless: true
  ports: { api: 7103, streams: 7203 }
  volume: spool
  env:
    # Adapters reach each runtime by itself: a call stays where its lease is.
    RSPP_ADVERTISE_ADDRESS: {{ printf "$(POD_NAME).%s-runtime.%s.svc.%s:7203" .Release.Name .Release.Namespace .Values.clusterDomain | quote }}
    RSPP_CAPACITY_SESSIONS: {{ .Values.runtime.capacitySessions | quote }}
    RSPP_REGION: {{ .Values.region | quote }}
  peers: [registry, lease, gateway, replay]
transport-websocket:
  values: transportWebsocket
  kind: Deployment
  ports: { api: 7106, callers: 7206 }
  env:
    RSPP_ADVERTISE_URL: {{ ternary (printf "%s://%s/v1/session" (ternary "wss" "ws" (ne .Values.ingress.tlsSecret "")) .Values.ingress.host) (printf "ws://%s-transport-websocket.%s.svc.%s:7206/v1/session" .Release.Name .Release.Namespace .Values.clusterDomain) .Values.ingress.enabled | quote }}
    RSPP_REGION: {{ .Values.region | quote }}
  peers: [registry, lease]
transport-telephony:
  values: transportTelephony
  kind: Deployment
  ports: { api: 7107, callers: 7207 }
  env:
    RSPP_PUBLIC_URL: {{ ternary (printf "%s://%s" (ternary "https" "http" (ne .Values.ingress.tlsSecret "")) .Values.ingress.host) (printf "http://%s-transport-telephony.%s.svc.%s:7207" .Release.Name .Release.Namespace .Values.clusterDomain) .Values.ingress.enabled | quote }}
    RSPP_REGION: {{ .Values.region | quote }}
  peers: [registry, lease]
{{- if .Values.transportLivekit.enabled }}
transport-livekit:
  values: transportLivekit
  kind: Deployment
  ports: { api: 7108 }
  env:
    RSPP_ADVERTISE_URL: {{ printf "%s://%s-transport-livekit.%s.svc.%s:7108" (ternary "https" "http" .Values.tls.enabled) .Release.Name .Release.Namespace .Values.clusterDomain | quote }}
    RSPP_REGION: {{ .Values.region | quote }}
  peers: [registry, lease]
{{- end }}
{{- end }}

{{- define "rspp.selector" -}}
app.kubernetes.io/name: rspp
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "rspp.labels" -}}
{{ include "rspp.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* The pod: one container, the service that RSPP_SERVICE names. */}}
{{- define "rspp.pod" -}}
{{- $values := .root.Values }}
{{- $scheme := ternary "https" "http" $values.tls.enabled }}
{{- $apis := dict "registry" "registry:7101" "lease" "lease:7102" "gateway" "provider-gateway:7104" "replay" "replay:7105" }}
metadata:
  labels: {{- include "rspp.labels" . | nindent 4 }}
  annotations:
    prometheus.io/scrape: "true"
    prometheus.io/port: "7100"
    prometheus.io/path: /metrics
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  # Longer than the drain, so that no call is cut off by it.
  terminationGracePeriodSeconds: {{ add $values.drainSeconds $values.preStopSeconds 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: { type: RuntimeDefault }
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "rspp.selector" $ | nindent 10 }}
    {{- end }}
  containers:
    - name: {{ .service }}
      image: {{ printf "%s:%s" $values.image.repository ($values.image.tag | default .root.Chart.AppVersion) | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      ports:
        {{- range $name, $port := .about.ports }}
        - { name: {{ $name }}, containerPort: {{ $port }} }
        {{- end }}
        - { name: probes, containerPort: 7100 }
      env:
        - name: RSPP_SERVICE
          value: {{ .service }}
        - name: POD_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        - name: RSPP_PROBE_PORT
          value: "7100"
        - name: RSPP_STOP_GRACE_MS
          value: {{ mul $values.drainSeconds 1000 | quote }}
        - name: RSPP_SERVICE_TOKEN
          value: {{ printf "file:/etc/rspp/service-token/%s" $values.serviceToken.key }}
        {{- if .about.database }}
        - name: RSPP_DATABASE_URL
          value: {{ printf "file:/etc/rspp/database/%s" $values.database.key }}
        {{- end }}
        {{- with .about.key }}
        - name: {{ .env }}
          value: {{ printf "file:/etc/rspp/keys/%s" .file }}
        {{- end }}
        {{- if $values.tls.enabled }}
        - name: RSPP_TLS_CERT
          value: /etc/rspp/tls/tls.crt
        - name: RSPP_TLS_KEY
          value: file:/etc/rspp/tls/tls.key
        - name: RSPP_TLS_CA
          value: /etc/rspp/tls/ca.crt
        {{- end }}
        {{- range .about.peers }}
        - name: {{ printf "RSPP_%s" (upper .) }}
          value: {{ printf "%s://%s-%s" $scheme $.root.Release.Name (get $apis .) }}
        {{- end }}
        {{- range $name, $value := .about.env }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
        {{- range $name, $value := .own.env }}
        - name: {{ $name }}
          value: {{ $value | quote }}
        {{- end }}
      {{- if and (eq .service "provider-gateway") $values.providers.secret }}
      envFrom:
        - secretRef: { name: {{ $values.providers.secret }} }
      {{- end }}
      startupProbe:
        httpGet: { path: /livez, port: probes }
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /livez, port: probes }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      # Unready only after a while, ready again at once.
      readinessProbe:
        httpGet: { path: /readyz, port: probes }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 3
      {{- if gt (int $values.preStopSeconds) 0 }}
      lifecycle:
        preStop: { sleep: { seconds: {{ $values.preStopSeconds }} } }
      {{- end }}
      resources: {{- toYaml .own.resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /data }
        - { name: tmp, mountPath: /tmp }
        - { name: service-token, mountPath: /etc/rspp/service-token, readOnly: true }
        {{- if .about.database }}
        - { name: database, mountPath: /etc/rspp/database, readOnly: true }
        {{- end }}
        {{- if .about.key }}
        - { name: keys, mountPath: /etc/rspp/keys, readOnly: true }
        {{- end }}
        {{- if $values.tls.enabled }}
        - { name: tls, mountPath: /etc/rspp/tls, readOnly: true }
        {{- end }}
  volumes:
    {{- if not .claim }}
    - { name: data, emptyDir: {} }
    {{- end }}
    - { name: tmp, emptyDir: {} }
    - { name: service-token, secret: { secretName: {{ $values.serviceToken.secret }} } }
    {{- if .about.database }}
    - { name: database, secret: { secretName: {{ $values.database.secret }} } }
    {{- end }}
    {{- if .about.key }}
    - name: keys
      secret:
        secretName: {{ $values.keys.secret }}
        # Each service sees its own key alone.
        items: [{ key: {{ .about.key.file }}, path: {{ .about.key.file }} }]
    {{- end }}
    {{- if $values.tls.enabled }}
    - { name: tls, secret: { secretName: {{ $values.tls.secret }} } }
    {{- end }}
{{- end }}
