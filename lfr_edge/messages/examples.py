"""An example of every message, complete and valid: for documentation, tests, and writers of subscribers.

Nobody is shown: the pictures are eight grey pixels. The recipient's private half was thrown away.
"""

import base64
from datetime import datetime, timedelta, timezone

from lfr_edge.messages.alert import Alert
from lfr_edge.messages.order import Order, VanAssignment
from lfr_edge.messages.status import CameraHealth, Health, Status
from lfr_edge.messages.volunteer_pass import VolunteerPass

RECIPIENT = "age1t7er0g32jq8ppqhl3xruzgtdkyekcwwteh3xfwpa0zznpddvxgcq7qrccz"
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBk"
    "eFxlZ2P/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)
_START = datetime(2026, 6, 20, 9, 0, tzinfo=timezone.utc)

ORDER = Order(
    id="high-street-2026-06-20",
    purpose="Locate people wanted on warrant",
    legal_basis="Police and Criminal Evidence Act 1984, s.24; LFR policy 3.2",
    place="High Street, Chelmsford",
    authorising_officer="Supt A. Example",
    force="example",
    vans=(VanAssignment(id="van-1", recipient=RECIPIENT, cameras=("north", "south")),),
    not_before=_START,
    not_after=_START + timedelta(hours=6),
    threshold=0.5,
    margin=0.05,
    confirmation=3,
    cooldown_s=60,
    expected_faces=20_000,
    list_size=300,
    template_count=340,
    watchlist_sha256="1" * 64,
    pictures_sha256="2" * 64,
    contract="3" * 64,
    engine_sets=("4" * 64,),
    recipients=(RECIPIENT,),
    notice_url="https://example.org/lfr",
    demo=False,
)

ALERT = Alert(
    id="01978cb6-8f2d-7c30-89ed-08ae518037f0",
    van="van-1",
    force="example",
    order=ORDER.id,
    entry="W-0042",
    category="wanted on warrant",
    response="red",
    score=0.62,
    threshold=0.5,
    margin=0.31,
    runner_up="W-0007",
    faces=3,
    camera="north",
    captured_at=_START + timedelta(minutes=12, milliseconds=40),
    decided_at=_START + timedelta(minutes=12, milliseconds=95),
    expires_at=_START + timedelta(hours=24, minutes=12, milliseconds=95),
    place=ORDER.place,
    contract=ORDER.contract,
    engine_set="4" * 64,
    watchlist_sha256=ORDER.watchlist_sha256,
    recipients=ORDER.recipients,
    sample=JPEG,
    reference=JPEG,
    context=JPEG,
    ack_token="5" * 64,
)

VOLUNTEER_PASS = VolunteerPass(
    id="01978cb8-5a1e-7f02-a3c4-51d0e27b9a68",
    van="van-1",
    force="example",
    order=ORDER.id,
    entry="B-0003",
    score=0.66,
    threshold=0.5,
    margin=0.35,
    camera="north",
    captured_at=_START + timedelta(minutes=14, milliseconds=40),
    decided_at=_START + timedelta(minutes=14, milliseconds=85),
    expires_at=_START + timedelta(hours=24, minutes=14, milliseconds=85),
    engine_set="4" * 64,
    watchlist_sha256=ORDER.watchlist_sha256,
    recipients=ORDER.recipients,
)

STATUS = Status(
    van="van-1",
    session=7,
    state="live",
    since=_START,
    order=ORDER.id,
    engine_set="4" * 64,
    config_sha256="6" * 64,
    software="0.1.0",
    checkpoint=(
        "lfr-edge/example/van-1\n"
        "42\n"
        "NLoQcYpsKXYTTQnPX9m4sXMpMmKjjtDhm5Eyj5mg5Lw=\n"
        "\n"
        "— lfr-edge/example/van-1 SIGNATURE\n"
    ),
)

HEALTH = Health(
    van="van-1",
    at=_START + timedelta(minutes=12),
    cameras=(CameraHealth(id="north", connected=True, fps=25.0, frames_read=18_000, superseded=12, undecodable=0),),
    tracks=4,
    queue=0,
    faces_detected=5_120,
    alerts=1,
    outbox=0,
    step_ms_p50=31.5,
    step_ms_p99=58.0,
)
