from tests.exports.conftest import pictures, runs  # noqa: F401
