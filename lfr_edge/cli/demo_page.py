"""The demo's HTML page: each alert's sample beside its reference, and its context. Self-contained, nothing loaded."""

import base64
import html
from datetime import datetime

from lfr_edge.cli.demo_show import Outcome
from lfr_edge.control_room.watch import ReceivedAlert


def page(outcome: Outcome, ended_at: datetime) -> str:
    """A self-contained HTML page: each alert's sample beside its reference, and its context."""
    rows = "\n".join(_article(event) for event in outcome.alerts) or "<p>No alert was raised.</p>"
    missed = ", ".join(outcome.missed) or "nobody"
    return f"""\
<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>lfr-edge demo: {len(outcome.alerts)} alerts</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1b1b1b; }}
article {{ border: 1px solid #ccc; border-left: .5rem solid #888; border-radius: .3rem; padding: 1rem; }}
article {{ margin: 1rem 0; }}
article.red {{ border-left-color: #b3261e; }} article.amber {{ border-left-color: #b26a00; }}
article.green {{ border-left-color: #2e6b34; }}
.pictures {{ display: flex; flex-wrap: wrap; gap: 1rem; }} figure {{ margin: 0; }}
img {{ height: 14rem; border-radius: .2rem; background: #eee; }} figcaption {{ font-size: .85rem; color: #555; }}
</style>
</head>
<body>
<h1>Possible matches for a person to decide on</h1>
<p>Engine set {html.escape(outcome.engine_set)}, ended {ended_at:%Y-%m-%d %H:%M:%S} UTC.
Expected and missed: {html.escape(missed)}.
A score never decides: officers compare the pictures and confirm the identity.
Outside the matched person's box, the scene is obscured beyond recovery before it leaves the van's memory.</p>
{rows}
</body>
</html>
"""


def _article(event: ReceivedAlert) -> str:
    alert = event.alert
    pictures = "".join(
        f'<figure><img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}">'
        f"<figcaption>{caption}</figcaption></figure>"
        for name, jpeg, caption in (
            ("sample", alert.sample, "sample: from the camera"),
            ("reference", alert.reference, "reference: from the list"),
            ("context", alert.context, "context"),
        )
    )
    return (
        f'<article class="{alert.response}"><h2>{html.escape(alert.statement)}: {html.escape(alert.entry)}</h2>'
        f"<p>{html.escape(alert.category)}; response {alert.response}; score {alert.score:.3f}, threshold"
        f" {alert.threshold:.3f}; {alert.faces} faces fused; camera {html.escape(alert.camera)},"
        f" {alert.captured_at:%H:%M:%S} UTC</p>"
        f'<div class="pictures">{pictures}</div></article>'
    )
