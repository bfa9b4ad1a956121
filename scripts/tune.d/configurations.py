# SPDX-License-Identifier: MIT
"""What is swept: a configuration is an environment and engine options, as a user would set them."""
from dataclasses import dataclass

# Variables that change what the engine decides; none of the user's own reaches a measurement unseen.
PREFIXES = ("OMP_", "GOMP_", "KMP_", "SA_")


@dataclass(frozen=True)
class Effect:
    """What an engine made of a configuration."""
    threads: int
    binding: str
    kernel: str


@dataclass(frozen=True)
class Configuration:
    label: str
    environment: tuple = ()  # of (name, value)
    n_threads: int = 0  # engine option; 0: not given
    binding: str = ""  # engine option: none, close, spread; "": not given
    max_isa: str = ""  # SA_MAX_ISA in the environment, or the option

    def variables(self):
        return self.environment + ((("SA_MAX_ISA", self.max_isa),) if self.max_isa else ())

    def environment_text(self):
        return " ".join(f"{name}={value}" for name, value in self.variables())

    def runtime_binding(self):
        """The variables that make the OpenMP runtime bind the team."""
        return tuple(sorted(pair for pair in self.environment if pair[0] != "OMP_NUM_THREADS"))

    def bench_arguments(self):
        threads = ["--threads", str(self.n_threads)] if self.n_threads else []
        return threads + (["--binding", self.binding] if self.binding else [])

    def option_fields(self):
        """Initialisers of a sa_engine_options, or None if options alone cannot say it."""
        environment = dict(self.environment)
        wanted = environment.pop("OMP_NUM_THREADS", "0")
        if environment or not wanted.isdecimal():
            return None
        n_threads = self.n_threads or int(wanted)
        fields = [f".n_threads = {n_threads}"] if n_threads else []
        fields += [f".binding = SA_BIND_{self.binding.upper()}"] if self.binding else []
        return fields + ([f".max_isa = SA_ISA_{self.max_isa.upper()}"] if self.max_isa else [])

    def export_lines(self):
        """Lines for a shell, or None if the environment alone cannot say it."""
        if self.n_threads or self.binding:
            return None
        return [f"export {name}={value}" for name, value in self.variables()]


DEFAULT = Configuration("default")
AGAIN = Configuration("default, once more")
LABEL_SET = "as set here"


def clean_environment(environment):
    return {name: value for name, value in environment.items() if not name.startswith(PREFIXES)}


def as_set_here(environment):
    """What the user's environment says about threads already, or None."""
    tuning = tuple(sorted((name, value) for name, value in environment.items()
                          if name.startswith(PREFIXES[:3]) or name == "SA_MAX_ISA"))
    return Configuration(LABEL_SET, tuning) if tuning else None


def count_text(n):
    return f"{n} thread" + ("" if n == 1 else "s")


def thread_counts(n_cores, n_cpus):
    """1 2 3 4 6 8 12 16 ... and what the machine has, with and without SMT."""
    counts = {n_cores, n_cpus}
    step = 1
    while step <= n_cpus:
        counts.update(n for n in (step, step + step // 2) if n <= n_cpus)
        step *= 2
    return sorted(counts)


def of_threads(n, label=None):
    return Configuration(label or count_text(n), (("OMP_NUM_THREADS", str(n)),))


def of_openmp_binding(n, binding, places):
    environment = (("OMP_NUM_THREADS", str(n)), ("OMP_PROC_BIND", binding), ("OMP_PLACES", places))
    return Configuration(f"{count_text(n)}, OpenMP {binding}, {places}", environment)


def bindings_of(n, n_cores, n_cpus):
    """Ways to place n threads: by the engine (one core each, so no more threads than cores), by the OpenMP runtime."""
    engine = ("none", "close", "spread") if n <= n_cores else ("none",)
    found = [Configuration(f"{count_text(n)}, engine {binding}", n_threads=n, binding=binding) for binding in engine]
    places = ("cores", "threads") if n_cpus > n_cores else ("cores",)
    return found + [of_openmp_binding(n, binding, place) for binding in ("close", "spread") for place in places]


def of_lower_isa(n, effect):
    """AVX-512 can cost clock speed; the portable kernel is never worth a try."""
    if not effect.kernel.startswith("avx512"):
        return []
    return [Configuration(f"{count_text(n)}, avx2", (("OMP_NUM_THREADS", str(n)),), max_isa="avx2")]


def same_effect(configuration, effect):
    """Configurations with equal keys are the same thing, spelt differently."""
    return effect, configuration.runtime_binding()
