"""DVC: lock files, the stage graph, the cache, running the pipeline, and storage."""
