"""A Cloud Director on a laptop: what of its API tells of guest customization, over HTTPS, with faults on demand."""
