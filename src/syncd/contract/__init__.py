"""What a partner says of its own API, in a published document, and whether our calls and its answers keep to it.

Reads OpenAPI 3.0 and 3.1. Used by the tests of every driver, by simulators (their requests and their answers) and by
`syncd contract` against the partner itself. Needs `jsonschema`, which only the extra `contract` installs.
"""

from syncd.contract.documents import Operation
from syncd.contract.specification import Defect, Problem, Specification

__all__ = ["Defect", "Operation", "Problem", "Specification"]
