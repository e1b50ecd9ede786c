"""What serves only a machine that cannot download Pulumi's releases; no other machine uses anything in here.

`cli` holds the Go module from which the Pulumi CLI is built, `build_cli` the build, and `vsphere_plugin` the stand-in
for the vSphere plugin.
"""
