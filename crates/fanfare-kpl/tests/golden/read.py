"""Reads marked.bin with aws-kinesis-agg from PyPI."""

import base64
from pathlib import Path

from aws_kinesis_agg.deaggregator import deaggregate_records

here = Path(__file__).parent
kinesis = {
    "kinesisSchemaVersion": "1.0",
    "sequenceNumber": "1",
    "approximateArrivalTimestamp": 0,
    "partitionKey": "outer",
    "data": base64.b64encode((here / "marked.bin").read_bytes()),
}
lines = []
for record in deaggregate_records([{"kinesis": kinesis}]):
    inner = record["kinesis"]
    assert inner["aggregated"] and inner["subSequenceNumber"] == len(lines)
    lines.append(f"{inner['partitionKey'].encode().hex()} {base64.b64decode(inner['data']).hex()}\n")
(here / "marked.python.txt").write_text("".join(lines))
