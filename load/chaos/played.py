"""The faults that are played, by number."""

from __future__ import annotations

from load.chaos.fault import Fault
from load.chaos.faults.answers import ANSWERS
from load.chaos.faults.callers import CALLERS
from load.chaos.faults.crashes import CRASHES
from load.chaos.faults.crowds import CROWDS
from load.chaos.faults.disks import DISKS
from load.chaos.faults.logs import LOGS
from load.chaos.faults.networks import NETWORKS
from load.chaos.faults.registrations import REGISTRATIONS
from load.chaos.faults.requests import REQUESTS
from load.chaos.faults.resources import RESOURCES
from load.chaos.faults.tasks import TASKS

KINDS = (CRASHES, NETWORKS, RESOURCES, REQUESTS, CALLERS, ANSWERS, CROWDS, REGISTRATIONS, LOGS, TASKS, DISKS)
PLAYED: dict[int, Fault] = dict(sorted((number, fault) for kind in KINDS for number, fault in kind.items()))
