"""The faults that are not played here: why not, and what tries each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Elsewhere:
    """`where` is a file, or a test in it as `file::test`."""

    name: str
    why: str
    where: str

    def __str__(self) -> str:
        return f"{self.name}: not played, {self.why}; tried by {self.where}"


ELSEWHERE: dict[int, Elsewhere] = {
    16: Elsewhere(
        "a slow, read-only or failing disk",
        "a volume that is written to cannot be made so from outside",
        "tests/coordinator/journal/test_journal.py::test_failing_disk_ends_the_process_loses_nothing",
    ),
    21: Elsewhere(
        "clocks that jump",
        "containers share the clock of their machine",
        "tests/coordinator/execution/test_clock.py::test_deadline_stays_where_it_was",
    ),
    24: Elsewhere("a million finished tasks", "to make them takes too long", "load/history/__main__.py"),
    35: Elsewhere(
        "injected delegations",
        "it needs a model that obeys, and none is configured",
        "tests/coordinator/execution/test_injected_delegations.py::test_no_injected_delegation_reaches_an_agent",
    ),
    37: Elsewhere(
        "poisoned descriptions of agents",
        "it needs a model that obeys, and none is configured",
        "tests/shared/agent_loop/test_injections.py::test_obedient_model_does_only_what_was_asked",
    ),
    42: Elsewhere("versions side by side", "it needs an image of another one", "tests/conformance/run_versions.py"),
    44: Elsewhere(
        "a noisy tenant",
        "its figure is too fine for a machine that others use",
        "tests/coordinator/admission/test_guests.py::test_a_quiet_tenant_starts_at_once",
    ),
    45: Elsewhere(
        "no descriptor left",
        "it needs more connections than one caller may open",
        "tests/system/test_descriptors.py::test_crowd_is_answered_and_no_agent_blamed",
    ),
    47: Elsewhere(
        "poisoned documents",
        "the folder of documents is the user's, and mounted read-only",
        "tests/workers/test_poisoned_documents.py::test_no_document_is_obeyed_or_run",
    ),
}
