"""The pure core: what a verdict is and how it is reached. It knows nothing of Pulumi, vSphere or Cloud Director."""
