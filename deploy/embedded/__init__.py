"""The embedded platform: real Kafka, schema registry and ClickHouse on one machine, with nothing but Python.

``platform`` is the way in; ``cache`` fetches, ``services`` describes the parts, ``supervisor`` keeps one part running,
``launcher`` ends it with us, ``instance`` holds the data directory, ``doctor`` looks at the machine.
"""

from deploy.embedded.checks import Unresponsive
from deploy.embedded.errors import (
    AlreadyRunningError,
    DownloadError,
    PartFailedError,
    PlatformError,
    StartInterruptedError,
)
from deploy.embedded.instance import Running, running
from deploy.embedded.part import Part
from deploy.embedded.platform import Platform
from deploy.embedded.report import ConsoleReporter, Reporter, Silent
from deploy.embedded.supervisor import Handle, State
from streams.progress import CommittedProgress

__all__ = [
    "AlreadyRunningError",
    "CommittedProgress",
    "ConsoleReporter",
    "DownloadError",
    "Handle",
    "Part",
    "PartFailedError",
    "Platform",
    "PlatformError",
    "Reporter",
    "Running",
    "Silent",
    "StartInterruptedError",
    "State",
    "Unresponsive",
    "running",
]
