"""Scripts and files in the guest of a VM, by VMware Tools."""
