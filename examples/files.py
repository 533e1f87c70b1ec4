"""Files on all your machines: kept sealed, read by parts, and had back after they were overwritten or removed."""

from worldos.files.files import Files

if __name__ == "__main__":
    with Files.open() as files:
        files.put(b"so much depends upon", "poems/barrow.txt")
        files.put(b"so much depends upon a red wheel barrow", "poems/barrow.txt")
        with files.reader("poems/barrow.txt") as file:
            file.seek(-16, 2)
            print(file.read().decode())
        files.remove("poems/barrow.txt")
        oldest = files.history("poems/barrow.txt")[-1]
        files.undelete("poems/barrow.txt", oldest.id)
        print(files.read("poems/barrow.txt").decode())
        print([about.name for about in files.walk()])
