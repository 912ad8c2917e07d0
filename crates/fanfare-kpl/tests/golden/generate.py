"""Writes a golden file for each case, as aws-kinesis-agg from PyPI makes it."""

from pathlib import Path

from aws_kinesis_agg.aggregator import AggRecord
from cases import CASES

for name, records in CASES.items():
    aggregate = AggRecord()
    for partition_key, data, explicit_hash_key in records:
        assert aggregate.add_user_record(partition_key, data, explicit_hash_key)
    Path(__file__).with_name(f"{name}.bin").write_bytes(aggregate.get_contents()[2])
