"""Build, test, deploy, watch and roll back an image with Docker, Compose or Kubernetes. It knows nothing of GitHub."""
