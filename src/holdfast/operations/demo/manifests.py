"""The manifests that the courses apply: written for the demo, in the shapes that teaching clusters really use."""

_NOTEBOOKS = """\
# One notebook server for each student; the home folder stays between the weeks.
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: "home-{{safeUsername}}"
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: @STORAGE@Gi
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: "notebook-{{safeUsername}}"
  namespace: "{{namespace}}"
spec:
  replicas: 1
  selector:
    matchLabels: {app: notebook, owner: "{{safeUsername}}"}
  template:
    metadata:
      labels: {app: notebook, owner: "{{safeUsername}}"}
    spec:
      containers:
        - name: notebook
          image: quay.io/jupyter/scipy-notebook:@RELEASE@
          ports:
            - containerPort: 8888
          env:
            - name: OWNER
              value: "{{originalUsername}}"
          resources:
            requests: {cpu: 250m, memory: 1Gi}
            limits: {cpu: "2", memory: 4Gi}
          volumeMounts:
            - name: home
              mountPath: /home/jovyan
      volumes:
        - name: home
          persistentVolumeClaim:
            claimName: "home-{{safeUsername}}"
---
apiVersion: v1
kind: Service
metadata:
  name: "notebook-{{safeUsername}}"
spec:
  selector: {app: notebook, owner: "{{safeUsername}}"}
  ports:
    - name: http
      port: 80
      targetPort: 8888
"""

_TRAINING = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: train-@NUMBER@
  namespace: "{{namespace}}"
  labels:
    project: "{{projectId}}"
spec:
  backoffLimit: 2
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: train
          image: docker.io/pytorch/pytorch:@TORCH@
          command: [python, -m, course.train]
          args: ["--epochs", "@EPOCHS@", "--data", /data, "--out", /results]
          resources:
            requests: {cpu: "4", memory: 16Gi@GPU@}
            limits: {cpu: "8", memory: 32Gi@GPU@}
          volumeMounts:
            - {name: group, mountPath: /data, subPath: datasets, readOnly: true}
            - {name: group, mountPath: /results, subPath: "results/{{username}}"}
      volumes:
        - name: group
          persistentVolumeClaim:
            claimName: "{{groupVolume}}"
"""

_DATASETS = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: datasets
spec:
  accessModes: [ReadWriteMany]
  resources:
    requests:
      storage: @STORAGE@0Gi
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: dataset-index
data:
  index.yaml: |
    # The --- below belongs to this text and ends no document.
    ---
    training: s3://faculty-data/train-@NUMBER@
    validation: s3://faculty-data/valid-@NUMBER@
"""

_INFERENCE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: inference
spec:
  replicas: @REPLICAS@
  selector:
    matchLabels: {app: inference}
  template:
    metadata:
      labels: {app: inference}
    spec:
      containers:
        - name: server
          image: ghcr.io/example-faculty/inference:@VERSION@
          ports:
            - containerPort: 8000
          readinessProbe:
            httpGet: {path: /ready, port: 8000}
          resources:
            requests: {cpu: 500m, memory: 2Gi}
            limits: {cpu: "2", memory: 6Gi}
---
apiVersion: v1
kind: Service
metadata:
  name: inference
spec:
  selector: {app: inference}
  ports:
    - {port: 80, targetPort: 8000}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: inference
spec:
  rules:
    - host: "{{safeUsername}}.demo.example.edu"
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: inference
                port: {number: 80}
"""

_DATABASE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: database-settings
data:
  POSTGRES_DB: course
  PGDATA: /var/lib/postgresql/data/pgdata
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: database
spec:
  serviceName: database
  replicas: 1
  selector:
    matchLabels: {app: database}
  template:
    metadata:
      labels: {app: database}
    spec:
      containers:
        - name: postgres
          image: postgres:17
          envFrom:
            - configMapRef: {name: database-settings}
          resources:
            requests: {cpu: 250m, memory: 512Mi}
            limits: {cpu: "1", memory: 2Gi}
          volumeMounts:
            - {name: store, mountPath: /var/lib/postgresql/data}
  volumeClaimTemplates:
    - metadata:
        name: store
      spec:
        accessModes: [ReadWriteOnce]
        resources:
          requests:
            storage: @STORAGE@Gi
---
apiVersion: v1
kind: Service
metadata:
  name: database
spec:
  selector: {app: database}
  ports:
    - {port: 5432}
"""

_NIGHTLY = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: nightly-refresh
spec:
  schedule: "@MINUTE@ 3 * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
            - name: refresh
              image: python:3.13-slim
              command: [python, /scripts/refresh.py]
              resources:
                requests: {cpu: 200m, memory: 256Mi}
                limits: {cpu: "1", memory: 1Gi}
"""

_SOLVER = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: solver-case-@NUMBER@
spec:
  parallelism: @REPLICAS@
  completions: @REPLICAS@
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: solver
          image: docker.io/openfoam/openfoam11-paraview510:11
          workingDir: /case
          command: [mpirun, -np, "4", foamRun, -parallel]
          resources:
            requests: {cpu: "4", memory: 8Gi}
            limits: {cpu: "4", memory: 8Gi}
          volumeMounts:
            - {name: case, mountPath: /case}
      volumes:
        - name: case
          emptyDir: {}
"""

_WEB = """\
apiVersion: v1
kind: Pod
metadata:
  name: gateway
  labels: {app: gateway}
spec:
  containers:
    - name: nginx
      image: nginx:1.29
      ports:
        - containerPort: 80
      resources:
        requests: {cpu: 50m, memory: 64Mi}
        limits: {cpu: 200m, memory: 128Mi}
---
apiVersion: v1
kind: Service
metadata:
  name: gateway
spec:
  selector: {app: gateway}
  ports:
    - {port: 80}
"""

_TEXTS = {
    "notebooks": _NOTEBOOKS,
    "training": _TRAINING,
    "datasets": _DATASETS,
    "inference": _INFERENCE,
    "database": _DATABASE,
    "nightly": _NIGHTLY,
    "solver": _SOLVER,
    "web": _WEB,
}


def manifest(name: str, *, number: int, revision: int, gpu_quota: int) -> str:
    """The text of a file. A later `revision` differs as a real edit would: an image, a size, a count."""
    gpu = f', "nvidia.com/gpu": {min(gpu_quota, 2)}' if gpu_quota else ""
    values = {
        "NUMBER": number,
        "STORAGE": 10 + 10 * revision,
        "RELEASE": ("2026-08-03", "2026-09-14", "2026-10-12")[revision % 3],
        "TORCH": ("2.8.0", "2.9.0", "2.9.1")[revision % 3],
        "EPOCHS": 20 + 10 * revision,
        "REPLICAS": 1 + revision,
        "VERSION": f"1.{revision}",
        "MINUTE": (number * 7 + revision) % 60,
        "GPU": gpu,
    }
    text = _TEXTS[name]
    for word, value in values.items():
        text = text.replace(f"@{word}@", str(value))
    return text
