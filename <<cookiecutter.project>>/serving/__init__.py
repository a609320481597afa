"""The service that answers with the exported model."""
