"""The records of each golden file: (partition key, data, explicit hash key or None)."""

CASES = {
    "one": [("order-1", b"placed", None)],
    "empty": [("order-1", b"", None)],
    "unicode": [("schl\u00fcssel", "gr\u00fc\u00dfe".encode(), None), ("\u9375 \U0001f511", b"\xf0\x9f\x94\x91", None)],
    "repeated": [(["a", "b", "a", "c", "a"][i], bytes([i]), None) for i in range(5)],
    "hashed": [
        ("a", b"1", "0"),
        ("b", b"2", None),
        ("a", b"3", "340282366920938463463374607431768211455"),
        ("c", b"4", "0"),
    ],
    # Indices and lengths of one and two bytes.
    "thousand": [(f"key-{i % 300}", bytes(j % 256 for j in range(i % 150)), None) for i in range(1000)],
}
