import time

import itsdangerous  # noqa: F401

if __name__ == "__main__":
    time.sleep(60)
