"""Inspections, labels, arrivals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "inspections",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("created_at", sa.String(30), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("object_name", sa.String(200), nullable=False),
        sa.Column("group", sa.String(200)),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("extension", sa.String(8), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("decision", sa.String(10)),
        sa.Column("reasoning", sa.Text),
        sa.Column("doubt", sa.Double),
        sa.Column("suspicion", sa.Double),
        sa.Column("verdict", sa.JSON),
        sa.Column("truth", sa.String(10)),
        sa.Column("defect_type", sa.String(60)),
        sa.Column("note", sa.Text),
        sa.Column("labelled_at", sa.String(30)),
        sqlite_autoincrement=True,
    )
    op.create_index("inspections_by_image", "inspections", ["image_sha256"])
    op.create_index("inspections_by_product", "inspections", ["object_name", "created_at"])
    op.create_index("inspections_by_doubt", "inspections", ["truth", "doubt", "id"])
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("inspection_id", sa.Integer, sa.ForeignKey("inspections.id"), nullable=False),
        sa.Column("created_at", sa.String(30), nullable=False),
        sa.Column("label", sa.String(10)),
        sa.Column("defect_type", sa.String(60)),
        sa.Column("note", sa.Text),
    )
    op.create_index("ix_labels_inspection_id", "labels", ["inspection_id"])
    op.create_table(
        "arrivals",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("created_at", sa.String(30), nullable=False),
        sa.Column("folder", sa.LargeBinary, nullable=False),
        sa.Column("source", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified_ns", sa.BigInteger, nullable=False),
        sa.Column("image_sha256", sa.String(64)),
        sa.Column("inspection_id", sa.Integer, sa.ForeignKey("inspections.id")),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("destination", sa.LargeBinary),
        sa.Column("delivery", sa.String(10)),
        sa.Column("delivery_id", sa.String(32), nullable=False),
    )
    op.create_index("arrivals_by_source", "arrivals", ["folder", "source"])
    op.create_index("arrivals_by_delivery", "arrivals", ["folder", "delivery"])
