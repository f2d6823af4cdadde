import pytest
from chart import CASES, HELMS


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES)
    if "version" in metafunc.fixturenames:
        metafunc.parametrize("version", HELMS)


@pytest.fixture
def files(case):
    return CASES[case]
