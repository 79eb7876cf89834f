"""A real browser for the tests of pages."""

import shutil

import pytest

BROWSER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = """--headless --no-sandbox --disable-gpu --disable-quic
--no-first-run --disable-background-networking --disable-component-update
--disable-sync --hide-scrollbars""".split()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Return Selenium's driver of a headless Chromium that keeps its log."""
    if None in BROWSER:
        pytest.skip("no chromium and chromedriver here: .ci/run gets them")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER[0]
    profile = tmp_path_factory.mktemp("profile")
    for option in [*OPTIONS, f"--user-data-dir={profile}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=BROWSER[1])
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def set_width(driver, width):
    """Give the page so many pixels."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": width,
            "height": 900,
            "deviceScaleFactor": 1,
            "mobile": False,
        },
    )
