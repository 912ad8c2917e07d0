#!/usr/bin/env python3
"""Drives SNS, SQS and Kinesis through boto3, on the simulator's port or on LocalStack.

    boto3_check.py http://127.0.0.1:4566

Prints a line per check, "ok <name>", and exits with 1 at the first that fails. Needs boto3 and
the standard library only. Checks only what AWS, LocalStack and the simulator agree on.
"""

import json
import sys
import time
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

RUN = uuid.uuid4().hex[:8]
DEADLINE = 20  # seconds that anything asynchronous may take
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(actual, wanted):
    expect(actual == wanted, f"{actual!r} is not {wanted!r}")


def refused(code, call, **parameters):
    """Checks that AWS refuses the call with this error code."""
    try:
        call(**parameters)
    except ClientError as error:
        equal(error.response["Error"]["Code"], code)
        return error.response
    raise AssertionError(f"{code} was expected, and the call succeeded")


class Aws:
    """Clients and short-cuts; every resource gets a name of its own."""

    def __init__(self, endpoint):
        options = {
            "endpoint_url": endpoint,
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "config": Config(retries={"max_attempts": 1}),
        }
        self.sns = boto3.client("sns", **options)
        self.sqs = boto3.client("sqs", **options)
        self.kinesis = boto3.client("kinesis", **options)
        self.serial = 0

    def name(self, kind, fifo=False):
        self.serial += 1
        return f"check-{RUN}-{kind}-{self.serial}" + (".fifo" if fifo else "")

    def queue(self, fifo=False, **attributes):
        if fifo:
            attributes["FifoQueue"] = "true"
        name = self.name("queue", fifo)
        return self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def attribute(self, url, name):
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        return answer["Attributes"][name]

    def arn(self, url):
        return self.attribute(url, "QueueArn")

    def topic(self, fifo=False, **attributes):
        if fifo:
            attributes["FifoTopic"] = "true"
        name = self.name("topic", fifo)
        return self.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]

    def subscribe(self, topic, url, **attributes):
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.arn(url),
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
        return self.sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=self.arn(url),
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]

    def once(self, url, **parameters):
        parameters = {
            "MaxNumberOfMessages": 10,
            "MessageAttributeNames": ["All"],
            "AttributeNames": ["All"],
            **parameters,
        }
        return self.sqs.receive_message(QueueUrl=url, **parameters).get("Messages", [])

    def receive(self, url, count, delete=True):
        """Receives until there are as many messages as wanted."""
        found, deadline = [], time.monotonic() + DEADLINE
        while len(found) < count and time.monotonic() < deadline:
            for message in self.once(url, WaitTimeSeconds=1):
                found.append(message)
                if delete:
                    handle = message["ReceiptHandle"]
                    self.sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
        equal(len(found), count)
        return found

    def stream(self, shards):
        name = self.name("stream")
        self.kinesis.create_stream(StreamName=name, ShardCount=shards)
        self.active(name)
        # LocalStack takes a record of the shard's first second for the shard's beginning.
        time.sleep(1.1)
        return name

    def active(self, stream):
        def is_active():
            answer = self.kinesis.describe_stream_summary(StreamName=stream)
            return answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"

        self.until(f"{stream} becoming active", is_active)

    def read(self, stream, shard, kind="TRIM_HORIZON", **position):
        """All records of a shard from a position on, and the answer that came last."""
        answer = self.kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard, ShardIteratorType=kind, **position
        )
        iterator, records = answer["ShardIterator"], []
        while True:
            answer = self.kinesis.get_records(ShardIterator=iterator)
            records += answer["Records"]
            iterator = answer.get("NextShardIterator")
            if not iterator or not answer["Records"]:
                return records, answer
            time.sleep(0.25)

    def until(self, what, test):
        """Waits until the test holds."""
        deadline = time.monotonic() + DEADLINE
        while not test():
            expect(time.monotonic() < deadline, f"{what} did not happen in {DEADLINE} s")
            time.sleep(0.1)


def bodies(messages):
    return [message["Body"] for message in messages]


def text(value):
    return {"DataType": "String", "StringValue": value}


@check
def a_queue_is_created_found_listed_configured_and_deleted(aws):
    name = aws.name("queue")
    url = aws.sqs.create_queue(
        QueueName=name, Attributes={"VisibilityTimeout": "45"}, tags={"team": "shop"}
    )["QueueUrl"]
    equal(aws.sqs.create_queue(QueueName=name)["QueueUrl"], url)
    refused(
        "QueueAlreadyExists",
        aws.sqs.create_queue,
        QueueName=name,
        Attributes={"VisibilityTimeout": "46"},
    )
    equal(aws.sqs.get_queue_url(QueueName=name)["QueueUrl"], url)
    expect(url in aws.sqs.list_queues(QueueNamePrefix=name)["QueueUrls"], "the queue is not listed")
    aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "3"})
    attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    equal((attributes["VisibilityTimeout"], attributes["DelaySeconds"]), ("45", "3"))
    equal(attributes["QueueArn"].split(":")[-1], name)
    equal(attributes["ApproximateNumberOfMessages"], "0")
    aws.sqs.tag_queue(QueueUrl=url, Tags={"stage": "test"})
    aws.sqs.untag_queue(QueueUrl=url, TagKeys=["team"])
    equal(aws.sqs.list_queue_tags(QueueUrl=url)["Tags"], {"stage": "test"})
    aws.sqs.delete_queue(QueueUrl=url)
    refused("AWS.SimpleQueueService.NonExistentQueue", aws.sqs.get_queue_url, QueueName=name)


@check
def a_missing_queue_is_an_exception_of_its_own(aws):
    url = aws.queue() + "-missing"
    try:
        aws.sqs.send_message(QueueUrl=url, MessageBody="x")
    except aws.sqs.exceptions.QueueDoesNotExist:
        return
    raise AssertionError("sending to a missing queue succeeded")


@check
def a_message_is_sent_received_and_deleted_with_its_attributes(aws):
    url = aws.queue()
    attributes = {
        "type": text("shop.OrderPlaced.v1"),
        "size": {"DataType": "Number", "StringValue": "3"},
        "blob": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    # boto3 checks the MD5 sums of bodies, here and on receive.
    sent = aws.sqs.send_message(
        QueueUrl=url, MessageBody="snow: ☃ <&>", MessageAttributes=attributes
    )
    [message] = aws.receive(url, 1)
    equal(message["MessageId"], sent["MessageId"])
    equal(message["Body"], "snow: ☃ <&>")
    equal(message["MD5OfMessageAttributes"], sent["MD5OfMessageAttributes"])
    equal(message["MessageAttributes"]["type"]["StringValue"], "shop.OrderPlaced.v1")
    equal(message["MessageAttributes"]["blob"]["BinaryValue"], b"\x00\x01")
    equal(message["Attributes"]["ApproximateReceiveCount"], "1")
    equal(aws.once(url), [])


@check
def the_md5_of_attributes_is_that_of_the_specification(aws):
    sent = aws.sqs.send_message(
        QueueUrl=aws.queue(),
        MessageBody="x",
        MessageAttributes={
            "a": text("1"),
            "b": {"DataType": "Binary", "BinaryValue": b"two"},
        },
    )
    equal(sent["MD5OfMessageBody"], "9dd4e461268c8034f5c8564e155c67a6")
    equal(sent["MD5OfMessageAttributes"], attributes_md5())


def attributes_md5():
    import hashlib

    def part(value):
        return len(value).to_bytes(4, "big") + value

    return hashlib.md5(
        part(b"a") + part(b"String") + b"\x01" + part(b"1")
        + part(b"b") + part(b"Binary") + b"\x02" + part(b"two")
    ).hexdigest()


@check
def batches_report_each_entry(aws):
    url = aws.queue()
    entries = [{"Id": f"e{n}", "MessageBody": f"body {n}"} for n in range(9)]
    entries.append({"Id": "bad", "MessageBody": "no \x01 control characters"})
    answer = aws.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    equal(len(answer["Successful"]), 9)
    failed = [(f["Id"], f["Code"]) for f in answer["Failed"]]
    equal(failed, [("bad", "InvalidMessageContents")])
    messages = aws.receive(url, 9, delete=False)
    equal(sorted(bodies(messages)), [f"body {n}" for n in range(9)])
    changes = [
        {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 60}
        for n, m in enumerate(messages[:2])
    ] + [{"Id": "bad", "ReceiptHandle": "nonsense", "VisibilityTimeout": 60}]
    answer = aws.sqs.change_message_visibility_batch(QueueUrl=url, Entries=changes)
    equal([s["Id"] for s in answer["Successful"]], ["0", "1"])
    equal([(f["Id"], f["Code"]) for f in answer["Failed"]], [("bad", "ReceiptHandleIsInvalid")])
    deletes = [
        {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)
    ] + [{"Id": "bad", "ReceiptHandle": "nonsense"}]
    answer = aws.sqs.delete_message_batch(QueueUrl=url, Entries=deletes)
    equal(len(answer["Successful"]), 9)
    equal([(f["Id"], f["Code"]) for f in answer["Failed"]], [("bad", "ReceiptHandleIsInvalid")])


@check
def malformed_batches_are_refused_whole(aws):
    url, send = aws.queue(), aws.sqs.send_message_batch
    prefix = "AWS.SimpleQueueService."

    def entries(*ids):
        return [{"Id": entry, "MessageBody": "x"} for entry in ids]

    eleven = entries(*(str(n) for n in range(11)))
    refused(prefix + "TooManyEntriesInBatchRequest", send, QueueUrl=url, Entries=eleven)
    refused(prefix + "EmptyBatchRequest", send, QueueUrl=url, Entries=[])
    twice = entries("a", "a")
    refused(prefix + "BatchEntryIdsNotDistinct", send, QueueUrl=url, Entries=twice)
    refused(prefix + "InvalidBatchEntryId", send, QueueUrl=url, Entries=entries("a b"))
    large = [{"Id": str(n), "MessageBody": "x" * 600_000} for n in range(2)]
    refused(prefix + "BatchRequestTooLong", send, QueueUrl=url, Entries=large)
    equal(aws.once(url), [])


@check
def bad_messages_and_handles_are_refused(aws):
    url = aws.queue()
    send = aws.sqs.send_message
    refused("InvalidMessageContents", send, QueueUrl=url, MessageBody="\x00")
    refused("InvalidParameterValue", send, QueueUrl=url, MessageBody="x" * 1_048_577)
    refused("ReceiptHandleIsInvalid", aws.sqs.delete_message, QueueUrl=url, ReceiptHandle="x")
    refused("InvalidParameterValue", aws.sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11)
    refused(
        "InvalidAttributeName",
        aws.sqs.set_queue_attributes,
        QueueUrl=url,
        Attributes={"Colour": "red"},
    )


@check
def visibility_can_be_ended_and_counts_receives(aws):
    url = aws.queue(VisibilityTimeout="600")
    aws.sqs.send_message(QueueUrl=url, MessageBody="again")
    [first] = aws.receive(url, 1, delete=False)
    equal(aws.attribute(url, "ApproximateNumberOfMessagesNotVisible"), "1")
    aws.sqs.change_message_visibility(
        QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    [second] = aws.receive(url, 1)
    equal(second["Attributes"]["ApproximateReceiveCount"], "2")


@check
def a_long_poll_waits_for_the_delay(aws):
    url = aws.queue()
    aws.sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=1)
    equal(aws.once(url), [])
    equal(bodies(aws.once(url, WaitTimeSeconds=10)), ["later"])


@check
def a_purged_queue_is_empty(aws):
    url = aws.queue()
    aws.sqs.send_message(QueueUrl=url, MessageBody="gone")
    aws.sqs.purge_queue(QueueUrl=url)
    equal(aws.once(url), [])


@check
def fifo_queues_keep_groups_in_order_and_deduplicate(aws):
    url = aws.queue(fifo=True)
    first = None
    for body, group, dedup in [("a1", "a", "1"), ("a2", "a", "2"), ("b1", "b", "3"), ("x", "a", "1")]:
        sent = aws.sqs.send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=dedup
        )
        expect(len(sent["SequenceNumber"]) == 20, "the sequence number has no 20 digits")
        first = first or sent
    equal(sent["MessageId"], first["MessageId"])
    [a1] = aws.once(url, MaxNumberOfMessages=1)
    equal((a1["Body"], a1["Attributes"]["MessageGroupId"]), ("a1", "a"))
    # The group is blocked while its first message is in flight.
    equal(bodies(aws.once(url)), ["b1"])
    aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=a1["ReceiptHandle"])
    equal(bodies(aws.once(url)), ["a2"])
    refused("MissingParameter", aws.sqs.send_message, QueueUrl=url, MessageBody="no group")


@check
def messages_are_redriven_and_moved_back(aws):
    dead = aws.queue()
    policy = json.dumps({"deadLetterTargetArn": aws.arn(dead), "maxReceiveCount": 1})
    url = aws.queue(VisibilityTimeout="0", RedrivePolicy=policy)
    equal(aws.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"], [url])
    sent = aws.sqs.send_message(QueueUrl=url, MessageBody="poison")

    def is_dead():
        aws.once(url)
        return aws.attribute(dead, "ApproximateNumberOfMessages") == "1"

    aws.until("the move to the dead-letter queue", is_dead)
    task = aws.sqs.start_message_move_task(SourceArn=aws.arn(dead))
    expect(task["TaskHandle"], "there is no task handle")

    def status():
        tasks = aws.sqs.list_message_move_tasks(SourceArn=aws.arn(dead))["Results"]
        return tasks[0]["Status"]

    aws.until("the move back", lambda: status() == "COMPLETED")
    [message] = aws.receive(url, 1)
    equal(message["Body"], "poison")
    expect(sent["MessageId"], "there is no message id")
    refused(
        "ResourceNotFoundException",
        aws.sqs.start_message_move_task,
        SourceArn=aws.arn(dead) + "-missing",
    )


@check
def a_topic_is_created_listed_configured_tagged_and_deleted(aws):
    name = aws.name("topic")
    topic = aws.sns.create_topic(Name=name)["TopicArn"]
    equal(aws.sns.create_topic(Name=name)["TopicArn"], topic)
    pages = aws.sns.get_paginator("list_topics").paginate()
    expect(any({"TopicArn": topic} in p["Topics"] for p in pages), "the topic is not listed")
    aws.sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="D")
    attributes = aws.sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    equal((attributes["TopicArn"], attributes["DisplayName"]), (topic, "D"))
    equal(attributes["SubscriptionsConfirmed"], "0")
    aws.sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "a", "Value": "1"}])
    aws.sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "b", "Value": "2"}])
    aws.sns.untag_resource(ResourceArn=topic, TagKeys=["a"])
    tags = aws.sns.list_tags_for_resource(ResourceArn=topic)["Tags"]
    equal(tags, [{"Key": "b", "Value": "2"}])
    aws.sns.delete_topic(TopicArn=topic)
    refused("NotFound", aws.sns.get_topic_attributes, TopicArn=topic)
    refused("NotFound", aws.sns.publish, TopicArn=topic, Message="x")


@check
def raw_and_enveloped_deliveries_fan_out(aws):
    topic, raw, wrapped = aws.topic(), aws.queue(), aws.queue()
    aws.subscribe(topic, raw, RawMessageDelivery="true")
    aws.subscribe(topic, wrapped)
    published = aws.sns.publish(
        TopicArn=topic,
        Message='{"n": 1}',
        Subject="greeting",
        MessageAttributes={"type": text("shop.OrderPlaced.v1")},
    )
    [message] = aws.receive(raw, 1)
    equal(message["Body"], '{"n": 1}')
    equal(message["MessageAttributes"]["type"]["StringValue"], "shop.OrderPlaced.v1")
    [message] = aws.receive(wrapped, 1)
    envelope = json.loads(message["Body"])
    equal(envelope["Type"], "Notification")
    equal(envelope["MessageId"], published["MessageId"])
    equal((envelope["TopicArn"], envelope["Subject"]), (topic, "greeting"))
    equal(envelope["Message"], '{"n": 1}')
    wanted = {"type": {"Type": "String", "Value": "shop.OrderPlaced.v1"}}
    equal(envelope["MessageAttributes"], wanted)
    expect("MessageAttributes" not in message, "an envelope carries no SQS attributes")


@check
def filter_policies_choose(aws):
    topic, url = aws.topic(), aws.queue()
    policy = json.dumps({
        "type": [{"prefix": "shop.orders."}],
        "region": [{"anything-but": ["north"]}, {"exists": False}],
        "amount": [{"numeric": [">=", 10, "<", 20]}],
    })
    subscription = aws.subscribe(topic, url, RawMessageDelivery="true", FilterPolicy=policy)

    def publish(body, kind, amount, **more):
        attributes = {"type": text(kind), "amount": {"DataType": "Number", "StringValue": amount}}
        attributes.update(more)
        aws.sns.publish(TopicArn=topic, Message=body, MessageAttributes=attributes)

    publish("no: type", "shop.products.X", "10")
    publish("no: amount", "shop.orders.X", "20")
    publish("no: region", "shop.orders.X", "10", region=text("north"))
    publish("yes", "shop.orders.X", "10", region=text("south"))
    publish("yes", "shop.orders.Y", "19.5")
    equal(bodies(aws.receive(url, 2)), ["yes", "yes"])
    for name, value in [
        ("FilterPolicyScope", "MessageBody"),
        ("FilterPolicy", json.dumps({"order": {"colour": ["red"]}})),
    ]:
        aws.sns.set_subscription_attributes(
            SubscriptionArn=subscription, AttributeName=name, AttributeValue=value
        )
    aws.sns.publish(TopicArn=topic, Message=json.dumps({"order": {"colour": "blue"}}))
    aws.sns.publish(TopicArn=topic, Message=json.dumps({"order": {"colour": "red"}}))
    equal([json.loads(b)["order"]["colour"] for b in bodies(aws.receive(url, 1))], ["red"])
    equal(aws.once(url), [])
    refused(
        "InvalidParameter",
        aws.sns.set_subscription_attributes,
        SubscriptionArn=subscription,
        AttributeName="FilterPolicy",
        AttributeValue=json.dumps({k: ["x"] for k in "abcdef"}),
    )


@check
def subscriptions_are_listed_configured_and_removed(aws):
    topic, url = aws.topic(), aws.queue()
    subscription = aws.subscribe(topic, url)
    equal(aws.subscribe(topic, url), subscription)
    listed = aws.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    equal([s["SubscriptionArn"] for s in listed], [subscription])
    equal((listed[0]["Protocol"], listed[0]["Endpoint"]), ("sqs", aws.arn(url)))
    aws.sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    found = aws.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    equal((found["RawMessageDelivery"], found["PendingConfirmation"]), ("true", "false"))
    aws.sns.unsubscribe(SubscriptionArn=subscription)
    equal(aws.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"], [])
    refused("NotFound", aws.sns.get_subscription_attributes, SubscriptionArn=subscription)
    fifo = aws.arn(aws.queue(fifo=True))
    refused("InvalidParameter", aws.sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=fifo)


@check
def publish_batches_arrive_and_malformed_ones_are_refused(aws):
    topic, url = aws.topic(), aws.queue()
    aws.subscribe(topic, url, RawMessageDelivery="true")
    entries = [{"Id": str(n), "Message": f"m{n}"} for n in range(10)]
    answer = aws.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    equal([s["Id"] for s in answer["Successful"]], [e["Id"] for e in entries])
    equal(answer.get("Failed", []), [])
    equal(sorted(bodies(aws.receive(url, 10))), sorted(e["Message"] for e in entries))
    for code, wrong in [
        ("TooManyEntriesInBatchRequest", entries + [{"Id": "x", "Message": "x"}]),
        ("BatchEntryIdsNotDistinct", entries[:1] * 2),
        ("BatchRequestTooLong", [{"Id": str(n), "Message": "x" * 140_000} for n in range(2)]),
    ]:
        refused(code, aws.sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=wrong)
    refused("InvalidParameter", aws.sns.publish, TopicArn=topic, Message="x" * 262_145)
    refused("InvalidParameter", aws.sns.publish, TopicArn=topic, Message="")


@check
def a_fifo_topic_feeds_a_fifo_queue_in_order(aws):
    topic, url = aws.topic(fifo=True), aws.queue(fifo=True)
    aws.subscribe(topic, url, RawMessageDelivery="true")
    for n in ["1", "2", "2"]:
        published = aws.sns.publish(
            TopicArn=topic, Message=n, MessageGroupId="g", MessageDeduplicationId=n
        )
        expect(published["SequenceNumber"], "there is no sequence number")
    messages = aws.receive(url, 2)
    equal(bodies(messages), ["1", "2"])
    equal({m["Attributes"]["MessageGroupId"] for m in messages}, {"g"})
    refused("InvalidParameter", aws.sns.publish, TopicArn=topic, Message="no group")


@check
def records_come_back_in_order_with_positional_results(aws):
    stream = aws.stream(2)
    sent = [("a", b"1"), ("b", b"\x00\xff"), ("a", "ä".encode())]
    answer = aws.kinesis.put_records(
        StreamName=stream, Records=[{"PartitionKey": k, "Data": d} for k, d in sent]
    )
    equal(answer["FailedRecordCount"], 0)
    shards = [result["ShardId"] for result in answer["Records"]]
    equal(shards, ["shardId-000000000000", "shardId-000000000001", "shardId-000000000000"])
    records, last = aws.read(stream, shards[0])
    equal([(r["PartitionKey"], r["Data"]) for r in records], [sent[0], sent[2]])
    numbers = [record["SequenceNumber"] for record in records]
    equal(numbers, [answer["Records"][0]["SequenceNumber"], answer["Records"][2]["SequenceNumber"]])
    expect(int(numbers[0]) < int(numbers[1]), "sequence numbers do not grow")
    equal(last["MillisBehindLatest"], 0)
    position = {"kind": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": numbers[0]}
    equal([r["Data"] for r in aws.read(stream, shards[0], **position)[0]], [sent[2][1]])
    put = aws.kinesis.put_record(
        StreamName=stream, PartitionKey="a", Data=b"x", ExplicitHashKey=str(2**128 - 1)
    )
    equal(put["ShardId"], "shardId-000000000001")


@check
def kinesis_refuses_in_its_own_words(aws):
    kinesis, stream = aws.kinesis, aws.stream(1)
    refused("ResourceInUseException", kinesis.create_stream, StreamName=stream, ShardCount=1)
    missing = aws.name("stream")
    response = refused("ResourceNotFoundException", kinesis.list_shards, StreamName=missing)
    expect(missing in response["Error"]["Message"], "the stream is not named")
    refused(
        "InvalidArgumentException",
        kinesis.put_record,
        StreamName=stream,
        PartitionKey="k",
        Data=b"x",
        ExplicitHashKey=str(2**128),
    )
    try:
        kinesis.get_shard_iterator(
            StreamName=stream, ShardId="shardId-000000000009", ShardIteratorType="LATEST"
        )
        raise AssertionError("there is no such shard")
    except kinesis.exceptions.ResourceNotFoundException:
        pass


@check
def a_split_shard_ends_and_its_children_go_on(aws):
    stream = aws.stream(1)
    aws.kinesis.put_record(StreamName=stream, PartitionKey="a", Data=b"1")
    aws.kinesis.split_shard(
        StreamName=stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)
    )
    aws.active(stream)
    shards = aws.kinesis.list_shards(StreamName=stream)["Shards"]
    equal([s.get("ParentShardId") for s in shards], [None] + ["shardId-000000000000"] * 2)
    records, last = aws.read(stream, "shardId-000000000000")
    equal([r["Data"] for r in records], [b"1"])
    equal(last.get("NextShardIterator"), None)
    children = sorted(child["ShardId"] for child in last["ChildShards"])
    equal(children, ["shardId-000000000001", "shardId-000000000002"])
    put = aws.kinesis.put_record(StreamName=stream, PartitionKey="a", Data=b"2")
    equal(put["ShardId"], "shardId-000000000001")


@check
def a_subscription_is_a_stream_of_events(aws):
    kinesis, stream = aws.kinesis, aws.stream(1)
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    consumer = kinesis.register_stream_consumer(
        StreamARN=summary["StreamARN"], ConsumerName="check"
    )["Consumer"]["ConsumerARN"]

    def is_active():
        found = kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]
        return found["ConsumerStatus"] == "ACTIVE"

    aws.until("the consumer becoming active", is_active)
    kinesis.put_record(StreamName=stream, PartitionKey="k", Data=b"1")
    subscription = kinesis.subscribe_to_shard(
        ConsumerARN=consumer,
        ShardId="shardId-000000000000",
        StartingPosition={"Type": "TRIM_HORIZON"},
    )
    events = subscription["EventStream"]
    event = next(iter(events))["SubscribeToShardEvent"]
    events.close()
    equal([r["Data"] for r in event["Records"]], [b"1"])
    expect(event["ContinuationSequenceNumber"], "there is no going on")


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} ENDPOINT_URL")
    aws = Aws(sys.argv[1])
    for function in CHECKS:
        name = function.__name__
        try:
            function(aws)
        except Exception as error:  # whatever it is, it is this check's
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
            sys.exit(1)
        print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
