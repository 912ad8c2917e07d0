"""Runs LocalStack's Lambda functions as plain processes.

From the bottom up: a process that ends with LocalStack (``process``), the Lambda Runtime API that
it talks to (``runtime_api``), both together (``sandbox``), what lives on when they are replaced
after a crash (``environment``), and what LocalStack calls (``executor``, ``plugin``).
"""
