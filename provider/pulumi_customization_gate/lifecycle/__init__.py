"""The life of each resource - check, diff, create, update, delete - on plain mappings: knows no Pulumi internals."""
