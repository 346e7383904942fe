import itsdangerous  # noqa: F401


def main() -> None:
    print("up")
