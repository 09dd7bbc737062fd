"""More than one process and more than one machine: executors, Celery with a real broker, manifests of Kubernetes."""
