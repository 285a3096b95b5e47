"""More of a leg's quality: NULL in every older row."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

_COUNTS = (
    "played_frames", "recovered_frames", "concealed_frames", "concealments", "stretched_frames", "late_packets",
    "left_out_packets", "xruns",
)  # fmt: skip
_FIGURES = ("buffer_target_s", "mouth_to_ear_s", "mos", "erle_db", "drift_ppm", "cpu_ratio")


def upgrade() -> None:
    for name in _COUNTS:
        op.add_column("call_legs", sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
    for name in _FIGURES:
        op.add_column("call_legs", sa.Column(name, sa.Float))
