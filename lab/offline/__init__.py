"""What serves only a VM that cannot download Pulumi's releases; no other VM uses anything in here.

`cli` holds the Go module from which the Pulumi CLI is built, `build_cli` the build, and `vsphere_plugin` the stand-in
for the vSphere plugin.
"""
