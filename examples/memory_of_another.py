"""Memory as a resource of its own: bytes by key on a node that has room, with an exact limit."""

from worldos import OverQuota, use

if __name__ == "__main__":
    with use("Memory", "1MB") as memory:
        memory["greeting"] = b"hello from over there"
        print(memory.get("greeting").decode(), memory.usage())
        try:
            memory["too large"] = bytes(2_000_000)
        except OverQuota as refusal:
            print(f"refused: {refusal}")
        print("still there:", memory.keys())
