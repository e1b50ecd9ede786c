"""Serves the stand-in; the engine starts it and passes its own address."""

import sys

from pulumi.provider.experimental.server import main

from lab.offline.vsphere_plugin.provider import Provider
from lab.plugin import vsphere_version

main(sys.argv[1:], vsphere_version(), Provider())
