# SPDX-License-Identifier: MIT
"""Measured points, one JSON object a line, only ever appended: what is in the file survives any interruption."""
import fcntl
import json
import os


class StoreError(Exception):
    pass


def identity(setting, key):
    """Points are the same if they agree in this: setting tells library, machine and environment apart."""
    return json.dumps([setting, key], sort_keys=True)


def whole_lines(data):
    """The length of the part that ends with a newline."""
    return data.rfind(b"\n") + 1


class Store:
    def __init__(self, path, fresh=False):
        self.path, self.points, self.damaged = path, {}, 0
        if fresh and os.path.exists(path):
            os.replace(path, path + ".old")
        try:
            self.file = open(path, "a+b")
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise StoreError(f"{path}: another run is writing it") from None
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from None
        self.load()

    def load(self):
        self.file.seek(0)
        data = self.file.read()
        end = whole_lines(data)
        if end < len(data):  # the last write was interrupted: cut it off, or the next line would be lost as well
            self.file.truncate(end)
            self.damaged += 1
        for text in data[:end].splitlines():
            self.take(text)

    def take(self, text):
        try:
            record = json.loads(text)
            self.points[identity(record["setting"], record["key"])] = record
        except (ValueError, KeyError, TypeError):
            self.damaged += 1

    def get(self, setting, key):
        return self.points.get(identity(setting, key))

    def add(self, setting, key, values):
        record = {"setting": setting, "key": key, **values}
        self.file.write(json.dumps(record).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.points[identity(setting, key)] = record
        return record

    def close(self):
        self.file.close()
