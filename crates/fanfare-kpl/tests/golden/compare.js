// Checks that aws-kinesis-agg from npm makes the bytes of the golden files.
const { execFileSync } = require("child_process");
const { readFileSync } = require("fs");
const { join } = require("path");
const { RecordAggregator } = require("aws-kinesis-agg");

const asJson =
  "import json; from cases import CASES; print(json.dumps({n: [[k, d.hex(), h] for k, d, h in r] for n, r in CASES.items()}))";
const cases = JSON.parse(execFileSync("python3", ["-c", asJson], { cwd: __dirname }));
for (const [name, records] of Object.entries(cases)) {
  const aggregator = new RecordAggregator();
  for (const [partitionKey, data, explicitHashKey] of records) {
    aggregator.addUserRecord({ partitionKey, data: Buffer.from(data, "hex"), explicitHashKey: explicitHashKey ?? undefined });
  }
  const same = aggregator.build().data.equals(readFileSync(join(__dirname, `${name}.bin`)));
  console.log(name, same ? "is the same" : "DIFFERS");
  if (!same) process.exitCode = 1;
}
