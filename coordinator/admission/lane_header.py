"""PURE: the header `Muster-Tenant`: whose a task is, as its caller says."""

from __future__ import annotations

import re

from coordinator.access.caller import TENANT, Caller
from coordinator.tasks.lane import NO_LANE, Lane
from shared.errors import Invalid

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


def lane_of(caller: Caller | None) -> Lane:
    """The lane of what a caller asks for; raises `Invalid` for a tenant that is no name."""
    if caller is None:
        return NO_LANE
    tenant = caller.tenant
    if tenant is None:
        return NO_LANE if caller.key is None else Lane(caller.key)
    if not _NAME.match(tenant):
        why = "must be 1 to 63 letters, digits, '.', '_' and '-', and begin with a letter or a digit"
        raise Invalid(f"{TENANT} {why}.", [{"pointer": f"/headers/{TENANT}", "detail": why}])
    return Lane(caller.key, tenant)
