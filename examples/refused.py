"""What cannot be had is refused at once, with the reason; what went wrong far away comes back as it was raised."""

from worldos import NoCapacity, use


def divide(a: float, b: float) -> float:
    return a / b


if __name__ == "__main__":
    try:
        use("CPU", 1, memory="900TB")
    except NoCapacity as refusal:
        print(f"refused: {refusal}")

    with use("CPU", 1) as cpu:
        try:
            cpu.submit(divide, 1, 0).result()
        except ZeroDivisionError as error:
            print(f"raised over there, caught here: {error}")
