"""Several processes, on one host or many, as one run: what JAX's distributed engine has to be told."""

from dataclasses import dataclass

from saliency._checks import whole
from saliency.errors import InputError


def check_part(part: int, parts: int) -> None:
    """InputError unless `part` is one of 0 .. parts - 1."""
    whole("parts", parts, least=1)
    whole("part", part)
    if part >= parts:
        raise InputError(f"part must lie in 0..{parts - 1}, not {part}")


@dataclass(frozen=True)
class Processes:
    """Take part in a run of several processes. All three are given, or none; a cluster that JAX knows (SLURM, Cloud
    TPU, ...) needs only `cluster`."""

    coordinator: str | None = None
    """HOST:PORT of process 0."""
    process_id: int | None = None
    processes: int | None = None
    cluster: bool = False
    """Let JAX read the cluster's environment."""

    @property
    def several(self) -> bool:
        """Whether this process is one of several."""
        return self.cluster or self.processes is not None

    def start(self) -> None:
        """Must come before anything touches a device."""
        import jax

        stated = (self.coordinator, self.process_id, self.processes)
        if self.cluster:
            jax.distributed.initialize()
        elif any(value is not None for value in stated):
            if any(value is None for value in stated):
                raise InputError("`coordinator`, `process_id` and `processes` belong together: give all three")
            assert self.processes is not None and self.process_id is not None
            if not 0 <= self.process_id < self.processes:
                raise InputError(f"process_id must lie in 0..{self.processes - 1}, not {self.process_id}")
            jax.distributed.initialize(self.coordinator, self.processes, self.process_id)

    def share(self, shard: str = "0/1") -> tuple[int, int]:
        """(part, parts) of the work that is this process's, within the part `shard`, "I/N", that is this run's."""
        words = shard.split("/")
        if len(words) != 2 or not all(word.isdigit() for word in words) or not int(words[0]) < int(words[1]):
            raise InputError(f"shard must be I/N with 0 <= I < N, not {shard!r}")
        import jax

        part, parts = int(words[0]), int(words[1])
        return part + parts * jax.process_index(), parts * jax.process_count()
