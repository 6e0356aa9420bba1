"""The usual script of an exec probe, which Health Exporter replaces: the load average and one GET."""

import os
import sys

import requests


def main(url: str) -> int:
    if os.getloadavg()[0] / (os.cpu_count() or 1) > 100:
        print("the load is too high")
        return 1
    try:
        requests.get(url, timeout=1).raise_for_status()
    except requests.RequestException as error:
        print(error)
        return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
