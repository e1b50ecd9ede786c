"""A picture of what happened: a bar for each VM, as SVG or in the terminal, from the results of gates.

    document = json.loads(Path("export.json").read_text())
    Path("timeline.svg").write_bytes(svg(chart(waits(document))))

Its libraries, matplotlib and rich, come with the extra `plot`.
"""

from pulumi_customization_gate.timeline.chart import Align, Chart, chart
from pulumi_customization_gate.timeline.layout import Theme
from pulumi_customization_gate.timeline.picture import svg
from pulumi_customization_gate.timeline.results import VmTimes, Wait, Work, waits
from pulumi_customization_gate.timeline.terminal import show

__all__ = ["Align", "Chart", "Theme", "VmTimes", "Wait", "Work", "chart", "show", "svg", "waits"]
