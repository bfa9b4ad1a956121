# SPDX-License-Identifier: MIT
"""libsa side by side with what else computes attention on a CPU; see README.md."""
