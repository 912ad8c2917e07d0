// Reads marked.bin with aws-kinesis-agg from npm.
const { readFileSync, writeFileSync } = require("fs");
const { join } = require("path");
const { deaggregateSync } = require("aws-kinesis-agg");

const data = readFileSync(join(__dirname, "marked.bin")).toString("base64");
deaggregateSync({ data, sequenceNumber: "1", partitionKey: "outer" }, true, (error, records) => {
  if (error) throw error;
  const hex = (text, encoding) => Buffer.from(text, encoding).toString("hex");
  const lines = records.map((record) => `${hex(record.partitionKey)} ${hex(record.data, "base64")}\n`);
  writeFileSync(join(__dirname, "marked.node.txt"), lines.join(""));
});
