#!/usr/bin/env python3
"""Sends and receives with AWS's own extended client for SQS, which keeps large payloads in S3.

    extended_client.py send QUEUE_URL BUCKET [--legacy] < payload
    extended_client.py receive QUEUE_URL

The endpoint, the Region and the credentials are the environment's (AWS_ENDPOINT_URL, …). `receive`
writes one payload to standard output, and leaves the object where it is.
"""

import sys

import boto3
import sqs_extended_client  # noqa: F401: puts itself in the place of boto3's session


def main():
    sqs = boto3.client("sqs")
    match sys.argv[1:]:
        case ["send", queue, bucket, *legacy]:
            sqs.large_payload_support = bucket
            sqs.use_legacy_attribute = legacy == ["--legacy"]
            payload = sys.stdin.buffer.read().decode()
            sqs.send_message(QueueUrl=queue, MessageBody=payload, MessageAttributes={})
        case ["receive", queue]:
            answer = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)
            (message,) = answer["Messages"]
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            sys.stdout.buffer.write(message["Body"].encode())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
