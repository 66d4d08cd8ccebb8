"""How far webhooks are, and how much is overdue."""

from __future__ import annotations

from typing import Any

from coordinator.journal import sql
from coordinator.journal.store import Store
from shared.contracts import WebhookView


async def find_webhook(store: Store, task_id: str) -> WebhookView | None:
    """How far the webhook of a task is; None before its end, and without one."""
    if not (rows := await store.read(sql.WEBHOOK, {"task_id": task_id})):
        return None
    attempts, next_at, delivered_at, error = rows[0]
    status: Any = "delivered" if delivered_at else "failed" if next_at is None else "pending"
    return WebhookView(status=status, attempts=attempts, error=error)


async def count_overdue(store: Store, *, ended_before: float, now: float) -> tuple[int, int]:
    """Tasks that ended before a time, and webhooks that are due: each at most 100,000."""
    [found] = await store.read(sql.OVERDUE, {"before": ended_before, "now": now}, aside=True)
    return found[0], found[1]
